"""Kintsugi's engine compared with TextWorld, action by action, on random games."""

from __future__ import annotations

import json
import random

import pytest
from kintsugi.benchmarks.textworld.differential import (
    SIZES,
    GameJob,
    KintsugiGame,
    compare,
    main,
    make_random_game,
    play,
)
from kintsugi.benchmarks.textworld.textworld_game import TextWorldGame, memoised, packaged_texts
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.alfworld.export import write_game
from kintsugi.envs.household.alfworld.files import read_file
from kintsugi.envs.household.env import engine_of_task
from kintsugi.envs.household.generator import make_task
from kintsugi.envs.household.language.domain import bundled_text
from kintsugi.envs.household.planner import shortest_plan

pytestmark = pytest.mark.requires("textworld", "alfworld")

SMALL = [seed for seed in range(150) if SIZES[seed // 6 % len(SIZES)] <= 6][:42]
"""Games with at most 6 receptacles, covering all types and wordings. TextWorld is slow on larger ones."""


@pytest.mark.parametrize("part", range(6))
def test_both_engines_agree(part):
    jobs = [GameJob(seed, actions=100, memoised=True) for seed in SMALL[part::6]]
    outcomes = list(compare(jobs))
    assert [outcome.difference for outcome in outcomes] == [""] * 7
    assert all(outcome.steps == 101 for outcome in outcomes)
    assert 0.4 < sum(outcome.refused for outcome in outcomes) / 700 < 0.6


class Forgetful(KintsugiGame):
    """Executes `look` instead of `inventory`."""

    def step(self, command):
        return super().step("look" if "inventory" in command else command)


def test_differences_are_detected():
    outcome = play(GameJob(1, actions=100, memoised=True), Forgetful)
    assert outcome.steps < 101
    assert "text: TextWorld 'You are " in outcome.difference
    assert "Kintsugi 'You are facing the " in outcome.difference


def test_memoised_parser_changes_no_answer():
    game, rng = make_random_game(4), random.Random(4)
    with TextWorldGame(game) as textworld_game:
        seen = [textworld_game.reset()]
        walk = [rng.choice([*seen[-1].admissible, "dance"])]
        for _ in range(25):
            seen.append(textworld_game.step(walk[-1]))
            walk.append(rng.choice([*seen[-1].admissible, "dance"]))
    with memoised(), TextWorldGame(game) as textworld_game:
        assert [textworld_game.reset(), *map(textworld_game.step, walk[:25])] == seen


@pytest.mark.parametrize("index", range(6))
def test_alfworld_wins_with_the_walkthrough_of_a_written_task(index, tmp_path):
    """All answers of the two engines are equal, too."""
    engine = engine_of_task(make_task("valid_unseen", index, 0, "small"))
    write_game(tmp_path / "valid_unseen" / "game", engine.game, shortest_plan(engine) or ())
    (task,) = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=tmp_path)
    file, state = read_file(tmp_path / "valid_unseen/game/game.tw-pddl"), engine.initial_state()
    with TextWorldGame(json.loads((tmp_path / "valid_unseen/game/game.tw-pddl").read_text())) as textworld_game:
        begun = textworld_game.reset()
        assert (begun.text, begun.admissible) == (engine.intro(state), engine.admissible(state))
        for command in file.walkthrough:
            shown = textworld_game.step(command)
            result = engine.step(state, command)
            assert result is not None
            state, text = result
            assert (shown.text, shown.admissible) == (text, engine.admissible(state))
    assert (shown.reward, shown.done, shown.won) == (1.0, True, True)
    assert task.params["type"] == json.loads((tmp_path / "valid_unseen/game/traj_data.json").read_text())["task_type"]


@pytest.mark.parametrize("seed", SMALL[:12])
def test_walkthrough_of_a_random_game_wins_in_both(seed):
    """Game 0 is won initially."""
    game = make_random_game(seed)
    ours = KintsugiGame(game)
    with memoised(), TextWorldGame(game) as textworld_game:
        seen = (textworld_game.reset(), ours.reset())
        for command in game["walkthrough"]:
            assert not seen[0].won
            seen = (textworld_game.step(command), ours.step(command))
    assert seen[0] == seen[1]
    assert seen[0].won
    assert bool(game["walkthrough"]) is (seed != 0)


def test_random_games_are_written_where_they_can_be_evaluated(tmp_path, capsys):
    main(["--games", "7", "--write", str(tmp_path / "valid_seen")])
    assert capsys.readouterr().out == f"7 games written to {tmp_path / 'valid_seen'}\n"
    tasks = HouseholdEnv.tasks("valid_seen", source="alfworld", path=tmp_path)
    assert [task.id for task in tasks] == [f"valid_seen/random-{seed:06}" for seed in range(7)]
    assert len({task.params["type"] for task in tasks}) == 6


def test_alfworld_finds_written_tasks(tmp_path):
    from alfworld.agents.environment.alfred_tw_env import TASK_TYPES, AlfredTWEnv

    engine = engine_of_task(make_task("valid_unseen", 0, 0, "small"))
    path = write_game(tmp_path / "valid_unseen" / "game", engine.game, shortest_plan(engine) or ())
    config = {
        "env": {"goal_desc_human_anns_prob": 0, "task_types": list(TASK_TYPES)},
        "dataset": {"eval_ood_data_path": str(tmp_path / "valid_unseen"), "num_eval_games": -1},
    }
    assert AlfredTWEnv(config, train_eval="eval_out_of_distribution").game_files == [str(path)]


def test_bundled_domain_and_grammar_are_equivalent_to_alfworlds():
    texts = packaged_texts()
    assert bundled_text("domain.pddl") != texts["pddl_domain"]
    ours, expected = (KintsugiGame({**make_random_game(2), **which}) for which in (_bundled_texts(), texts))
    assert ours.engine.wording.commands.keys() == expected.engine.wording.commands.keys()
    assert ours.engine.game.tools == expected.engine.game.tools


def _bundled_texts():
    return {"pddl_domain": bundled_text("domain.pddl"), "grammar": bundled_text("grammar.twl2")}
