"""`Batcher`: coroutines that wait at the same moment are answered together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Batcher(Generic[Asked, Answered]):
    """Calls `work` with everything that is asked while a pass of the event loop goes by without a new question.

    It works in the event loop's own thread, once every coroutine waits for it; a batch is therefore the same whenever
    the coroutines are. Several loops, each in its own thread, take turns.
    """

    def __init__(self, work: Callable[[list[Asked]], Sequence[Answered]]) -> None:
        self._work = work
        self._pending: dict[asyncio.AbstractEventLoop, list[tuple[Asked, asyncio.Future[Answered]]]] = {}
        self.working = threading.Lock()
        """Held while `work` runs."""
        self.busy_seconds = 0.0
        """Wall time that `work` has run."""

    async def ask(self, question: Asked) -> Answered:
        """The answer; what `work` raises is raised to everyone whose question was in the batch."""
        loop = asyncio.get_running_loop()
        for other in [other for other in list(self._pending) if other.is_closed()]:
            # What an interrupted loop left behind has nobody who waits for it.
            self._pending.pop(other, None)
        future: asyncio.Future[Answered] = loop.create_future()
        if loop not in self._pending:
            self._pending[loop] = []
            loop.call_soon(self._settle, loop, 0)
        self._pending[loop].append((question, future))
        return await future

    def _settle(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Wait until a whole pass of the event loop has added nothing; then every coroutine waits for us."""
        if len(self._pending[loop]) != seen:
            loop.call_soon(self._settle, loop, len(self._pending[loop]))
            return
        batch = [(question, future) for question, future in self._pending.pop(loop) if not future.done()]
        try:
            with self.working:
                start = time.perf_counter()
                try:
                    answers = self._work([question for question, _ in batch])
                finally:
                    self.busy_seconds += time.perf_counter() - start
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)
