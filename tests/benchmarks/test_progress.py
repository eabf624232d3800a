"""The bar of long work: every stage is named, moves from nothing to all, and is gone at the end."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from kintsugi.cli.main.improve import ImproveSelfTraining, self_training
from kintsugi.cli.main.progress import bar
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining
from rich.console import Console


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_bar_names_the_stage_and_leaves_nothing_behind():
    console = terminal()
    with bar(console) as watch:
        watch("collect/policy", 0.25)
        watch("train/[red]x[/red]@1", 0.5)
    assert "train/[red]x[/red]@1" in written(console)
    assert "50%" in written(console)
    quiet = Console(file=io.StringIO())
    with bar(quiet) as watch:
        watch("collect/policy", 0.25)
    assert written(quiet).strip() == ""


def test_all_long_work_of_a_loop_is_watched(doors_seed, doors_world, tmp_path, monkeypatch):
    seen: list[tuple[str, float]] = []

    def watched(store: RunStore, _: object) -> None:
        store.__dict__["watch"] = lambda stage, share: seen.append((stage, share))

    monkeypatch.setattr(RunStore, "watch", property(lambda store: store.__dict__["watch"], watched), raising=False)
    practice = Practice(env="doors", tasks=10, k=1, at_once=4)
    config = ImproveSelfTraining(
        model=str(doors_seed),
        run=tmp_path / "run",
        held_out=Measure(env="doors", tasks=6),
        loop=SelfTraining(practice=practice),
    )
    self_training(config, terminal())
    stages = list(dict.fromkeys(stage for stage, _ in seen))
    assert stages == [
        "eval/base/valid_unseen",
        "collect/policy",
        "train/self_training@1",
        "eval/self-training/valid_unseen",
    ]
    for stage in stages:
        shares = [share for name, share in seen if name == stage]
        assert all(a <= b for a, b in pairwise(shares))
        assert 0 < shares[0] < 1
        assert shares[-1] == pytest.approx(1)
    assert [share for name, share in seen if name == "collect/policy"] == pytest.approx([n / 10 for n in range(1, 11)])
