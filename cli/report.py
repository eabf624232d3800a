"""`kintsugi report`: write a run as static pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from ..benchmarks.report.attempts import PER_STAGE
from ..benchmarks.report.pages import write_report


@dataclass(frozen=True)
class ReportConfig:
    """Which run is reported, and where to."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    out: Path | None = None
    """The report's folder; `report` inside the run's folder when None. An older report there is replaced."""
    per_stage: int = PER_STAGE
    """Attempts of one stage that can be looked at; the scores count all of them."""


def run(config: ReportConfig, console: Console) -> None:
    """The command `kintsugi report`."""
    with console.status(f"reading {escape(str(config.run))}"):
        index = write_report(config.run, config.out, per_stage=config.per_stage)
    console.print(f"open {index.resolve().as_uri()}", soft_wrap=True, markup=False, highlight=False)
