"""The thread that Playwright lives on: an event loop of its own, so that callers may have one or none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """A call to the browser took longer than it may, or came after its end."""


class Worker:
    """A daemon thread that runs coroutines."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """What the coroutine returns or raises; `Overdue` when it is not done after so many seconds.

        It is cancelled then, and when the caller is interrupted.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("the browser's thread waited for itself; this is a bug in Kintsugi")
        if self._loop.is_closed():
            coroutine.close()
            raise Overdue("the browser was closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            raise Overdue(f"the browser did not answer within {seconds:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """End the thread, if it has not ended; what still runs is dropped."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
