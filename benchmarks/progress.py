"""A bar for long work: which stage is under way, how much of it is done, how long it has taken and may still take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..agents.models.registry import Watch


@contextlib.contextmanager
def bar(console: Console) -> Iterator[Watch]:
    """A function of a stage's name and the share of it that is done; the bar goes when the work ends."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        shown = progress.add_task("", total=1.0, visible=False)
        now = ""

        def watch(stage: str, share: float) -> None:
            nonlocal now
            if stage != now:
                now = stage
                progress.reset(shown, description=stage, visible=True)
            progress.update(shown, completed=share)

        yield watch
