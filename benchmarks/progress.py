"""Progress of long commands: what is happening, what for, and how long it will still take.

A command reports the stage that it works on and the completed share of it. On a terminal, this is shown as a bar. In a
file or a pipe, it is a line at most every `LINE_SECONDS`. A command that knows its steps in advance passes them: each
step then begins with a line, and the remaining time is that of the whole command.

All times are differences of a monotonic clock, so a system clock that is set while a command runs changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

Clock = Callable[[], float]
"""Returns seconds since a fixed time; never goes back."""
LINE_SECONDS = 30.0
"""Least time between two lines within a step."""
TRUSTED_SECONDS = 30.0
"""Weight of the steps' own seconds in the estimate, as if they had been observed for so long."""
STARTS_AGAIN = ("train/", "seed policy", "convert ", "report")
"""Beginnings of the names of stages that store nothing before they are finished."""


@dataclass(frozen=True)
class Step:
    """A step of a command that takes minutes."""

    stage: str
    """Beginning of the names of the stages that belong to the step."""
    about: str
    """What happens, and after a colon what for."""
    seconds: float
    """Seconds on two free cores. They decide how the estimate divides the time among steps; this machine's speed is
    observed."""


class Progress:
    """Shows progress on a console. It is an `OnStatus`: call it with a stage and the completed share of it."""

    def __init__(self, console: Console, bar: Bar, steps: Sequence[Step] = (), clock: Clock = time.monotonic) -> None:
        """Show nothing yet.

        Args:
            console: Receives lines.
            bar: Shows the bar; see `bar`.
            steps: The steps of the command, in order; empty if they are not known.
            clock: Source of all times.
        """
        self._console, self._bar, self._steps, self._clock = console, bar, tuple(steps), clock
        self._is_planned = bool(steps)
        self._bar_id = bar.add_task("", total=1.0, visible=False)
        self._stage, self._number, self._share = "", -1, 0.0
        self._begin = self._start = self._last_line = clock()
        self._worked = 0.0
        """Seconds on two free cores of all work since `_start`. Steps that were finished before do not count."""
        self._end: float | None = None
        """When the clock will show the end, by the last report."""

    def __call__(self, stage: str, share: float) -> None:
        """Receive the completed share of a stage, in [0, 1]. Stages that belong to no step are not shown."""
        number = self._number_of(stage)
        if number is None:
            return
        begins, step = number != self._number, self._steps[number]
        if not begins:
            self._worked += step.seconds * (share - self._share)
        elif self._number >= 0:
            self._worked += self._steps[self._number].seconds * (1 - self._share)
        self._stage, self._number, self._share = stage, number, share
        self._end = self._expected_end()
        name = f"step {number + 1} of {len(self._steps)}" if self._is_planned else stage
        left = f"; {self.left()}" if self.left() else ""
        if begins and self._is_planned:
            self.say(f"{name}: {step.about}{left}")
        elif not self._console.is_terminal and self._clock() - self._last_line >= LINE_SECONDS:
            self.say(f"{name}: {100 * share:.0f} %{left}")
        total = sum(step.seconds for step in self._steps)
        done = sum(step.seconds for step in self._steps[:number]) + step.seconds * share
        self._bar.update(self._bar_id, description=name, completed=done / total, visible=True)

    def say(self, line: str) -> None:
        """Print a line with the elapsed time."""
        self._last_line = self._clock()
        print_timed(self._console, self._last_line - self._begin, line)

    def left(self) -> str:
        """Return the remaining time in words, such as `about 3 min left`; empty if nothing is known."""
        if self._end is None:
            return ""
        seconds = max(0.0, self._end - self._clock())
        return (
            f"about {max(5, 5 * round(seconds / 5))} s left" if seconds < 55 else f"about {seconds / 60:.0f} min left"
        )

    def interruption(self) -> str:
        """Return in words what becomes of the step that was interrupted and of those before; empty if none began."""
        if self._number < 0:
            return ""
        what = "starts again" if self._stage.startswith(STARTS_AGAIN) else "goes on after its last stored attempts"
        if not self._is_planned:
            return f"{self._stage} {what}"
        number, about = self._number + 1, self._steps[self._number].about.partition(":")[0]
        before = {1: "", 2: "step 1 is kept, "}.get(number, f"steps 1-{number - 1} are kept, ")
        return f"{before}step {number} of {len(self._steps)} ({about}) {what}"

    def _number_of(self, stage: str) -> int | None:
        if not self._is_planned and stage != self._stage:
            # Without a plan, each stage is a command of one step, whose time begins now.
            self._steps, self._number, self._share = (Step(stage, stage, 1.0),), -1, 0.0
            self._start, self._worked = self._clock(), 0.0
            self._bar.reset(self._bar_id)
        return next((i for i, step in enumerate(self._steps) if stage.startswith(step.stage)), None)

    def _expected_end(self) -> float | None:
        now, trusted = self._clock(), TRUSTED_SECONDS if self._is_planned else 0.0
        if not self._worked + trusted:
            return None
        later = sum(step.seconds for step in self._steps[self._number + 1 :])
        left = later + self._steps[self._number].seconds * (1 - self._share)
        return now + left * (now - self._start + trusted) / (self._worked + trusted)


class _Left(ProgressColumn):
    """Column with the remaining time."""

    progress: Progress | None = None

    def render(self, task: Task) -> Text:
        return Text(self.progress.left() if self.progress else "")


@contextlib.contextmanager
def bar(console: Console, steps: Sequence[Step] = (), clock: Clock = time.monotonic) -> Iterator[Progress]:
    """Yield a `Progress` with a bar, which is removed at the end. There is no bar if the console is no terminal.

    An interruption (`KeyboardInterrupt`) gets a note that says which step it met.

    Args:
        console: Where progress is shown.
        steps: The steps of the command; see `Progress`.
        clock: Source of all times.
    """
    left = _Left()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(
        *columns, left, console=console, transient=True, get_time=clock, disable=not console.is_terminal
    ) as rich_bar:
        left.progress = progress = Progress(console, rich_bar, steps, clock)
        try:
            yield progress
        except KeyboardInterrupt as interrupt:
            if note := progress.interruption():
                interrupt.add_note(note)
            raise


def elapsed_time_printer(console: Console, clock: Clock = time.monotonic) -> Callable[[str], None]:
    """Return a function that prints lines prefixed with the time since this call."""
    start = clock()
    return lambda line: print_timed(console, clock() - start, line)


def print_timed(console: Console, seconds: float, line: str) -> None:
    """Print a line prefixed with a time."""
    minutes, rest = divmod(int(seconds), 60)
    elapsed = Text(f"{minutes:3d}:{rest:02d}", style="dim")
    if console.is_terminal:
        wrapped = Table.grid(padding=(0, 2))
        wrapped.add_row(elapsed, Text(line))
        console.print(wrapped)
    else:
        console.print(Text.assemble(elapsed, "  ", line), soft_wrap=True)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
