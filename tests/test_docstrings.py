"""Docstrings of the public API: arguments, return values and exceptions are documented in Google style.

ruff checks the form of all docstrings (see `pyproject.toml`); these tests check what the public ones contain.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

PACKAGES = (
    "kintsugi.agents",
    "kintsugi.agents.models",
    "kintsugi.agents.search",
    "kintsugi.agents.trading_group",
    "kintsugi.envs",
    "kintsugi.envs.code",
    "kintsugi.envs.code.sandbox",
    "kintsugi.envs.household",
    "kintsugi.envs.trading",
    "kintsugi.envs.web",
    "kintsugi.envs.web.worlds",
    "kintsugi.loops",
    "kintsugi.loops.measuring",
)
"""Packages whose `__all__` is public."""
NAMES = (
    "kintsugi.agents.react:ReActAgent",
    "kintsugi.agents.rollout:collect",
    "kintsugi.envs.checks:check_agent_env",
    "kintsugi.envs.code.conformance:check_sandbox",
    "kintsugi.envs.trading.metrics:baselines",
    "kintsugi.loops.learning.core:Learner",
    "kintsugi.loops.learning.core:Objective",
)
"""Public names in other modules, which README.md and docs/ use."""
DOCUMENTED_BASES = ("kintsugi", "gymnasium.spaces")
"""Packages whose base classes document the methods that subclasses override."""


def public_objects() -> Iterator[tuple[str, Any]]:
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            yield f"{package}.{name}", getattr(module, name)
    for path in NAMES:
        module_name, _, name = path.partition(":")
        yield path, getattr(importlib.import_module(module_name), name)


PROTOCOLS = [item for _, item in public_objects() if getattr(item, "_is_protocol", False)]


def parameters(function: Any) -> list[str]:
    return [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]


def documented_elsewhere(cls: type, name: str, function: Any) -> bool:
    """Whether a base class documents the method, or a public protocol one with the same name and parameters."""
    if any(name in vars(base) for base in cls.__mro__[1:] if base.__module__.startswith(DOCUMENTED_BASES)):
        return True
    if cls in PROTOCOLS:
        return False
    methods = [vars(protocol).get(name) for protocol in PROTOCOLS]
    return any(inspect.isfunction(each) and parameters(each) == parameters(function) for each in methods)


def public_functions() -> dict[str, Any]:
    """Functions and methods of the public API by name; methods that are documented elsewhere are left out."""
    found: dict[str, Any] = {}
    for name, item in public_objects():
        if inspect.isfunction(item):
            found[name] = item
        elif inspect.isclass(item):
            # A function that is the default of a dataclass field is described by the docstring of the field.
            fields = getattr(item, "__dataclass_fields__", {})
            for key, member in vars(item).items():
                function = getattr(member, "__func__", member)
                if not inspect.isfunction(function) or key.startswith("_") or key in fields:
                    continue
                if not documented_elsewhere(item, key, function):
                    found[f"{name}.{key}"] = function
    return found


FUNCTIONS = public_functions()


def sections(doc: str) -> dict[str, str]:
    """Text of each section of a docstring in Google style; the text before the first one has the key ''."""
    parts = re.split(r"^(Args|Returns|Yields|Raises):\n", inspect.cleandoc(doc), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def undescribed(function: Any, args: str) -> list[str]:
    """Parameters of a function that its section `Args` does not describe."""
    return [each for each in parameters(function) if not re.search(rf"^    \*?\*?{each}\b.*:", args, re.MULTILINE)]


def raised(function: Any) -> set[str]:
    """Names of the exceptions that the function itself raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    usage = {"unknown", "unknown_model"}
    raised = {"UsageError" if name in usage else name for name in names}
    return raised - {"AssertionError", "NotImplementedError"}


def test_the_public_api_is_found():
    assert len(FUNCTIONS) > 100


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_results_and_exceptions_are_documented(name: str):
    function = FUNCTIONS[name]
    found = sections(function.__doc__ or "")
    if found[""].startswith("See `"):
        return
    missing = undescribed(function, found.get("Args", ""))
    assert not missing, f"arguments without a description: {missing}"
    returns = function.__annotations__.get("return", "None")
    if returns not in ("None", None):
        begins = re.match(r"Returns?\b|Yields?\b|Whether\b", found[""])
        assert begins or found.keys() & {"Returns", "Yields"}, "the result is not described"
    undocumented = {error for error in raised(function) if error not in found.get("Raises", "")}
    assert not undocumented, f"exceptions without a description: {undocumented}"


CLASSES = [
    (name, item)
    for name, item in public_objects()
    if inspect.isclass(item) and "__init__" in vars(item) and not issubclass(item, Exception)
]
"""Public classes with a constructor. Only Kintsugi itself creates exceptions."""


@pytest.mark.parametrize(("name", "item"), CLASSES, ids=[name for name, _ in CLASSES])
def test_constructor_arguments_are_documented(name: str, item: Any):
    if hasattr(item, "__dataclass_fields__") or getattr(item, "_is_protocol", False):
        return
    found = sections(item.__doc__ or "").get("Args", "") + sections(item.__init__.__doc__ or "").get("Args", "")
    missing = undescribed(item.__init__, found)
    assert not missing, f"constructor arguments without a description: {missing}"
