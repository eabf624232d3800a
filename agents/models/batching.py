"""`Batcher`: processes the requests of concurrent coroutines in batches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batcher(Generic[Request, Result]):
    """Collects requests and processes them with `run_batch` once all coroutines of the event loop are waiting.

    A batch starts when a whole pass of the event loop has added no request. The same coroutines therefore always form
    the same batches. `run_batch` runs in the thread of the event loop. Event loops in different threads take turns.
    """

    def __init__(
        self,
        run_batch: Callable[[list[Request]], Sequence[Result]],
        choose: Callable[[list[Request]], Sequence[int]] = lambda requests: range(len(requests)),
    ) -> None:
        """No request is pending.

        Args:
            run_batch: Returns the results of requests.
            choose: Returns the indices of the requests to process now, at least one. The others stay pending.
        """
        self._run_batch, self._choose = run_batch, choose
        self._pending: dict[asyncio.AbstractEventLoop, list[tuple[Request, asyncio.Future[Result]]]] = {}
        self.lock = threading.Lock()
        """Held while `run_batch` runs."""
        self.busy_seconds = 0.0
        """Total wall time of `run_batch`, in seconds."""

    async def submit(self, request: Request) -> Result:
        """Return the result of a request. An exception of `run_batch` is raised for every request of the batch."""
        loop = asyncio.get_running_loop()
        for other in [other for other in list(self._pending) if other.is_closed()]:
            # No coroutine waits for the requests of a closed event loop.
            self._pending.pop(other, None)
        future: asyncio.Future[Result] = loop.create_future()
        if loop not in self._pending:
            self._pending[loop] = []
            loop.call_soon(self._run_when_idle, loop, 0)
        self._pending[loop].append((request, future))
        return await future

    def _run_when_idle(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Process the pending requests once a whole pass of the event loop has added none."""
        if len(self._pending[loop]) != seen:
            loop.call_soon(self._run_when_idle, loop, len(self._pending[loop]))
            return
        batch = [(request, future) for request, future in self._pending.pop(loop) if not future.done()]
        try:
            with self.lock:
                start = time.perf_counter()
                try:
                    batch = self._keep_back(loop, batch)
                    results = self._run_batch([request for request, _ in batch])
                finally:
                    self.busy_seconds += time.perf_counter() - start
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _keep_back(
        self, loop: asyncio.AbstractEventLoop, batch: list[tuple[Request, asyncio.Future[Result]]]
    ) -> list[tuple[Request, asyncio.Future[Result]]]:
        """Return the requests to process now. The others are pending again, together with what is added meanwhile."""
        chosen = set(self._choose([request for request, _ in batch])) if batch else set[int]()
        if len(chosen) < len(batch):
            self._pending[loop] = [item for i, item in enumerate(batch) if i not in chosen]
            loop.call_soon(self._run_when_idle, loop, -1)
        return [item for i, item in enumerate(batch) if i in chosen]
