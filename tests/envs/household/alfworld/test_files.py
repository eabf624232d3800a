"""Reading of game files, and error messages for broken ones."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from kintsugi.agents.core import Episode, RuleAgent
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.trajectory import Step
from kintsugi.benchmarks.textworld.random_games import random_game
from kintsugi.envs import EnvSpec, TaskSet
from kintsugi.envs.checks import check_agent_env
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.alfworld.files import load_engine, parse_file, read_file, read_folder
from kintsugi.envs.household.env import clear_engine_cache, engine_of_task
from kintsugi.envs.household.generator import make_task
from kintsugi.envs.household.language.domain import bundled_text
from kintsugi.errors import UsageError

OWN = {"pddl_domain": bundled_text("domain.pddl"), "grammar": bundled_text("grammar.twl2")}


def changed(content, field, old, new):
    assert old in content[field]
    return {**content, field: content[field].replace(old, new)}


def padded(content, replaced="-= Welcome to TextWorld, ALFRED! =-"):
    """Replace `replaced` in the grammar by 15,000 letters for each triple of receptacles."""
    each = [f"receptacleatlocation({r}:receptacle, {place}:location)" for r, place in ("ax", "by", "cz")]
    content = changed(content, "grammar", replaced, "{#pad# | " + " & ".join(each) + "}")
    return changed(content, "grammar", '"intro": [', '"pad": [{"rhs": "' + "x" * 15_000 + '"}],\n"intro": [')


BROKEN = {
    "surrogate": (
        lambda good: {**good, "grammar": good["grammar"] + "\ud800"},
        "its field 'grammar' is not valid text",
    ),
    "long_literal": (
        lambda good: changed(good, "grammar", "-= Welcome", "x" * 30_000),
        "the literals are too long; expected at most 20,000 characters",
    ),
    "long_text": (padded, "a text of the grammar is too long; expected at most 1,000,000 characters"),
    "truncated": (lambda good: json.dumps(good)[:500], "it is not JSON"),
    "no_object": (lambda good: "[1]", "expected a JSON object"),
    "no_grammar": (lambda good: {k: v for k, v in good.items() if k != "grammar"}, "field 'grammar' is missing"),
    "predicate": (
        lambda good: changed(good, "pddl_problem", "(:init", "(:init\n(flies mug_bar_01)"),
        r"pddl_problem, line \d+: unknown predicate 'flies'",
    ),
    "arguments": (
        lambda good: changed(good, "pddl_problem", "(:init", "(:init\n(opened a b)"),
        r"pddl_problem, line \d+: \(opened a b\) has 2 arguments; expected 1",
    ),
    "undeclared": (
        lambda good: changed(good, "pddl_problem", "(:init", "(:init\n(opened ghost)"),
        r"line \d+: \(opened ghost\) mentions 'ghost', which is not declared",
    ),
    "goal": (
        lambda good: changed(good, "pddl_problem", "(:goal (and ", "(:goal (or "),
        r"pddl_problem, line \d+: cannot read the goal",
    ),
    "goal_form": (
        lambda good: changed(good, "pddl_problem", "(:goal (and ", "(:goal (and (a (b)) "),
        r"pddl_problem, line \d+: \(a \(b\)\) contains a list; expected words only",
    ),
    "goal_empty": (
        lambda good: changed(good, "pddl_problem", "(:goal (and ", "(:goal (and () "),
        r"pddl_problem, line \d+: cannot read the goal: \(\) has a wrong number of arguments",
    ),
    "goal_bare": (
        lambda good: changed(good, "pddl_problem", "(:goal (and ", "(:goal (and (istoggled) (holds) "),
        r"\(istoggled\) has a wrong number of arguments",
    ),
    "fact_empty": (
        lambda good: changed(good, "pddl_problem", "(:init", "(:init\n()"),
        r"pddl_problem, line \d+: a fact in :init is empty",
    ),
    "fact_form": (
        lambda good: changed(good, "pddl_problem", "(:init", "(:init\n(opened (a))"),
        r"pddl_problem, line \d+: \(opened \(a\)\) contains a list; expected words only",
    ),
    "many_predicates": (
        lambda good: changed(good, "grammar", "holdsany(a:agent)", " & ".join(["holdsany(a:agent)"] * 2000)),
        "grammar, rule 'inventory': the query .* has too many predicates; expected at most 50",
    ),
    "surrogate_rule": (
        lambda good: changed(good, "grammar", "You are not carrying", "You are \\ud800 not carrying"),
        r"grammar: rule 'inventory' has lone surrogates",
    ),
    "incomplete": (
        lambda good: {**good, "pddl_problem": good["pddl_problem"][:-40]},
        "the text ends; expected the parenthesis of line",
    ),
    "rule": (
        lambda good: changed(good, "grammar", '"contents": [', '"content": ['),
        "grammar: unknown rule 'contents'; did you mean 'content'",
    ),
    "expression": (
        lambda good: changed(good, "grammar", "{o.indefinite} {o.name}", "{__import__('os').system('touch pwned')}"),
        r"grammar, rule 'a\(o\)': cannot read the expression",
    ),
    "placeholder": (lambda good: changed(good, "grammar", "{o.name} from", "{q.name} from"), "unknown placeholder 'q'"),
    "query": (
        lambda good: changed(good, "grammar", "holdsany(a:agent)", "checked(a:agent)"),
        "grammar, rule 'inventory': the query is not supported: unknown predicate 'checked'",
    ),
    "circle": (lambda good: changed(good, "grammar", '"nothing"}]', '"#list_empty#"}]'), "it calls itself"),
    "action": (
        lambda good: changed(good, "pddl_domain", "(and (isHot ?o) (not (isCool ?o))", "(and (isHot ?o) (isClean ?o)"),
        r"pddl_domain, line \d+, action heatobject: its effect is not supported",
    ),
    "new_action": (
        lambda good: changed(good, "pddl_domain", "(:action help", "(:action explode"),
        r"pddl_domain, line \d+, action explode: unknown action",
    ),
    "no_text": (
        lambda good: changed(good, "grammar", "action help {", "action halp {"),
        "action help of the domain is missing",
    ),
    "deep": (
        lambda good: {**good, "pddl_problem": "(" * 100_000},
        "line 1: the nesting is too deep; expected at most 64 open parentheses",
    ),
    "deep_json": (lambda good: "[" * 200_000, "it is not JSON"),
    "two_agents": (
        lambda good: changed(
            changed(good, "pddl_problem", "(:objects", "(:objects bob - agent"),
            "pddl_problem",
            "(:init",
            "(:init (holdsAny bob)",
        ),
        "2 agents at 1 places",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_game_is_reported_and_others_load(name, game, tree):
    spoil, message = BROKEN[name]
    folder = tree(bad=spoil(game()), good=game(4))
    with pytest.warns(UserWarning, match="1 games; left out: 1 broken: "):
        tasks = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    assert [task.id for task in tasks] == ["valid_unseen/good/trial_1"]
    found = read_folder(folder, "valid_unseen")
    path = folder / "valid_unseen/bad/trial_1/game.tw-pddl"
    assert found.broken[0].startswith(f"{path}: ")
    with pytest.raises(UsageError, match=message):
        load_engine(read_file(path), str(path))
    assert not list(folder.rglob("pwned"))
    assert not Path("pwned").exists()


def test_a_long_expression_is_read(game):
    """Of two thousand choices, the first one that is not empty is rendered."""
    content = changed(game(), "grammar", "You are not carrying anything.", "{" + "'' or " * 2000 + "'So: '}nothing")
    engine = load_engine(parse_file(json.dumps(content).encode(), "game"), "game")
    result = engine.step(engine.initial_state(), "inventory")
    assert result is not None
    assert result[1] == "So: nothing"


@pytest.mark.parametrize("seed", [385, 397])
def test_admissible_commands_do_not_depend_on_earlier_episodes(seed):
    """The lamp in hand cannot be picked up again after it is put down."""
    content = json.dumps(random_game(seed, 6, OWN)).encode()
    engine, rng = load_engine(parse_file(content, "game"), "game"), random.Random(seed)
    assert engine.game.objects[engine.game.held].kind == "desklamp"
    for _ in range(12):
        fresh, state = load_engine(parse_file(content, "game"), "game"), engine.initial_state()
        for _ in range(25):
            assert engine.admissible(state) == fresh.admissible(state)
            result = engine.step(state, rng.choice(engine.admissible(state)))
            assert result is not None
            state = result[0]


def test_folder_without_games(tmp_path, game, tree):
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere.valid_seen of ALFWorld games"):
        HouseholdEnv.tasks("valid_seen", source="alfworld", path=tmp_path / "nowhere")
    (tmp_path / "train").mkdir()
    with pytest.raises(UsageError, match=r"there is no game to play under .*train"):
        HouseholdEnv.tasks("train", source="alfworld", path=tmp_path)
    only_bad = tree(bad="{}")
    with pytest.raises(UsageError, match=r"1 broken: .*game.tw-pddl"):
        HouseholdEnv.tasks("valid_unseen", source="alfworld", path=only_bad)


def test_seed_draws_n_games(game, tree):
    folder = tree(**{f"g{i}": game(i) for i in range(5)})
    every = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    drawn = [HouseholdEnv.tasks("valid_unseen", 2, seed, source="alfworld", path=str(folder)) for seed in range(8)]
    assert {len(tasks) for tasks in drawn} == {2}
    assert drawn[3] == HouseholdEnv.tasks("valid_unseen", 2, 3, source="alfworld", path=folder)
    assert {task for tasks in drawn for task in tasks} == set(every)
    assert HouseholdEnv.tasks("valid_unseen", 9, source="alfworld", path=folder) == every
    params = {"source": "alfworld", "path": str(folder)}
    assert EnvSpec("household").tasks("valid_unseen", **params) == every


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"source": "alfwrld"}, "unknown source of household tasks 'alfwrld'; did you mean 'alfworld'"),
        ({"source": "alfworld"}, "source=alfworld needs a path; pass path=FOLDER"),
        (
            {"source": "alfworld", "path": "games", "size": "large"},
            "size is 'large', but game files have a fixed size",
        ),
        ({"path": "games"}, "path is 'games', but generated tasks have no folder; add source=alfworld"),
        ({"sise": "small"}, "unknown parameter 'sise' of household tasks; known: size, source, path"),
    ],
)
def test_inconsistent_sources_are_refused(params, message):
    with pytest.raises(UsageError, match=message):
        HouseholdEnv.tasks("train", **params)


def test_game_file_in_the_split_folder(game, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/game.tw-pddl").write_text(json.dumps(game()))
    (task,) = HouseholdEnv.tasks("train", source="alfworld", path=tmp_path)
    assert task.id == "train"


def test_rendering_error_names_the_file(game, tree):
    """In this game, only the answer to `inventory` is too long."""
    folder = tree(a=padded(game(), "You are not carrying anything."))
    (task,) = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    env = HouseholdEnv()
    env.reset(options={"task": task})
    with pytest.raises(
        UsageError, match=r"a.trial_1.game.tw-pddl: .*is too long; expected at most 1,000,000 characters"
    ):
        env.step("inventory")
    observation, *_ = env.step("look")
    assert "You are in the middle of a room" in observation


class Looker(RuleAgent):
    name = "looker"

    async def act(self, episode: Episode) -> Step:
        return Step(episode.observation, "", "inventory")


def test_a_game_that_breaks_in_a_run_ends_its_own_attempt(game, tree):
    """Three games of one run: one whole, one whose answer cannot be rendered, and one that changes after loading."""
    folder = tree(a=game(), b=padded(game(1), "You are not carrying anything."), c=game(2))
    tasks = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    (folder / "valid_unseen/c/trial_1/game.tw-pddl").write_text(json.dumps(game(3)))
    clear_engine_cache()
    found = collect(lambda: HouseholdEnv(max_steps=2), [Job(task, Looker(), seed=0) for task in tasks])
    assert [attempt.outcome for attempt in found] == ["truncated", "infra_error", "infra_error"]
    assert "game.tw-pddl: a text of the grammar is too long" in (found[1].error or "")
    assert "the file has changed, so create the tasks again" in (found[2].error or "")


def test_games_that_alfworld_skips_are_skipped_and_counted(game, tree):
    unsolvable, silent = {**game(2), "solvable": False}, game(3)
    del silent["solvable"]
    folder = tree(
        a=game(), movable_b=game(1), **{"c-AppleSliced-d": game(2)}, unsolvable=unsolvable, silent=silent, e=game(4)
    )
    with pytest.warns(UserWarning, match="2 games; left out: 1 Sliced games; 1 movable games; 2 not solvable"):
        tasks = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    assert [task.id for task in tasks] == ["valid_unseen/a/trial_1", "valid_unseen/e/trial_1"]


def test_hash_depends_on_the_content_not_the_folder(game, tree, tmp_path):
    folder = tree(a=game(), b=game(5))
    tasks = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    shutil.copytree(folder / "valid_unseen", tmp_path / "other" / "valid_unseen")
    moved = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=tmp_path / "other")
    assert (moved.hash, moved) == (tasks.hash, tasks)
    assert moved.tasks[0].source != tasks.tasks[0].source
    tasks.save(tmp_path / "tasks.jsonl")
    loaded = TaskSet.load(tmp_path / "tasks.jsonl")
    assert loaded.hash == tasks.hash
    assert [task.source for task in loaded] == [task.source for task in tasks]
    path = Path(tasks.tasks[0].source)
    path.write_text(json.dumps(game(7)))
    assert HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder).hash != tasks.hash
    clear_engine_cache()
    with pytest.raises(UsageError, match=r"game.tw-pddl: its hash is .* create the tasks again"):
        HouseholdEnv().reset(options={"task": tasks.tasks[0]})
    path.unlink()
    with pytest.raises(UsageError, match="cannot read the game file"):
        HouseholdEnv().reset(options={"task": tasks.tasks[0]})


@pytest.mark.parametrize("size", ["small", "kitchen"])
def test_written_game_file_is_the_same_game(size, game, tree):
    """A game that is written and read back has the same answers and admissible commands along a walk."""
    folder = tree(a=game(9, size))
    (task,) = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=folder)
    ours, theirs = engine_of_task(make_task("valid_unseen", 9, 0, size)), engine_of_task(task)
    assert theirs.game.goal == ours.game.goal
    assert theirs.game.task == ours.game.task
    a, b = ours.initial_state(), theirs.initial_state()
    assert ours.intro(a) == theirs.intro(b)
    for number in range(60):
        admissible = ours.admissible(a)
        assert theirs.admissible(b) == admissible
        command = admissible[(7 * number) % len(admissible)]
        our_result, their_result = ours.step(a, command), theirs.step(b, command)
        assert our_result is not None
        assert their_result is not None
        (a, said), (b, _) = our_result, their_result
        assert their_result[1] == said
        assert ours.won(a) == theirs.won(b)


def test_environment_conforms(game, tree):
    (task,) = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=tree(a=game(1)))
    check_agent_env(HouseholdEnv(), task=task)


def test_older_games_keep_their_wording(game):
    content = game(0)
    for new, old in (
        ("You arrive at {r.name}.", "You arrive at {lend.name}."),
        ("move {o} to {r}", "put {o} in/on {r}"),
        ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
        ('action help { template :: "help"; feedback :: "#help#"; }', ""),
    ):
        content = changed(content, "grammar", new, old)
    start = content["pddl_domain"].index("(:action help")
    end = content["pddl_domain"].index("(:action", start + 1)
    content["pddl_domain"] = content["pddl_domain"][:start] + content["pddl_domain"][end:]
    engine = load_engine(parse_file(json.dumps(content).encode(), "older"), "older")
    state = engine.initial_state()
    assert "help" not in engine.admissible(state)
    said = []
    for command in content["walkthrough"]:
        command = command.replace("move ", "put ").replace(" to ", " in/on ") if "move" in command else command
        result = engine.step(state, command)
        assert result is not None, command
        state, text = result
        said.append(text)
    assert engine.won(state)
    assert said[0].startswith("You arrive at loc ")
    assert said[-1].startswith("You put the ")


def test_initially_won_game_ends_at_the_first_step(game, tree):
    content = game(0)
    engine = load_engine(parse_file(json.dumps(content).encode(), "x"), "x")
    thing = next(o for o in engine.game.objects if o.kind == engine.game.goal.object)
    target = next(r for r in engine.game.receptacles if r.kind == engine.game.goal.target)
    content = changed(content, "pddl_problem", "(:init", f"(:init (inReceptacle {thing.id} {target.id})")
    (task,) = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=tree(a=content))
    env = HouseholdEnv()
    env.reset(options={"task": task})
    text, reward, terminated, _, info = env.step("dance")
    assert (text, reward, terminated, info["success"]) == ("Nothing happens.", 1.0, True, True)
