"""The event loop of one process is that of coroutines in the other one as well."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator
from typing import Any

LOOP = frozenset(
    {
        "call_at",
        "call_exception_handler",
        "call_later",
        "call_soon",
        "create_future",
        "create_task",
        "get_debug",
        "is_closed",
        "is_running",
        "run_in_executor",
        "time",
    }
)
"""Methods of the tests' event loop that the solution may call. Others start processes or open files."""
HIDDEN = frozenset({"get_coro", "get_stack", "print_stack"})
"""Methods of tasks that lead to the code of the tests."""


def running() -> list[Any]:
    """Return the event loop that runs in this thread and its current task, or nothing."""
    if "asyncio" not in sys.modules:
        return []
    import asyncio

    loop = asyncio._get_running_loop()
    return [loop, asyncio.current_task(loop)] if loop else []


def is_allowed(target: Any, name: str) -> bool:
    """Return whether the solution may use an attribute of an object, as far as event loops are concerned."""
    if "asyncio" not in sys.modules:
        return True
    import asyncio

    if isinstance(target, asyncio.AbstractEventLoop):
        return name in LOOP
    return not (isinstance(target, asyncio.Future) and name in HIDDEN)


@contextlib.contextmanager
def run_by(loop: Any, task: Any) -> Iterator[None]:
    """Make an event loop and a task those that run in this thread."""
    import asyncio
    import asyncio.tasks

    tasks: dict[Any, Any] = asyncio.tasks._current_tasks  # type: ignore[attr-defined]
    before, task_before = asyncio._get_running_loop(), tasks.get(loop)
    asyncio._set_running_loop(loop)
    tasks[loop] = task
    try:
        yield
    finally:
        asyncio._set_running_loop(before)
        tasks[loop] = task_before
        if task_before is None:
            del tasks[loop]


def pass_on(peer: Any, number: int) -> Generator[Any, Any, Any]:
    """Resume a generator or coroutine of the other process whenever this one is resumed."""
    method, argument = "send", None
    while True:
        try:
            item = peer.request("resume", number, method, argument, *running())
        except StopIteration as stop:
            return stop.value
        try:
            method, argument = "send", (yield item)
        except GeneratorExit:
            if number in peer.objects:
                peer.request("resume", number, "close", None)
            raise
        except BaseException as error:
            method, argument = "throw", error
