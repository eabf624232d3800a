"""A progress bar that shows the current stage, its completed share, and the elapsed and remaining time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..agents.models.registry import OnStatus, no_status


@contextlib.contextmanager
def bar(console: Console) -> Iterator[OnStatus]:
    """Yield a callback `(stage, completed share in [0, 1])` that updates a progress bar; remove the bar at the end.

    Nothing is printed to a file or a pipe.
    """
    if not console.is_interactive:
        # The bar would still print an empty line at its end.
        yield no_status
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar_id = progress.add_task("", total=1.0, visible=False)
        current = ""

        def on_status(stage: str, share: float) -> None:
            nonlocal current
            if stage != current:
                current = stage
                progress.reset(bar_id, description=stage, visible=True)
            progress.update(bar_id, completed=share)

        yield on_status
