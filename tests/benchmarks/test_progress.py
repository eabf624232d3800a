"""The progress bar names each stage, moves from 0 to 100 % and disappears at the end."""

from __future__ import annotations

import io
import json
from itertools import pairwise

import pytest
from door_env import COLOURS
from fakes import scripted_run
from kintsugi.benchmarks.progress import bar
from kintsugi.cli.improve import command
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure, measure
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining, self_training
from rich.console import Console

ANSWERS = [f"Thought: hm\nAction: open {colour}" for colour in COLOURS]
HELD_OUT = Measure(tasks=6)
LOOP = SelfTraining(Practice(tasks=10), Attempts(k=1, at_once=4), gate=Gate(tasks=4))
STAGES = [
    "eval/base/valid_unseen",
    "collect/policy@1/train",
    "train/self_training@1",
    "gate/base/valid_seen",
    "gate/self_training@1/valid_seen",
]
"""The stages in order, up to the gate's verdict."""


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_bar_names_the_stage_and_disappears():
    console = terminal()
    with bar(console) as on_status:
        on_status("collect/policy", 0.25)
        on_status("train/[red]x[/red]@1", 0.5)
    assert "train/[red]x[/red]@1" in written(console)
    assert "50%" in written(console)
    quiet = Console(file=io.StringIO())
    with bar(quiet) as on_status:
        on_status("collect/policy", 0.25)
    assert written(quiet) == ""


def test_all_stages_of_a_loop_report_progress(tmp_path):
    seen: list[tuple[str, float]] = []
    with RunStore.open(tmp_path / "run", {}) as store:
        store.on_status = lambda stage, share: seen.append((stage, share))
        run = scripted_run(store, "door_env:Doors", lambda messages, sampling: ANSWERS[sampling.seed % 4])
        measure(run, "base", None, HELD_OUT)
        self_training(run, LOOP)
    assert list(dict.fromkeys(stage for stage, _ in seen)) == STAGES
    for stage in STAGES:
        shares = [share for name, share in seen if name == stage]
        assert all(a <= b for a, b in pairwise(shares))
        assert 0 < shares[0] < 1
        assert shares[-1] == pytest.approx(1)
    collected = [share for name, share in seen if name == "collect/policy@1/train"]
    assert collected == pytest.approx([n / 10 for n in range(1, 11)])


def test_the_command_shows_the_stages(tmp_path):
    script, console = tmp_path / "script.json", terminal()
    script.write_text(json.dumps({"": ANSWERS}))
    improve = command("self-training")
    config = improve.config(
        env="door_env:Doors", model=f"scripted:{script}", run=tmp_path / "run", held_out=HELD_OUT, loop=LOOP
    )
    improve(config, console)
    found = [written(console).find(stage) for stage in STAGES]
    assert -1 not in found
    assert found == sorted(found)
