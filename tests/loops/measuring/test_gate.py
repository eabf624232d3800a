"""The gate: a model is adopted when it does not lose by more than the margin, and the verdict stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doors import COLOURS, Doors
from kintsugi.agents.models import ScriptedModel
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.measuring import gate as module
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.runs.store import RunStore

TASKS = 12


class Loader:
    """Stands in for `LocalModel`: an adapter's name says which doors the model tries first."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, base: Path, adapter: Path | None = None, **_: Any) -> ScriptedModel:
        name = adapter.name if adapter else "red"
        self.loaded.append(name)
        return ScriptedModel([f"Action: open {colour}" for colour in name.split("+")], version=name)


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    loader = Loader()
    monkeypatch.setattr(module, "LocalModel", loader)
    return loader


def share(gate: Gate, *colours: str) -> float:
    """How many of the gate's tasks these doors open."""
    tasks = Doors.tasks(gate.split, gate.tasks, gate.seed)
    return sum(task.params["open"] in colours for task in tasks) / len(tasks)


@pytest.mark.parametrize("seed", range(4))
def test_the_better_one_is_adopted(seed, doors_world, loader, tmp_path):
    practice, gate = Practice(env=doors_world), Gate(tasks=TASKS, seed=seed)
    with RunStore.open(tmp_path / "run", {}) as store:
        for colour in COLOURS[1:]:
            wanted = share(gate, colour) >= share(gate, "red")
            assert gate.admits(store, practice, tmp_path, None, Path(colour)) == wanted
            assert store.results()[f"verdict/{colour}"]["adopted"] == wanted
        assert gate.admits(store, practice, tmp_path, None, Path("red+blue"))
        assert not gate.admits(store, practice, tmp_path, Path("red+blue"), Path("none"))
        assert store.trajectory_stages()[:2] == ["gate/base", "gate/green"]
        assert len(store.trajectories("gate/base")) == TASKS


def test_a_margin_has_to_be_reached(doors_world, loader, tmp_path):
    practice, gate = Practice(env=doors_world), Gate(tasks=TASKS)
    gain = share(gate, "red", "blue") - share(gate, "red")
    assert gain > 0
    with RunStore.open(tmp_path / "a", {}) as store:
        assert Gate(tasks=TASKS, margin=gain - 0.01).admits(store, practice, tmp_path, None, Path("red+blue"))
    with RunStore.open(tmp_path / "b", {}) as store:
        assert not Gate(tasks=TASKS, margin=gain + 0.01).admits(store, practice, tmp_path, None, Path("red+blue"))


def test_the_verdict_stands(doors_world, loader, tmp_path):
    practice, gate = Practice(env=doors_world), Gate(tasks=TASKS)
    with RunStore.open(tmp_path / "run", {}) as store:
        first = gate.admits(store, practice, tmp_path, None, Path("none"))
        stored = store.results()
        assert gate.admits(store, practice, tmp_path, None, Path("none")) is first is False
        assert store.results() == stored
        assert len(store.trajectories("gate/none")) == TASKS


def test_without_tasks_every_round_is_adopted(loader, tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        assert Gate().admits(store, Practice(), tmp_path, None, Path("anything"))
        assert (loader.loaded, store.results(), store.trajectory_stages()) == ([], {}, [])
