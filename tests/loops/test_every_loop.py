"""Every loop of the registry runs from its one file on scripted models and on networks, through the same command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from door_env import COLOURS
from fake_desks import ANSWERS
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.reflector import SYSTEM as REFLECTING
from kintsugi.agents.trading_group.roles import SYSTEM
from kintsugi.cli import main
from kintsugi.loops.registry import find_loop, loops
from kintsugi.loops.runs.store import RunStore

DOORS = [f"Thought: hm\nAction: open {colour}" for colour in COLOURS]
DESK = {SYSTEM[role]: answer for role, answer in ANSWERS.items()}
SMALL = ("--loop.practice.tasks", "8", "--loop.fit.epochs", "1", "--held-out.tasks", "6", "--loop.gate.tasks", "4")
FLAGS: dict[str, tuple[str, ...]] = {
    "self-training": (),
    "re-rest": (),
    "agent-r": (
        *("--loop.alpha", "1.0", "--loop.search.candidates", "2", "--loop.search.iterations", "3"),
        *("--loop.verifier.prompt", "Judge.", "--loop.recovery.steps", "1", "--loop.recovery.temperature", "1.0"),
    ),
    "rest-mcts": (
        *("--loop.rounds", "1", "--loop.first.iterations", "2", "--loop.search.iterations", "3"),
        *("--loop.value.epochs", "1", "--loop.min-value", "0"),
    ),
    "trading-group": ("--loop.practice.params", "bars=8", "--held-out.params", "bars=8"),
}
"""What makes each small; every loop of the registry has an entry."""


@pytest.fixture
def improve(doors_world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], str]:
    """Runs a loop on a model, and returns what is printed."""

    def run(loop: str, model: str) -> str:
        env = () if loop == "trading-group" else ("--env", doors_world)
        code = main(["improve", loop, *env, "--model", model, "--run", str(tmp_path / "run"), *SMALL, *FLAGS[loop]])
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        return said.out

    return run


def stages(folder: Path) -> set[str]:
    with RunStore.read(folder) as store:
        return {stage.kind for stage in (*store.trajectory_stages(), *store.results())}


def test_every_loop_is_here():
    assert {part.name for part in loops() if part.target.startswith("kintsugi.")} == set(FLAGS)
    for name in FLAGS:
        loop = find_loop(name)
        # One file: the configuration, the algorithm, and what it measures and prints beyond success.
        (own,) = (part.target.partition(":")[0] for part in loops() if part.name == name)
        usual = {"kintsugi.loops.registry", own}
        assert loop.config.__module__ == loop.run.__module__ == own
        assert {loop.tests.__module__, loop.findings.__module__} <= usual
        assert loop.name == name


@pytest.mark.parametrize("loop", FLAGS)
def test_on_scripted_models(loop, improve, tmp_path):
    """The verifier of Agent-R and the reflector of Re-ReST are told apart by their prompts."""
    script = {REFLECTING: [" tried another.", *DOORS], "Judge.": "Thought: hm\nJudgement: Bad", ACTING: DOORS, **DESK}
    (tmp_path / "script.json").write_text(json.dumps(script))
    said = improve(loop, f"scripted:{tmp_path / 'script.json'}")
    assert "Rounds, as the gate saw them" in said
    assert {"eval", "gate", "verdict", "counts", "score"} <= stages(tmp_path / "run")


@pytest.mark.parametrize("loop", [name for name in FLAGS if name != "trading-group"])
def test_on_a_network(loop, improve, doors_seed, tmp_path):
    """A desk's network is tried in `tests/cli/test_improve.py`: it takes a seed policy of its own."""
    said = improve(loop, str(doors_seed))
    assert "Rounds, as the gate saw them" in said
    assert {"eval", "gate", "verdict", "counts", "score"} <= stages(tmp_path / "run")
