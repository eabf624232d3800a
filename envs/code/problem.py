"""A programming problem: its statement, its tests and its reference solution."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ...errors import UsageError
from ..core import Task


@dataclass(frozen=True)
class Call:
    """A test that calls the solution: the arguments must give the expected value, compared by Python's `==`."""

    arguments: tuple[Any, ...]
    """Arguments, as JSON-serialisable values."""
    expected: Any
    """Expected return value, as a JSON-serialisable value."""

    def text(self, entry: str) -> str:
        """Return the call as Python source.

        Args:
            entry: Name of the function to call.
        """
        return f"{entry}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Problem:
    """One programming problem, as stored in `Task.params`. It is tested either by calls or by assertions."""

    type: str
    """Kind of task, for tables of results."""
    prompt: str
    """Problem statement that the agent reads."""
    goal: str
    """Problem statement in one line."""
    entry: str
    """Name of the function to write."""
    solution: str
    """Reference solution, which passes all tests. Never shown to the agent."""
    visible: tuple[Call, ...] = ()
    """Visible tests by calls."""
    hidden: tuple[Call, ...] = ()
    """Hidden tests by calls."""
    visible_code: str = ""
    """Visible tests as assertions."""
    hidden_code: str = ""
    """Hidden tests as assertions, at top level or in a function `check(candidate)`."""
    setup: str = ""
    """Code that runs before the assertions, in a process that the solution cannot access."""
    given: str = ""
    """Code that runs before the solution, such as the imports and helpers that the prompt shows."""
    cpu_seconds: int = 2
    """CPU time in seconds that the solution may use in one run of the tests."""

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the problem of a task.

        Args:
            task: A task of `CodeEnv`.

        Raises:
            UsageError: If the task's params are not a problem, or if the problem has no hidden tests.
        """
        params = dict(task.params)
        try:
            for name in ("visible", "hidden"):
                params[name] = tuple(Call(tuple(arguments), expected) for arguments, expected in params.get(name, ()))
            problem = cls(**{name: params[name] for name in cls.__dataclass_fields__ if name in params})
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the params of task {task.id!r} are not a programming problem ({error}); take tasks from CodeEnv.tasks"
            ) from None
        if not problem.hidden and not problem.hidden_code:
            raise UsageError(f"task {task.id!r} has no hidden tests, so it cannot be scored; add hidden or hidden_code")
        return problem

    def params(self, **more: Any) -> dict[str, Any]:
        """Return the problem as JSON-serialisable task params. Fields with default values are left out.

        Args:
            **more: Further params. A field of the problem replaces an entry of the same name.
        """
        defaults = {each.name: each.default for each in fields(self)}
        values = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        for name in ("visible", "hidden"):
            if name in values:
                values[name] = [[list(call["arguments"]), call["expected"]] for call in values[name]]
        return {**more, **values}
