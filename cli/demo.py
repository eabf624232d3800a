"""`kintsugi demo`: from nothing to an agent that measurably improved itself, on two cores in minutes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ..benchmarks.reproduce.re_rest import ReproduceReReST
from ..loops.measuring.measure import Measure


@dataclass(frozen=True)
class DemoConfig:
    """The demo: one seed of the Re-ReST comparison, without the controls."""

    tasks: int = 200
    """Held-out tasks, of size small."""
    run: Path = Path("runs/demo")
    """The run's folder; the same command again continues it."""
    what: ReproduceReReST = field(default_factory=lambda: ReproduceReReST(seeds=1, controls=False))


def run(config: DemoConfig, console: Console) -> None:
    """The command `kintsugi demo`."""
    held_out = Measure(params={"size": "small"}, splits=("valid_unseen",), tasks=config.tasks)
    replace(config.what, held_out=held_out).run(config.run, console)
