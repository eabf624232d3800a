"""Runs Playwright on a thread with its own event loop, so that callers need no event loop and may have one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class CallTimeout(Exception):
    """A browser call exceeded its time limit, or the browser was already closed."""


class BrowserThread:
    """A daemon thread that runs coroutines."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine on the thread and return its result.

        The coroutine is cancelled after a timeout, and if the caller is interrupted.

        Args:
            coroutine: What to run.
            seconds: Time limit in seconds.

        Raises:
            CallTimeout: If the limit is exceeded or the thread has stopped. Errors of the coroutine pass through.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("the browser thread called itself; this is a bug in Kintsugi")
        if self._loop.is_closed():
            coroutine.close()
            raise CallTimeout("the browser was closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            raise CallTimeout(f"the browser did not answer within {seconds:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """Stop the thread and drop its running coroutines. Can be called repeatedly."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
