"""ReST-MCTS*: chosen traces, value models, and the loop in a tiny environment."""

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
from kintsugi.agents.search.tree import Node, SearchUsage
from kintsugi.agents.trajectory import AgentSpec, Step
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import FitConfig, ValueExample
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.process_rewards import process_rewards
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.learning.value import ValueRegression, value_examples
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.rest_mcts import ReSTMCTS, choose_traces, rest_mcts, search_counts, total_cost, trace_value
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore

AGENT = ReActAgent(ScriptedModel(["-"]))
TASKS = Doors.tasks("train", 12)


def policy(messages: Any, sampling: Any) -> str:
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % 4]}"


def trees(n: int = 12) -> list[SearchTree]:
    agent = ReActAgent(ScriptedModel(policy), ReActConfig(temperature=1.0, max_tokens=48))
    return search(Doors, [Job(task, agent, 3) for task in TASKS.tasks[:n]], Uct(candidates=3, iterations=3))


def make_tree(*nodes: tuple[int, str, str | None, float], sample: int = 0) -> SearchTree:
    """A tree with these parents, actions, outcomes and values of all nodes except the root."""
    all_nodes = [Node(-1, None, "")]
    all_nodes += [Node(p, Step("", "", a), "", o, float(o == "success")) for p, a, o, _ in nodes]
    values = (0.0, *(v for *_, v in nodes))
    return SearchTree(
        TASKS.tasks[0], "m", 0, tuple(all_nodes), (0,) * len(all_nodes), values, "iterations", sample=sample
    )


def test_passed_traces_are_chosen_by_their_mean_value():
    one = make_tree((0, "a", None, 0.4), (1, "b", "success", 1.0), (0, "c", "success", 0.1), (0, "d", "failure", 0.9))
    two = make_tree(
        (0, "c", "success", 0.8), (0, "e", "success", 0.3), (0, "a", None, 0.9), (3, "b", "success", 1.0), sample=1
    )
    assert trace_value(one, 2) == pytest.approx(0.7)
    found = choose_traces([one, two], ReSTMCTS(traces=9, min_value=0.3))
    assert [[s.action for s in t.steps] for t in found] == [["a", "b"], ["c"], ["e"]]
    assert [t.sample for t in found] == [0, 1, 2]
    assert all(t.success for t in found)
    assert len(choose_traces([one, two], ReSTMCTS(traces=2))) == 2
    assert choose_traces([one, two], ReSTMCTS(min_value=0.99)) == []


def test_counts_of_a_search_add_up_trees_and_count_each_solved_task_once():
    solved = make_tree((0, "a", None, 0.4), (1, "b", "success", 1.0))
    again, failed = replace(solved, sample=1), replace(make_tree((0, "c", "failure", 0.0)), task=TASKS.tasks[1])
    usages = (SearchUsage(5, 2, 30, 100), SearchUsage(7, 3, 40, 200), SearchUsage(1, 1, 8, 50))
    found = [replace(tree, usage=usage) for tree, usage in zip((solved, again, failed), usages, strict=True)]
    assert total_cost(found) == SearchUsage(13, 6, 78, 350)
    assert search_counts(found) == {
        **{"tasks": 2, "solved": 1, "trees": 3, "nodes": 8, "infra_errors": 0},
        **{"model_calls": 13, "env_steps": 6, "sampled_tokens": 78, "read_tokens": 350},
    }


def test_each_node_with_a_process_reward_is_an_example_and_trees_have_equal_weight():
    six_trees = trees(6)
    examples = value_examples(six_trees, AGENT)
    assert len(examples) == sum(len(process_rewards(tree)) - 1 for tree in six_trees)
    assert sum(e.weight for e in examples) == pytest.approx(6)
    assert {e.label for e in examples} >= {1.0}
    assert all(e.messages[-1].content.endswith("Your task is to: go through the open door.") for e in examples)
    assert {m.role for e in examples for m in e.messages} == {"system", "user", "assistant"}


def test_value_examples_use_the_prompt_of_the_agent():
    brief = ReActAgent(ScriptedModel(["-"]), ReActConfig(system="Be brief.", restate_goal=False))
    for example in value_examples(trees(2), brief):
        assert example.messages[0].content == "Be brief."
        assert "Your task is to" not in example.messages[-1].content


@pytest.fixture(scope="module")
def value_folder(doors_seed, tmp_path_factory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("value")
    config = FitConfig(epochs=12.0, lr=5e-3)
    learner, examples = LocalLearner(doors_seed), value_examples(trees(), AGENT)
    return out, learner.fit(examples, out, name="value@0", config=config, objective=ValueRegression())


def test_the_value_model_fits_its_labels_and_does_not_depend_on_batching(doors_seed, value_folder):
    out, result = value_folder
    assert result.loss < 0.5 * result.metrics["label_variance"]
    chats = [e.messages for e in value_examples(trees(), AGENT)]

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
    labels = [e.label for e in value_examples(trees(), AGENT)]
    good = [v for v, label in zip(alone, labels, strict=True) if label == 1.0]
    bad = [v for v, label in zip(alone, labels, strict=True) if label < 0.5]
    assert sum(good) / len(good) > sum(bad) / len(bad) + 0.2


def test_an_adapter_without_a_value_head_is_refused(doors_seed, value_folder, tmp_path):
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes((value_folder[0] / file).read_bytes())
    with pytest.raises(UsageError, match="has no value head that fits"):
        LocalValue.load(doors_seed, tmp_path)


def test_an_episode_longer_than_the_window_loses_its_oldest_turns(doors_seed, value_folder):
    model = LocalValue.load(doors_seed, value_folder[0])
    steps = [Step("It is locked.", "I try red.", "open red") for _ in range(60)]
    episode = Episode(TASKS.tasks[0], "It is locked.", {"goal": "go through the open door."}, 0, steps)
    value = run_sync(model.value(AGENT.prompt(episode)))
    assert value == run_sync(model.value(AGENT.prompt(replace(episode, steps=steps[:59]))))
    assert 0.0 <= value <= 1.0


# -- The loop ------------------------------------------------------------------------------------------------------

CONFIG = ReSTMCTS(
    Practice(tasks=8),
    Attempts(k=1, max_tokens=60),
    gate=Gate("off"),
    data=TrainingData(replay=0.0),
    first_search=Uct(iterations=2, candidates=3),
    search=replace(ReSTMCTS().search, iterations=3),
    min_value=0.0,
)


def test_the_loop_with_scripted_models(tmp_path):
    """Values and policies are tables, and each round searches with the latest ones."""
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "door_env:Doors", policy, {"rest_mcts": policy})
        found = rest_mcts(run, CONFIG)
        assert found == store.folder / "adapters" / "rest_mcts@2"
        fitted = learner_of(run).fitted
        assert list(fitted) == ["value@0", "rest_mcts@1", "value@1", "rest_mcts@2", "value@2"]
        assert all(isinstance(e, ValueExample) for name in fitted if name.startswith("value") for e in fitted[name])
        # Each value model is trained on all trees so far.
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


def test_trees_without_an_end_are_refused(tmp_path):
    """An episode ends after three doors, and the search is one turn deep."""
    shallow = replace(CONFIG, first_search=Uct(iterations=1, candidates=1, max_depth=None, env_steps=1))
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "door_env:Doors", ["Thought: hm\nAction: open pink"])
        with pytest.raises(UsageError, match="nothing to train 'value@0' on: no tree reached an end"):
            rest_mcts(run, shallow)


def test_an_agent_without_a_prompt_method_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = replace(scripted_run(store, "trading", policy), agent=AgentSpec("trading-group"))
        with pytest.raises(UsageError, match="has no method `prompt"):
            rest_mcts(run, CONFIG)


# -- The command ---------------------------------------------------------------------------------------------------

FLAGS = (
    *("--loop.practice.tasks", "8", "--loop.fit.epochs", "1", "--gate", "off"),
    *("--loop.attempts.max-tokens", "24", "--loop.first-search.iterations", "2", "--loop.first-search.candidates", "3"),
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
    """The environment is slow, so the trees of one search are stored in several transactions."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert cli.main(command(doors_seed, whole)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "search/policy@1/train: 8 trees" in printed
    assert "restores, which replayed" in printed
    expected = rows(whole)
    weights = {name.partition("/")[0] for name in expected["weights"]}
    assert weights == {"value@0", "value@1", "rest_mcts@1"}
    assert "value@1/value_head.safetensors" in expected["weights"]
    assert {stage for stage, *_ in expected["growth"]} == {"search/first/train", "search/policy@1/train"}

    killed = subprocess.Popen(
        [sys.executable, "-m", "kintsugi", *command(doors_seed, resumed)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support"), "HF_HUB_OFFLINE": "1"},
    )
    while parts(resumed) < 10:
        assert killed.poll() is None
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 0 < parts(resumed) < len(expected["growth"])
    assert cli.main(command(doors_seed, resumed)) == 0
    assert rows(resumed) == expected


def test_search_settings_are_checked():
    with pytest.raises(UsageError, match="candidates is 0"):
        replace(ReSTMCTS().search, candidates=0)
