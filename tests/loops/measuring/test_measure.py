"""Measuring within a run: once, resumable, and never under the name of another model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from kintsugi.agents.models.local import model_version
from kintsugi.agents.models.scripted import ScriptedModel
from kintsugi.agents.react import ReActAgent
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.household import HouseholdEnv
from kintsugi.errors import UsageError
from kintsugi.loops.measuring.evaluation import Score
from kintsugi.loops.measuring.measure import Measure, measure, score_of
from kintsugi.loops.runs.store import RunStore
from tiny_models import saved

ON = Measure(env="doors", splits=("valid_seen", "valid_unseen"), tasks=9, at_once=4, samples=2, temperature=0.7)


@pytest.fixture
def store(tmp_path: Path, doors_world: str):
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


def test_every_split_is_measured_and_scored(store, doors_seed):
    found = measure(store, "base", doors_seed, None, ON)
    assert list(found) == ["valid_seen", "valid_unseen"]
    for split, attempts in found.items():
        assert [(t.task.id, t.sample) for t in attempts] == [(t.id, i) for t in ON.task_set(split) for i in range(2)]
        assert {t.model for t in attempts} == {model_version(doors_seed)}
        assert len({t.seed for t in attempts}) == 18
        assert store.trajectories(f"eval/base/{split}") == attempts
        score = Score.from_json(store.results()[f"score/base/{split}"])
        assert score.taskset == ON.task_set(split).hash
        assert score.success.value == sum(t.success for t in attempts) / 18
        assert (score.name, score.n, score.decoding, score.step_cap) == ("base", 18, "free", 2)
        assert score.settings["temperature"] == 0.7
        clock = store.results()[f"clock/base/{split}"]
        assert score.seconds == clock["wall"] >= clock["model"] + clock["env"] > 0
    assert found["valid_seen"] != found["valid_unseen"]


def test_what_was_measured_is_not_measured_again(store, doors_seed, monkeypatch):
    first = measure(store, "base", doors_seed, None, ON)
    results = store.results()
    monkeypatch.setattr("kintsugi.agents.models.local.LocalModel.load", lambda *_, **__: pytest.fail("loaded again"))
    assert measure(store, "base", doors_seed, None, ON) == first
    assert store.results() == results


def test_an_interrupted_measurement_goes_on(store, doors_seed, tmp_path, monkeypatch):
    whole = measure(store, "base", doors_seed, None, ON)
    with RunStore.open(tmp_path / "cut", {}) as cut:
        cut.add("eval/base/valid_seen", whole["valid_seen"][:8])
        assert measure(cut, "base", doors_seed, None, ON) == whole
        cut.stage("eval", lambda: None)
        scores = [
            {
                name: replace(Score.from_json(result), seconds=None)
                for name, result in s.results().items()
                if "score" in name
            }
            for s in (store, cut)
        ]
        assert scores[0] == scores[1]


def test_constrained_decoding_refuses_nothing(store, doors_seed):
    free = measure(store, "free", doors_seed, None, replace(ON, temperature=1.0))
    bound = measure(store, "bound", doors_seed, None, replace(ON, temperature=1.0, decoding="constrained"))
    refused = [
        sum(
            step.invalid is not None and "Action: " in (step.text or "")
            for t in found["valid_seen"]
            for step in t.steps
        )
        for found in (free, bound)
    ]
    assert refused[1] == 0 < refused[0]
    assert Score.from_json(store.results()["score/bound/valid_seen"]).decoding == "constrained"


def test_another_model_under_the_same_name_is_refused(store, doors_seed, tmp_path):
    kept = measure(store, "base", doors_seed, None, ON)
    other = saved(tmp_path / "other")
    with pytest.raises(UsageError, match="'base' is .* there and .* now; give this one another name"):
        measure(store, "base", other, None, ON)
    assert store.trajectories("eval/base/valid_seen") == kept["valid_seen"]
    moved = shutil.copytree(doors_seed, tmp_path / "moved")
    assert measure(store, "base", moved, None, ON) == kept


def test_tasks_and_jobs_are_a_function_of_the_seed(doors_world):
    assert ON.task_set("valid_seen") == ON.task_set("valid_seen") != replace(ON, seed=8).task_set("valid_seen")
    jobs = ON.jobs(ScriptedModel(["x"]), ON.task_set("valid_seen"))
    assert [j.seed for j in jobs] == [j.seed for j in ON.jobs(ScriptedModel(["x"]), ON.task_set("valid_seen"))]
    assert isinstance(jobs[0].agent, ReActAgent)
    assert jobs[0].agent.config.max_tokens == ON.turn_tokens == 32
    assert replace(ON, max_tokens=50).turn_tokens == 50 == replace(ON, env="code", max_tokens=50).turn_tokens
    assert replace(ON, env="code").turn_tokens == CodeEnv.metadata["turn_tokens"]
    with pytest.raises(UsageError, match="tasks is 0"):
        replace(ON, tasks=0).task_set("valid_seen")


def test_a_score_of_several_seeds(store, doors_seed):
    on = replace(ON, splits=("valid_seen",))
    found = measure(store, "base", doors_seed, None, on)["valid_seen"]
    pooled = score_of("base", on.task_set("valid_seen"), [*found, *found], on, 3.0)
    assert (pooled.n, pooled.seconds, pooled.seeds) == (36, 3.0, (on.seed,))


def test_alfworlds_games_are_measured(tmp_path, capsys):
    """As `kintsugi eval --env household --alfworld FOLDER --split valid_unseen` does it."""
    from kintsugi.cli.main import main
    from kintsugi.envs.household.alfworld.export import write_game
    from kintsugi.envs.household.env import engine_of_task
    from kintsugi.envs.household.generator import make_task
    from kintsugi.loops.runs.references import read_evaluation

    for index in range(3):
        engine = engine_of_task(make_task("valid_unseen", index, 0, "small"))
        write_game(tmp_path / "games" / "valid_unseen" / f"game{index}", engine.game, ())
    model = saved(tmp_path / "model")
    (model / "config.json").write_text(
        (model / "config.json").read_text().replace('embeddings": 256', 'embeddings": 16384')
    )
    command = ["eval", "--env", "household", "--alfworld", str(tmp_path / "games"), "--split", "valid_unseen"]
    command += ["--model", str(model), "--run", str(tmp_path / "run"), "--max-tokens", "2", "--tasks", "2"]
    assert main(command) == 0
    assert "Success" in capsys.readouterr().out
    (attempts,) = read_evaluation(f"{tmp_path}/run/model/valid_unseen").attempts.values()
    assert [(attempt.task.id, attempt.steps) for attempt in attempts] == [
        (task.id, 50)
        for task in HouseholdEnv.tasks("valid_unseen", source="alfworld", path=tmp_path / "games").sample(2, 2026)
    ]
    with pytest.raises(UsageError, match="ALFWorld's games are played in kintsugi/Household-v0"):
        Measure(env="code", alfworld=str(tmp_path / "games")).task_set("valid_unseen")
