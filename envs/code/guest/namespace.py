"""The names that tests see: their own, Python's and the solution's."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any, Protocol

MODULE = "tests"
"""Name of the module that the tests are."""


class Owner(Protocol):
    """Gets and sets the global names of the solution."""

    names: set[str]

    def value(self, name: str) -> Any:
        """Return the value of a name. Raises `KeyError`."""
        ...

    def set_value(self, name: str, value: Any) -> None:
        """Set a name."""
        ...

    def delete_value(self, name: str) -> None:
        """Delete a name. Raises `KeyError`."""
        ...


class Namespace(dict):  # type: ignore[type-arg]
    """Global names of the tests. Names that neither the tests nor Python define are looked up in the solution.

    The function to write is looked up there even if Python defines its name.
    """

    def __init__(self, lookup: Callable[[str], Any], entry: str) -> None:
        super().__init__()
        self.lookup = lookup
        self.entry = entry

    def __missing__(self, name: str) -> Any:
        if name != self.entry:
            # Tests must not see the solution's definition of a built-in or standard module, such as `abs` or `math`.
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in sys.stdlib_module_names:
                return importlib.import_module(name)
        return self.lookup(name)


class SolutionModule(types.ModuleType):
    """The module `solution` in the tests, whose names are those of the solution."""

    def __init__(self, owner: Owner) -> None:
        super().__init__("solution")
        vars(self).update(__owner__=owner)

    def __getattr__(self, name: str) -> Any:
        owner = vars(self)["__owner__"]
        if name == "__all__":
            return [each for each in owner.names if not each.startswith("_")]
        try:
            return owner.value(name)
        except KeyError:
            raise AttributeError(f"module 'solution' has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            vars(self)["__owner__"].set_value(name, value)

    def __delattr__(self, name: str) -> None:
        vars(self)["__owner__"].delete_value(name)


class TestsModule(types.ModuleType):
    """The module `tests`, whose names are those of the tests."""

    def __init__(self, names: Namespace) -> None:
        super().__init__(MODULE)
        self.__names__ = names

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self.__names__

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__names__[name]
        except KeyError:
            raise AttributeError(f"module {MODULE!r} has no attribute {name!r}") from None
