"""A pool of warm cells, shared by threads: what is healthy is used again, what misbehaved is thrown away."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from ....errors import UsageError
from .cell import Cell, Shape


class Pool:
    """At most `size` cells at a time, made by `launch` when they are first needed."""

    def __init__(self, launch: Callable[[Shape], Cell], size: int) -> None:
        if size < 1:
            raise UsageError(f"a sandbox pool of size {size} can run nothing; give at least 1")
        self._launch = launch
        self.size = size
        self._changed = threading.Condition()
        self._idle: list[Cell] = []
        self._cells: set[Cell] = set()
        self._launching = 0
        self._closed = False
        self._process = os.getpid()

    @contextlib.contextmanager
    def cell(self, shape: Shape) -> Iterator[Cell]:
        """A ready cell for one program. Waits while all are at work; raises `UsageError` after `close`."""
        cell = self._take(shape)
        try:
            yield cell
        finally:
            self._give_back(cell)

    def warm(self, shape: Shape, count: int) -> None:
        """Have `count` idle cells of a shape (at most `size`), started at the same time."""
        failures: list[BaseException] = []

        def start() -> None:
            try:
                self._give_back(self._start(shape))
            except BaseException as error:
                failures.append(error)

        with self._changed:
            count = min(count, self.size) - len(self._cells) - self._launching
            self._launching += max(0, count)
        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def cells(self) -> list[Cell]:
        """All cells that there are now."""
        with self._changed:
            return sorted(self._cells, key=lambda cell: cell.name)

    def close(self) -> None:
        """End all cells, those at work included; can be called again. A forked child leaves its parent's alone."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._closed = True
            cells = list(self._cells)
            self._cells.clear()
            self._idle.clear()
            self._changed.notify_all()
        threads = [threading.Thread(target=cell.close) for cell in cells]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _take(self, shape: Shape) -> Cell:
        """An idle cell of this shape, or a new one in a free place or in that of an idle one of another shape."""
        if os.getpid() != self._process:
            raise UsageError("the sandbox was opened by another process, before a fork; open one in this process")
        while True:
            unfit: list[Cell] = []
            with self._changed:
                while True:
                    if self._closed:
                        raise UsageError("the sandbox is closed; open another one")
                    found = next((cell for cell in reversed(self._idle) if cell.shape == shape), None)
                    if found is not None:
                        self._idle.remove(found)
                        break
                    if len(self._cells) + self._launching >= self.size and self._idle:
                        unfit.append(self._idle.pop(0))
                        self._cells.discard(unfit[0])
                    if len(self._cells) + self._launching < self.size:
                        self._launching += 1
                        break
                    self._changed.wait()
            for cell in unfit:
                cell.close()
            if found is None:
                return self._start(shape)
            if found.ready() and found.expires > time.monotonic():
                return found
            self._discard(found)

    def _start(self, shape: Shape) -> Cell:
        """Launch a cell in a place that was kept for it."""
        cell: Cell | None = None
        try:
            cell = self._launch(shape)
        finally:
            with self._changed:
                self._launching -= 1
                if cell is not None and not self._closed:
                    self._cells.add(cell)
                self._changed.notify_all()
        if self._closed:
            cell.close()
            raise UsageError("the sandbox was closed while it started; open another one")
        return cell

    def _give_back(self, cell: Cell) -> None:
        if not cell.healthy:
            self._discard(cell)
            return
        with self._changed:
            if cell in self._cells:
                self._idle.append(cell)
            self._changed.notify_all()

    def _discard(self, cell: Cell) -> None:
        with self._changed:
            self._cells.discard(cell)
            self._changed.notify_all()
        cell.close()
