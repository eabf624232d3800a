"""`kintsugi report`: write a report on a run as static HTML pages."""

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
    """Settings of `kintsugi report`."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Path | None = None
    """Folder of the report, by default `report` in the folder of the run; an older report is replaced."""
    per_stage: int = PER_STAGE
    """Maximum number of attempts per stage that the report shows; scores count all attempts."""


def run(config: ReportConfig, console: Console) -> None:
    """Run `kintsugi report`."""
    with console.status(f"reading {escape(str(config.run))}"):
        index = write_report(config.run, config.out, per_stage=config.per_stage)
    console.print(f"open {index.resolve().as_uri()}", soft_wrap=True, markup=False, highlight=False)
