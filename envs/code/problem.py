"""A programming problem: what is asked, and the tests that say whether it was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ...errors import UsageError
from ..core import Task


@dataclass(frozen=True)
class Call:
    """A test by a call: these arguments must give this value (JSON-clean, compared by Python's `==`)."""

    arguments: tuple[Any, ...]
    expected: Any

    def text(self, entry: str) -> str:
        """As Python would write it."""
        return f"{entry}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class Problem:
    """What a task's params say; either calls or code tests it."""

    type: str
    """The kind of task, for tables."""
    prompt: str
    """What the agent is told."""
    goal: str
    """The same in one line."""
    entry: str
    """The function that is asked for."""
    solution: str
    """One that passes all tests; never shown."""
    visible: tuple[Call, ...] = ()
    """Tests by calls that the agent may see and run."""
    hidden: tuple[Call, ...] = ()
    """Tests by calls that score it."""
    visible_code: str = ""
    """Assertions that the agent may see and run."""
    hidden_code: str = ""
    """Assertions, alone or in a function `check(candidate)`, that score it."""
    setup: str = ""
    """Code that runs before assertions, out of the solution's reach."""
    given: str = ""
    """Code that runs before the solution, such as the imports and helpers that a prompt shows."""

    @classmethod
    def of(cls, task: Task) -> Self:
        """The problem of a task; raises `UsageError` when its params are none."""
        params = dict(task.params)
        try:
            for name in ("visible", "hidden"):
                params[name] = tuple(Call(tuple(arguments), expected) for arguments, expected in params.get(name, ()))
            problem = cls(**{name: params[name] for name in cls.__dataclass_fields__ if name in params})
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"task {task.id!r}: its params are no programming problem ({error}); take tasks from CodeEnv.tasks"
            ) from None
        if not problem.hidden and not problem.hidden_code:
            raise UsageError(f"task {task.id!r}: it has no hidden tests, so nothing could be scored")
        return problem

    def params(self, **more: Any) -> dict[str, Any]:
        """As JSON-clean params of a task; `more` is kept beside it."""
        usual = {each.name: each.default for each in fields(self)}
        said = {name: value for name, value in asdict(self).items() if value != usual[name]}
        for name in ("visible", "hidden"):
            if name in said:
                said[name] = [[list(call["arguments"]), call["expected"]] for call in said[name]]
        return {**more, **said}
