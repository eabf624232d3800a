"""Every built-in loop runs through `kintsugi improve` on scripted models and on networks."""

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
        # The network is no verifier.
        *("--loop.max-unparsed", "1"),
    ),
    "rest-mcts": (
        *("--loop.rounds", "1", "--loop.first-search.iterations", "2", "--loop.search.iterations", "3"),
        *("--loop.value.epochs", "1", "--loop.min-value", "0"),
    ),
    "trading-group": ("--loop.practice.params", "bars=8", "--held-out.params", "bars=8"),
}
"""Flags that make each loop small; every built-in loop has an entry."""


@pytest.fixture
def improve(doors_world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], str]:
    """A function that runs a loop on a model and returns its output."""

    def run(loop: str, model: str) -> str:
        env = () if loop == "trading-group" else ("--env", doors_world)
        code = main(["improve", loop, *env, "--model", model, "--run", str(tmp_path / "run"), *SMALL, *FLAGS[loop]])
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out

    return run


def stages(folder: Path) -> set[str]:
    with RunStore.read(folder) as store:
        return {stage.kind for stage in (*store.trajectory_stages(), *store.results())}


def test_every_loop_has_an_entry_and_consists_of_one_module():
    assert {plugin.name for plugin in loops() if plugin.target.startswith("kintsugi.")} == set(FLAGS)
    for name in FLAGS:
        loop = find_loop(name)
        # The module holds the configuration, the algorithm, further tests and printed findings.
        (module,) = (plugin.target.partition(":")[0] for plugin in loops() if plugin.name == name)
        allowed = {"kintsugi.loops.registry", module}
        assert loop.config.__module__ == loop.run.__module__ == module
        assert {loop.tests.__module__, loop.findings.__module__} <= allowed
        assert loop.name == name


@pytest.mark.parametrize("loop", FLAGS)
def test_on_scripted_models(loop, improve, tmp_path):
    """The script recognises the verifier of Agent-R and the reflector of Re-ReST by their prompts."""
    script = {REFLECTING: [" tried another.", *DOORS], "Judge.": "Thought: hm\nJudgement: Bad", ACTING: DOORS, **DESK}
    (tmp_path / "script.json").write_text(json.dumps(script))
    printed = improve(loop, f"scripted:{tmp_path / 'script.json'}")
    assert "Rounds and gate verdicts" in printed
    assert {"eval", "gate", "verdict", "counts", "score"} <= stages(tmp_path / "run")


@pytest.mark.parametrize("loop", [name for name in FLAGS if name != "trading-group"])
def test_on_a_network(loop, improve, doors_seed, tmp_path):
    """The desk needs its own seed policy; `tests/cli/test_improve.py` tests it."""
    printed = improve(loop, str(doors_seed))
    assert "Rounds and gate verdicts" in printed
    assert {"eval", "gate", "verdict", "counts", "score"} <= stages(tmp_path / "run")
