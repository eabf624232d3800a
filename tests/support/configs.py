"""Dataclasses and functions with arguments of all supported types, for tests of `arguments`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["soft", "hard"] = "soft"
    name: str = "inner"


@dataclass(frozen=True)
class Needy:
    """A dataclass with two required fields."""

    size: int
    colour: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Middle:
    inner: Inner = Inner()
    needy: Needy = Needy(3, "red")
    perhaps: Inner | None = None


@dataclass(frozen=True)
class Outer:
    count: int = 1
    share: float = 1.0
    loud: bool = False
    level: Literal[1, 2, "top"] = 1
    folder: Path = Path("here")
    alpha: tuple[float, ...] = (0.5,)
    pair: tuple[int, str] = (0, "")
    words: list[str] = field(default_factory=list)
    many: Sequence[int] = ()
    limit: int | None = None
    either: int | str = 0
    stops: tuple[str, ...] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    noted: Annotated[int, "a note"] = 0
    middle: Middle = field(default_factory=lambda: Middle(inner=Inner(rate=0.75)))
    make: Callable[[str], Any] | None = None


class Parent:
    def __init__(self, steps: int = 50, mode: str | None = None) -> None:
        self.steps, self.mode = steps, mode


class Child(Parent):
    """Passes unknown arguments to its parent."""

    def __init__(self, pace: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.pace = pace


class Grandchild(Child):
    """Inherits the arguments of its parent."""


def doubled(text: str) -> str:
    return 2 * text


def unlucky(text: str) -> str:
    raise UnicodeError(f"{text} cannot be read")


def anything(first: int, *, second: str = "b", **others: Any) -> dict[str, Any]:
    return {"first": first, "second": second, **others}


INNER = Inner(rate=9.0)


class Vague:
    def __init__(self, model: Any, config: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.config = config
