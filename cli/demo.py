"""`kintsugi demo`: train a seed policy, improve it with two loops, and compare the three models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ..benchmarks.reproduce.demo import TASKS, Demo


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `kintsugi demo`: the base model, self-training and Re-ReST, with one seed policy."""

    tasks: int = TASKS
    """Number of held-out tasks; all have size `small`."""
    seed: int = 0
    """Seed of everything that is drawn but the held-out tasks: the seed policy, practice tasks and samples."""
    run: Path = Path("runs/demo")
    """Folder of the run; repeat the command to resume it."""
    comparison: Demo = field(default_factory=Demo)
    """Settings of the comparison."""


def run(config: DemoConfig, console: Console) -> None:
    """Run `kintsugi demo`."""
    held_out = replace(config.comparison.held_out, tasks=config.tasks)
    replace(config.comparison, held_out=held_out, first_seed=config.seed).run(config.run, console)
