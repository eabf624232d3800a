"""ReST-MCTS*: what is chosen to learn from, what the value model learns, and the loop on a tiny world."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doors import COLOURS, Doors
from kintsugi.agents.core import Episode
from kintsugi.agents.models.scripted import ScriptedModel
from kintsugi.agents.models.value import GRID, LocalValue
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, run_sync
from kintsugi.agents.search.search import Uct, search
from kintsugi.agents.search.tree import Node, SearchTree
from kintsugi.agents.trajectory import Step
from kintsugi.cli import main as cli
from kintsugi.errors import UsageError
from kintsugi.loops.learning.learner import FitConfig
from kintsugi.loops.learning.process_rewards import process_rewards
from kintsugi.loops.learning.value import fit_value, judgements
from kintsugi.loops.rest_mcts import ReSTMCTS, chosen, trace_value

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
    found = judgements(grown)
    assert len(found) == sum(len(process_rewards(tree)) - 1 for tree in grown)
    assert sum(j.weight for j in found) == pytest.approx(6)
    assert {j.label for j in found} >= {1.0}
    assert all(j.episode.steps and j.episode.goal == "go through the open door." for j in found)


@pytest.fixture(scope="module")
def value_folder(doors_seed, tmp_path_factory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("value")
    result = fit_value(doors_seed, judgements(trees()), FitConfig(epochs=12.0, lr=5e-3), out, name="value@0")
    return out, result


def test_the_value_model_learns_and_is_the_same_in_every_batch(doors_seed, value_folder):
    out, result = value_folder
    assert result.error < 0.5 * result.mean_error
    episodes = [j.episode for j in judgements(trees())]

    def values(size: int) -> list[float]:
        model = LocalValue.load(doors_seed, out)
        assert model.version.startswith(model.version.partition("+")[0])

        async def all_() -> list[float]:
            import asyncio

            found: list[float] = []
            for first in range(0, len(episodes), size):
                found += await asyncio.gather(*map(model.value, episodes[first : first + size]))
            return found

        return run_sync(all_())

    alone = values(1)
    assert values(5) == values(len(episodes)) == alone
    assert all(0.0 <= v <= 1.0 and (v * GRID).is_integer() for v in alone)
    labels = [j.label for j in judgements(trees())]
    worth = [v for v, label in zip(alone, labels, strict=True) if label == 1.0]
    rest = [v for v, label in zip(alone, labels, strict=True) if label < 0.5]
    assert sum(worth) / len(worth) > sum(rest) / len(rest) + 0.2


def test_what_is_no_value_model_is_said(doors_seed, value_folder, tmp_path):
    with pytest.raises(UsageError, match="no tree reached an end"):
        fit_value(doors_seed, [], FitConfig(), tmp_path, name="value@0")
    (value_folder[0] / "adapter_config.json").read_text()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes((value_folder[0] / file).read_bytes())
    with pytest.raises(UsageError, match="holds no value head that fits"):
        LocalValue.load(doors_seed, tmp_path)


def test_an_episode_longer_than_the_window_is_judged_without_its_oldest_turns(doors_seed, value_folder):
    model = LocalValue.load(doors_seed, value_folder[0])
    steps = [Step("It is locked.", "I try red.", "open red") for _ in range(60)]
    episode = Episode(TASKS.tasks[0], "It is locked.", {"goal": "go through the open door."}, 0, steps)
    assert 0.0 <= run_sync(model.value(episode)) <= 1.0


# -- the command ---------------------------------------------------------------------------------------------------

FLAGS = (
    *("--loop.practice.env", "doors", "--loop.practice.tasks", "8", "--loop.practice.fit.epochs", "1"),
    *("--loop.practice.max-tokens", "24", "--loop.first.iterations", "2", "--loop.first.candidates", "3"),
    *("--loop.search.iterations", "3", "--loop.value.epochs", "1", "--loop.min-value", "0", "--loop.rounds", "1"),
    *("--held-out.env", "doors", "--held-out.tasks", "6", "--held-out.at-once", "6"),
)


def command(model: Path, run: Path) -> list[str]:
    return ["improve", "rest-mcts", "--model", str(model), "--run", str(run), *FLAGS]


def rows(run: Path) -> dict[str, Any]:
    with sqlite3.connect(run / "run.db") as db:
        growth = db.execute("SELECT stage, key, part, data FROM growth ORDER BY stage, key, part").fetchall()
        attempts = db.execute("SELECT stage, key, data FROM trajectories ORDER BY number").fetchall()
    weights = {p.parent.name: p.read_bytes() for p in run.glob("adapters/*/*.safetensors") if p.stem != "value_head"}
    return {"growth": growth, "attempts": attempts, "weights": weights}


def parts(run: Path) -> int:
    try:
        with sqlite3.connect(f"file:{run}/run.db?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM growth").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_the_loop_and_a_kill_inside_its_trees(doors_seed, doors_site, doors_world, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert cli.main(command(doors_seed, whole)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "search/policy@1: 8 trees" in said
    assert "actions were played again" in said
    wanted = rows(whole)
    assert set(wanted["weights"]) == {"value@0", "value@1", "rest_mcts@1"}
    assert {stage for stage, *_ in wanted["growth"]} == {"search/first", "search/policy@1"}

    path = os.pathsep.join([str(doors_site), str(Path(__file__).parents[1] / "support")])
    code = (
        "import sys; from kintsugi import cli; from kintsugi.loops import journal; journal.FLUSH_SECONDS = 0.0; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, *command(doors_seed, cut)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
    )
    while parts(cut) < random.Random(1).randrange(10, 30):
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
