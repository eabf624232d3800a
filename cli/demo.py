"""`kintsugi demo`: train a seed policy, improve it with two loops, and compare the three models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ..benchmarks.reproduce.re_rest import ReproduceReReST
from ..loops.measuring.measure import Measure


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `kintsugi demo`: one seed of the Re-ReST comparison, without controls."""

    tasks: int = 200
    """Number of held-out tasks; all have size `small`."""
    run: Path = Path("runs/demo")
    """Folder of the run; repeat the command to resume it."""
    comparison: ReproduceReReST = field(default_factory=lambda: ReproduceReReST(seeds=1, controls=False))
    """Settings of the comparison."""


def run(config: DemoConfig, console: Console) -> None:
    """Run `kintsugi demo`."""
    held_out = Measure(params={"size": "small"}, splits=("valid_unseen",), tasks=config.tasks)
    replace(config.comparison, held_out=held_out).run(config.run, console)
