"""ReST-MCTS*: what is chosen to learn from, what the value model learns, and the loop on a tiny world."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS, Doors
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_run
from kintsugi import cli
from kintsugi.agents.core import Episode
from kintsugi.agents.models.scripted import ScriptedModel
from kintsugi.agents.models.value import GRID, LocalValue
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, run_sync
from kintsugi.agents.search import SearchTree, Uct, search
from kintsugi.agents.search.tree import Node
from kintsugi.agents.trajectory import AgentSpec, Step
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import FitConfig, Judgement
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.process_rewards import process_rewards
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.learning.value import ValueRegression, judgements
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.rest_mcts import ReSTMCTS, chosen, rest_mcts, trace_value
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore

ACTING = ReActAgent(ScriptedModel(["-"]))
TASKS = Doors.tasks("train", 12)


def policy(messages: Any, sampling: Any) -> str:
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % 4]}"


def trees(n: int = 12) -> list[SearchTree]:
    acting = ReActAgent(ScriptedModel(policy), ReActConfig(temperature=1.0, max_tokens=48))
    return search(Doors, [Job(task, acting, 3) for task in TASKS.tasks[:n]], Uct(candidates=3, iterations=3))


def made(*nodes: tuple[int, str, str | None, float], sample: int = 0) -> SearchTree:
    """Parents, actions, outcomes and values of all nodes but the root."""
    all_nodes = [Node(-1, None, "")]
    all_nodes += [Node(p, Step("", "", a), "", o, float(o == "success")) for p, a, o, _ in nodes]
    values = (0.0, *(v for *_, v in nodes))
    return SearchTree(
        TASKS.tasks[0], "m", 0, tuple(all_nodes), (0,) * len(all_nodes), values, "iterations", sample=sample
    )


def test_traces_that_passed_are_chosen_by_the_mean_value_of_their_turns():
    one = made((0, "a", None, 0.4), (1, "b", "success", 1.0), (0, "c", "success", 0.1), (0, "d", "failure", 0.9))
    two = made(
        (0, "c", "success", 0.8), (0, "e", "success", 0.3), (0, "a", None, 0.9), (3, "b", "success", 1.0), sample=1
    )
    assert trace_value(one, 2) == pytest.approx(0.7)
    found = chosen([one, two], ReSTMCTS(traces=9, min_value=0.3))
    assert [[s.action for s in t.steps] for t in found] == [["a", "b"], ["c"], ["e"]]
    assert [t.sample for t in found] == [0, 1, 2]
    assert all(t.success for t in found)
    assert len(chosen([one, two], ReSTMCTS(traces=2))) == 2
    assert chosen([one, two], ReSTMCTS(min_value=0.99)) == []


def test_every_labelled_instant_is_judged_and_trees_weigh_the_same():
    grown = trees(6)
    found = judgements(grown, ACTING)
    assert len(found) == sum(len(process_rewards(tree)) - 1 for tree in grown)
    assert sum(j.weight for j in found) == pytest.approx(6)
    assert {j.label for j in found} >= {1.0}
    assert all(j.messages[-1].content.endswith("Your task is to: go through the open door.") for j in found)
    assert {m.role for j in found for m in j.messages} == {"system", "user", "assistant"}


def test_what_is_judged_is_what_the_agent_would_be_shown():
    """Another prompt is another text; before, the default one was learnt whatever the agent was."""
    brief = ReActAgent(ScriptedModel(["-"]), ReActConfig(system="Be brief.", restate_goal=False))
    for judgement in judgements(trees(2), brief):
        assert judgement.messages[0].content == "Be brief."
        assert "Your task is to" not in judgement.messages[-1].content


@pytest.fixture(scope="module")
def value_folder(doors_seed, tmp_path_factory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("value")
    config = FitConfig(epochs=12.0, lr=5e-3)
    learner, learnt = LocalLearner(doors_seed), judgements(trees(), ACTING)
    return out, learner.fit(learnt, out, name="value@0", config=config, objective=ValueRegression())


def test_the_value_model_learns_and_is_the_same_in_every_batch(doors_seed, value_folder):
    out, result = value_folder
    assert result.loss < 0.5 * result.facts["mean_error"]
    chats = [j.messages for j in judgements(trees(), ACTING)]

    def values(size: int) -> list[float]:
        model = LocalValue.load(doors_seed, out)

        async def all_() -> list[float]:
            found: list[float] = []
            for first in range(0, len(chats), size):
                found += await asyncio.gather(*map(model.value, chats[first : first + size]))
            return found

        found = run_sync(all_())
        assert (model.usage().calls, model.usage().read_tokens > 0) == (len(chats), True)
        return found

    alone = values(1)
    assert values(5) == values(len(chats)) == alone
    assert all(0.0 <= v <= 1.0 and (v * GRID).is_integer() for v in alone)
    labels = [j.label for j in judgements(trees(), ACTING)]
    worth = [v for v, label in zip(alone, labels, strict=True) if label == 1.0]
    rest = [v for v, label in zip(alone, labels, strict=True) if label < 0.5]
    assert sum(worth) / len(worth) > sum(rest) / len(rest) + 0.2


def test_what_is_no_value_model_is_said(doors_seed, value_folder, tmp_path):
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes((value_folder[0] / file).read_bytes())
    with pytest.raises(UsageError, match="holds no value head that fits"):
        LocalValue.load(doors_seed, tmp_path)


def test_an_episode_longer_than_the_window_is_judged_without_its_oldest_turns(doors_seed, value_folder):
    model = LocalValue.load(doors_seed, value_folder[0])
    steps = [Step("It is locked.", "I try red.", "open red") for _ in range(60)]
    episode = Episode(TASKS.tasks[0], "It is locked.", {"goal": "go through the open door."}, 0, steps)
    worth = run_sync(model.value(ACTING.prompt(episode)))
    assert worth == run_sync(model.value(ACTING.prompt(replace(episode, steps=steps[:59]))))
    assert 0.0 <= worth <= 1.0


# -- the loop ------------------------------------------------------------------------------------------------------

CONFIG = ReSTMCTS(
    Practice(tasks=8),
    Attempts(k=1, max_tokens=60),
    gate=Gate("off"),
    data=TrainingData(replay=0.0),
    first=Uct(iterations=2, candidates=3),
    search=replace(ReSTMCTS().search, iterations=3),
    min_value=0.0,
)


def test_the_loop_with_scripted_models(tmp_path):
    """Values and policies are tables; each round searches with the last ones."""
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "door_env:Doors", policy, {"rest_mcts": policy})
        found = rest_mcts(run, CONFIG)
        assert found == store.folder / "adapters" / "rest_mcts@2"
        fitted = learner_of(run).fitted
        assert list(fitted) == ["value@0", "value@1", "rest_mcts@1", "value@2", "rest_mcts@2"]
        assert all(isinstance(e, Judgement) for name in fitted if name.startswith("value") for e in fitted[name])
        # Each value model learns from all trees so far.
        assert len(fitted["value@0"]) < len(fitted["value@1"]) < len(fitted["value@2"])
        assert [str(stage) for stage in store.tree_stages()] == [
            "search/first/train",
            "search/policy@1/train",
            "search/policy@2/train",
        ]
        counts = results_of(store, "counts")
        for name in ("rest_mcts@1", "rest_mcts@2"):
            traces = attempts_at(store, f"collect/traces{name.removeprefix('rest_mcts')}/train")
            assert all(t.success for t in traces)
            assert counts[name]["traces"] == len(traces) == len(fitted[name]) > 0
        assert backend_of(run).opened == ["base", "base", "rest_mcts@1"]
        again = scripted_run(store, "door_env:Doors", policy, {"rest_mcts": policy})
        assert rest_mcts(again, CONFIG) == found
        assert (backend_of(again).opened, learner_of(again).fitted) == ([], {})


def test_without_an_end_there_is_no_value_model(tmp_path):
    """Three doors would have to be tried, and the search goes one turn deep."""
    shallow = replace(CONFIG, first=Uct(iterations=1, candidates=1, max_depth=None, env_steps=1))
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "door_env:Doors", ["Thought: hm\nAction: open pink"])
        with pytest.raises(UsageError, match="nothing to train 'value@0' on: no tree reached an end"):
            rest_mcts(run, shallow)


def test_an_agent_that_cannot_be_judged_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = replace(scripted_run(store, "trading", policy), agent=AgentSpec("trading-group"))
        with pytest.raises(UsageError, match="has no method `prompt"):
            rest_mcts(run, CONFIG)


# -- the command ---------------------------------------------------------------------------------------------------

FLAGS = (
    *("--loop.practice.tasks", "8", "--loop.fit.epochs", "1", "--gate", "off"),
    *("--loop.attempts.max-tokens", "24", "--loop.first.iterations", "2", "--loop.first.candidates", "3"),
    *("--loop.search.iterations", "3", "--loop.value.epochs", "1", "--loop.min-value", "0", "--loop.rounds", "1"),
    *("--held-out.tasks", "6", "--held-out.at-once", "6"),
)


def command(model: Path, run: Path) -> list[str]:
    return ["improve", "rest-mcts", "--env", "broken_envs:SlowDoors", "--model", str(model), "--run", str(run), *FLAGS]


def rows(run: Path) -> dict[str, Any]:
    with sqlite3.connect(run / "run.db") as db:
        growth = db.execute("SELECT stage, key, part, data FROM growth ORDER BY stage, key, part").fetchall()
        attempts = db.execute("SELECT stage, key, data FROM trajectories ORDER BY number").fetchall()
    weights = {f"{p.parent.name}/{p.name}": p.read_bytes() for p in run.glob("adapters/*/*.safetensors")}
    return {"growth": growth, "attempts": attempts, "weights": weights}


def parts(run: Path) -> int:
    try:
        with sqlite3.connect(f"file:{run}/run.db?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM growth").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_the_loop_and_a_kill_inside_its_trees(doors_seed, tmp_path, capsys):
    """Steps take a moment, so that the trees of one search are written in several goes."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert cli.main(command(doors_seed, whole)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "search/policy@1/train: 8 trees" in said
    assert "actions were played again" in said
    wanted = rows(whole)
    weights = {name.partition("/")[0] for name in wanted["weights"]}
    assert weights == {"value@0", "value@1", "rest_mcts@1"}
    assert "value@1/value_head.safetensors" in wanted["weights"]
    assert {stage for stage, *_ in wanted["growth"]} == {"search/first/train", "search/policy@1/train"}

    killed = subprocess.Popen(
        [sys.executable, "-m", "kintsugi", *command(doors_seed, cut)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support"), "HF_HUB_OFFLINE": "1"},
    )
    while parts(cut) < 10:
        assert killed.poll() is None
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 0 < parts(cut) < len(wanted["growth"])
    assert cli.main(command(doors_seed, cut)) == 0
    assert rows(cut) == wanted


def test_settings_of_the_loop_are_checked():
    with pytest.raises(UsageError, match="candidates is 0"):
        replace(ReSTMCTS().search, candidates=0)
