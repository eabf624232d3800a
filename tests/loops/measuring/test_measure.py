"""Measuring within a run: attempts are played once, resumed after an interruption, and never mixed between agents."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS
from fakes import attempts_at, backend_of, results_of, scripted_run
from kintsugi.agents.models import LanguageModel, ScriptedBackend, Usage
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.models.weights import model_version
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.envs import EnvSpec
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.household import HouseholdEnv
from kintsugi.errors import UsageError
from kintsugi.loops.learning.table import TableLearner
from kintsugi.loops.measuring.evaluation import Score, compare, score
from kintsugi.loops.measuring.measure import Measure, evaluate, measure, measure_agent, score_attempts, timing_summary
from kintsugi.loops.run import Run
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from tiny_models import save_tiny_model

DOORS = EnvSpec("door_env:Doors")
ON = Measure(splits=("valid_seen", "valid_unseen"), tasks=9, at_once=4, samples=2, temperature=0.7)


class RecordingBackend(LocalBackend):
    """Records the models that it opened."""

    def __init__(self, weights: Path) -> None:
        super().__init__(weights, device="cpu")
        self.opened: list[LanguageModel] = []

    def model(self, adapter: Path | None = None, **options: Any) -> LanguageModel:
        self.opened.append(super().model(adapter, **options))
        return self.opened[-1]


def guess(messages: Any, sampling: Any) -> str:
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % 4]}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


@pytest.fixture
def run(store: RunStore) -> Run:
    """A run whose base model opens random doors."""
    return scripted_run(store, DOORS.id, guess)


@pytest.fixture
def seeded(store: RunStore, doors_seed: Path) -> Run:
    """A run with a small network that finds the open door sometimes."""
    return Run(store, RecordingBackend(doors_seed), TableLearner(), DOORS)


def scores(store: RunStore) -> dict[Stage, Score]:
    """All scores, without their wall time."""
    return {
        stage: replace(Score.from_json(result), seconds=None)
        for stage, result in store.results().items()
        if stage.kind == "score"
    }


def test_every_split_is_measured_and_scored(seeded, store, doors_seed):
    found = measure(seeded, "base", None, ON)
    assert list(found) == ["valid_seen", "valid_unseen"]
    for split, attempts in found.items():
        tasks = ON.task_set(DOORS, split)
        assert [(t.task.id, t.sample) for t in attempts] == [(t.id, i) for t in tasks for i in range(2)]
        assert {t.model for t in attempts} == {model_version(doors_seed)}
        assert len({t.seed for t in attempts}) == 18
        assert attempts_at(store, f"eval/base/{split}") == attempts
        stage = Stage("score", "base", split)
        score = Score.from_json(store.results()[stage])
        assert score.taskset == tasks.hash
        assert score.success.value == sum(t.success for t in attempts) / 18
        assert (score.name, score.n, score.decoding, score.step_limit) == ("base", 18, "free", 2)
        assert score.settings["temperature"] == 0.7
        timing = store.results()[stage.with_kind("timing")]
        assert score.seconds == timing["wall"] >= timing["model"] + timing["env"] > 0
    assert found["valid_seen"] != found["valid_unseen"]


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_score_has_agent_environment_and_repeatability(store, repeatable):
    class CustomBackend(ScriptedBackend):
        pass

    CustomBackend.repeatable = repeatable
    spec = AgentSpec("react", {"system": "Be brief."})
    run = Run(store, CustomBackend(guess, "base:1"), TableLearner(), DOORS.with_args(max_steps=3), spec)
    held_out = replace(ON, splits=("valid_seen",))
    attempts = measure(run, "base", None, held_out)["valid_seen"]
    score = Score.from_json(results_of(store, "score")["base"])
    assert score.agents == (held_out.agent(run, None).name,)
    assert score.agents[0].startswith("react-")
    assert score.agents[0].endswith("@base:1")
    assert {t.made_by and t.made_by.args["system"] for t in attempts} == {"Be brief."}
    assert (score.models, score.repeatable, score.step_limit, score.seeds) == (("base:1",), repeatable, 3, (ON.seed,))
    assert score.settings == {"temperature": 0.7, "max_tokens": 32, "env": run.env.to_json()}
    assert (score.settings["env"]["id"], score.settings["env"]["kwargs"]["max_steps"]) == (DOORS.id, 3)


def test_a_finished_evaluation_is_read_from_the_store_without_opening_a_model(run):
    first = measure(run, "base", None, ON)
    results = run.store.results()
    assert backend_of(run).opened == ["base"]
    assert measure(run, "base", None, ON) == first
    assert run.store.results() == results
    assert backend_of(run).opened == ["base"]


def test_a_network_is_loaded_at_its_first_call_and_not_for_a_finished_evaluation(seeded):
    first = measure(seeded, "base", None, ON)
    opened = len(seeded.backend.opened)
    assert all(model.usage().calls for model in seeded.backend.opened)
    assert measure(seeded, "base", None, ON) == first
    assert len(seeded.backend.opened) > opened
    assert all(model.usage() == Usage() for model in seeded.backend.opened[opened:])


def test_an_interrupted_evaluation_is_resumed(seeded, tmp_path):
    whole = measure(seeded, "base", None, ON)
    with RunStore.open(tmp_path / "resumed", {}) as resumed:
        resumed.add(Stage("eval", "base", "valid_seen"), whole["valid_seen"][:8])
        assert measure(replace(seeded, store=resumed), "base", None, ON) == whole
        assert scores(resumed) == scores(seeded.store)
        assert len(scores(resumed)) == 2


def test_constrained_decoding_avoids_refused_actions(seeded, store):
    free = measure(seeded, "free", None, replace(ON, temperature=1.0))
    constrained = measure(seeded, "constrained", None, replace(ON, temperature=1.0, decoding="constrained"))
    refused = [
        sum(
            step.invalid is not None and "Action: " in (step.text or "")
            for t in found["valid_seen"]
            for step in t.steps
        )
        for found in (free, constrained)
    ]
    assert refused[1] == 0 < refused[0]
    assert Score.from_json(store.results()[Stage("score", "constrained", "valid_seen")]).decoding == "constrained"


def test_another_model_under_the_same_name_is_refused(seeded, store, doors_seed, tmp_path):
    kept = measure(seeded, "base", None, ON)
    other = replace(seeded, backend=LocalBackend(save_tiny_model(tmp_path / "other")))
    with pytest.raises(UsageError, match="agent: react-.* -> react-.*; use a new run folder, or another name"):
        measure(other, "base", None, ON)
    assert attempts_at(store, "eval/base/valid_seen") == kept["valid_seen"]
    moved = LocalBackend(shutil.copytree(doors_seed, tmp_path / "moved"))
    assert measure(replace(seeded, backend=moved), "base", None, ON) == kept


@pytest.mark.parametrize("args", [{"system": "Be brief."}, {"restate_goal": False}])
def test_another_agent_under_the_same_name_is_refused(run, args):
    measure(run, "base", None, ON)
    with pytest.raises(UsageError, match="agent: react-.* -> react-"):
        measure(replace(run, agent=AgentSpec("react", args)), "base", None, ON)
    with pytest.raises(UsageError, match="agent: react-.* -> react-"):
        measure(run, "base", None, replace(ON, temperature=0.0))
    measure(replace(run, agent=AgentSpec("react", args)), "other", None, ON)


def test_tasks_and_jobs_are_a_function_of_the_seed(run):
    seen = ON.task_set(DOORS, "valid_seen")
    assert seen == ON.task_set(DOORS, "valid_seen") != replace(ON, seed=8).task_set(DOORS, "valid_seen")
    agent = ON.agent(run, None)
    jobs = ON.jobs(agent, seen)
    assert [j.seed for j in jobs] == [j.seed for j in ON.jobs(agent, seen)]
    assert len({j.seed for j in [*jobs, *replace(ON, seed=8).jobs(agent, seen)]}) == 2 * len(jobs)
    assert isinstance(agent, ReActAgent)
    assert (agent.config.max_tokens, agent.config.temperature) == (32, 0.7)
    assert ON.resolved(DOORS).max_tokens == 32
    assert replace(ON, max_tokens=50).resolved(EnvSpec("code")).max_tokens == 50
    assert ON.resolved(EnvSpec("code")).max_tokens == CodeEnv.metadata["turn_tokens"]
    assert (ON.resolved(DOORS).at_once, replace(ON, at_once=None).resolved(DOORS).at_once) == (4, 128)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": 0}, "tasks is 0; expected at least 1"),
        ({"samples": 0}, "samples is 0"),
        ({"at_once": 0}, "at_once is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"splits": ()}, "splits is empty; expected at least one split"),
    ],
)
def test_invalid_settings_are_refused(changes, expected):
    with pytest.raises(UsageError, match=expected):
        replace(ON, **changes).task_sets(DOORS)


def test_score_of_pooled_attempts(run):
    held_out = replace(ON, splits=("valid_seen",))
    found = measure(run, "base", None, held_out)["valid_seen"]
    pooled = score_attempts(run, "base", held_out.task_set(DOORS, "valid_seen"), [*found, *found], held_out, 3.0)
    assert (pooled.n, pooled.seconds, pooled.seeds) == (36, 3.0, (held_out.seed,))


def test_agents_can_be_measured_without_a_run(run):
    """`evaluate` gives the same attempts as a run."""
    held_out, tasks = replace(ON, splits=("valid_seen",)), ON.task_set(DOORS, "valid_seen")
    agent = held_out.agent(run, None)
    found = evaluate(agent, DOORS, tasks, samples=2, at_once=3)
    assert found == measure(run, "base", None, held_out)["valid_seen"]
    assert found == measure_agent(run, "again", agent, held_out)["valid_seen"]
    assert len(evaluate(agent, DOORS, tasks)) == 9
    assert {t.seed for t in evaluate(agent, DOORS, tasks, seed=7)}.isdisjoint({t.seed for t in found})
    assert score("guess", tasks, found).n == compare(found, found).n == 18


def test_timing_summary():
    results = {
        Stage("timing", "base", "valid_seen"): {"wall": 10.0, "model": 6.0, "env": 2.0},
        Stage("timing", "agent", "valid_seen", 1, "seed0"): {"wall": 10.0, "model": 7.0, "env": 1.0},
        Stage("score", "base", "valid_seen"): {"wall": 99.0},
    }
    assert timing_summary(results) == "measuring took 20 s: model 13 s, environment 3.0 s, overhead 20.0 %"
    assert timing_summary({}).startswith("measuring took 0 s")


def test_alfworld_games_are_measured(tmp_path, capsys):
    """As with `kintsugi eval --env household --params source=alfworld path=FOLDER --split valid_unseen`."""
    from kintsugi.cli.main import main
    from kintsugi.envs.household.alfworld.export import write_game
    from kintsugi.envs.household.env import engine_of_task
    from kintsugi.envs.household.generator import make_task
    from kintsugi.loops.measuring.references import read_evaluation

    for index in range(3):
        engine = engine_of_task(make_task("valid_unseen", index, 0, "small"))
        write_game(tmp_path / "games" / "valid_unseen" / f"game{index}", engine.game, ())
    model = save_tiny_model(tmp_path / "model")
    (model / "config.json").write_text(
        (model / "config.json").read_text().replace('embeddings": 256', 'embeddings": 16384')
    )
    command = ["eval", "--env", "household", "--params", "source=alfworld", f"path={tmp_path / 'games'}"]
    command += ["--split", "valid_unseen", "--model", str(model), "--run", str(tmp_path / "run")]
    command += ["--max-tokens", "2", "--tasks", "2"]
    assert main(command) == 0
    assert "Success" in capsys.readouterr().out
    (attempts,) = read_evaluation(f"{tmp_path}/run/model/valid_unseen").attempts.values()
    games = {"source": "alfworld", "path": str(tmp_path / "games")}
    assert [(attempt.task.id, attempt.steps) for attempt in attempts] == [
        (task.id, 50) for task in HouseholdEnv.tasks("valid_unseen", **games).sample(2, 2026)
    ]
    assert len(Measure(params=games).task_set(EnvSpec("household"), "valid_unseen")) == 3
    with pytest.raises(UsageError, match="alfworld"):
        Measure(params=games).task_set(EnvSpec("code"), "valid_unseen")
