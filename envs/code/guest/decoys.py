"""Other values of the same kind: what an answer must not equal as well."""

from __future__ import annotations

import array
import ast
import collections
import contextlib
import copy
import datetime
import enum
import os
import types
from collections.abc import Callable, Iterable
from typing import Any

from .values import KINDS, plain_kind

DECOYS = 7
"""Number of other values."""
COMMON: dict[type, tuple[Any, ...]] = {
    str: ("YES", "NO", "Yes", "No", "yes", "no", "True", "False", "true", "false", "", "0", "1", "-1", "None"),
    int: (0, 1, -1, 2, 3),
    float: (0.0, 1.0, -1.0, 0.5, 2.0),
}
"""Values that many tasks have as answers, by type."""
FAR: dict[type, Callable[[], Any]] = {
    int: lambda: (random_below(2) * 2 - 1) * (random_below(1 << 60) + (1 << 40)),
    float: lambda: float((random_below(2) * 2 - 1) * (random_below(1 << 60) + (1 << 40))),
    str: lambda: os.urandom(12).hex(),
}
"""Functions that return a random value which is far from any that tests use."""


def constants_of(code: str) -> list[Any]:
    """Return the constants in the source of tests."""
    return [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]


def random_below(limit: int) -> int:
    """Return a random integer in [0, `limit`) that a solution cannot foresee."""
    return int.from_bytes(os.urandom(8), "big") % limit


def decoys(value: Any, constants: Iterable[Any] = (), far: bool = False) -> list[Any]:
    """Return up to `DECOYS` different values of the same kind, none of which equals `value`.

    They also differ if upper and lower case count as the same, as an honest object may see it. Numbers with a fraction
    differ by 1 at least. Some are constants of the tests or frequent answers. The others are changes of each other, so
    that `value` is not in their middle.

    Args:
        value: The value.
        constants: Constants of the tests.
        far: Whether numbers and texts must have nothing in common with `value`.
    """
    if far and type(value) in FAR:
        return [FAR[type(value)]() for _ in range(DECOYS)]
    chain, others = [value], list[Any]()

    def is_new(other: Any) -> bool:
        if isinstance(value, float) and isinstance(other, float) and abs(value - other) < 1:
            return False
        return not any(_folded(other) == _folded(each) for each in (*chain, *others))

    for likely, most in ((list(constants), 3), (list(COMMON.get(type(value), ())), 2)):
        found = [each for each in likely if type(each) is type(value) and is_new(each)]
        while found and most:
            each = found.pop(random_below(len(found)))
            if is_new(each):
                others.append(each)
                most -= 1
    if isinstance(value, bool):
        others = [not value]
    for turn in range(50):
        if len(chain) + len(others) > DECOYS:
            break
        at_end = random_below(2)
        # While there is no other value, one of the same size is looked for: an answer may equal all of one size.
        vary = _vary if len(chain) > 1 or turn > 20 else _vary_item
        other = vary(chain[-1] if at_end else chain[0])
        if is_new(other):
            chain.insert(len(chain) if at_end else 0, other)
    return [each for each in chain if each is not value] + others


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, dict):
        return [(_folded(key), _folded(item)) for key, item in value.items()]
    return [_folded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _vary(value: Any) -> Any:
    """Return another value of the same kind, drawn at random."""
    if isinstance(value, bool):
        return [False, None, 0, "", []][random_below(5)] if value else [True, 1, "None", -1, 2.5][random_below(5)]
    for kind, change in _CHANGES:
        if isinstance(value, kind):
            with contextlib.suppress(Exception):
                return change(value)
    for change in (_vary_argument, _vary_attribute):
        with contextlib.suppress(Exception):
            return change(value)
    number = random_below(1 << 30) + 2
    anything = [number, float(number), str(number), [number], (number,), {number: number}, b"%d" % number, True]
    return anything[random_below(len(anything))]


def _vary_item(value: Any) -> Any:
    """Return another value of the same kind and, where it has items, of the same size."""
    if not isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)) or not value:
        return _vary(value)
    if isinstance(value, dict):
        other, key = copy.copy(value), list(value)[random_below(len(value))]
        other[key] = _vary(value[key])
        return other
    items: Any = value if isinstance(value, (str, bytes)) else list(value)
    at = random_below(len(items))
    if isinstance(value, (str, bytes)):
        letter: Any = chr(97 + random_below(26)) if isinstance(value, str) else bytes([97 + random_below(26)])
        return items[:at] + letter + items[at + 1 :]
    items[at] = _vary(items[at])
    return _with_items(value, items)


def _vary_int(value: int) -> int:
    near = [value + random_below(9) + 1, value - random_below(9) - 1]
    return [*near, -value, 2 * value + 1, random_below(1000)][random_below(5)]


def _vary_float(value: float) -> float:
    near = [value + 1 + random_below(9), value - 1 - random_below(9)]
    return [*near, -value, 2 * value + 1, float(random_below(1000))][random_below(5)]


def _vary_text(value: Any) -> Any:
    letter: Any = chr(97 + random_below(26)) if isinstance(value, str) else bytes([97 + random_below(26)])
    at = random_below(len(value) + 1)
    first: Any = value[:at]
    return [first + letter + value[at:], first + letter + value[at + 1 :], first, 2 * value][random_below(4)]


def _vary_dict(value: Any) -> Any:
    other = copy.copy(value)
    if not value:
        number = random_below(1 << 30) + 2
        other[number if random_below(2) else str(number)] = number
        return other
    key, item = list(value.items())[random_below(len(value))]
    if random_below(3):
        other[key] = _vary(item)
    else:
        del other[key]
    return other


def _vary_sequence(value: Any) -> Any:
    items = list(value)
    at = random_below(len(items) + 1)
    is_fixed = hasattr(type(value), "_fields")
    if items and (is_fixed or (at < len(items) and random_below(2))):
        at %= len(items)
        items[at] = _vary(items[at])
    elif items and random_below(2):
        items.pop(random_below(len(items)))
    else:
        items.insert(at, _vary(items[at - 1] if items else 0))
    return _with_items(value, items)


def _with_items(value: Any, items: list[Any]) -> Any:
    return tuple.__new__(type(value), items) if isinstance(value, tuple) else type(value)(items)


def _vary_namespace(value: Any) -> Any:
    return types.SimpleNamespace(**_vary_dict(vars(value)))


def _vary_member(value: Any) -> Any:
    members = [each for each in type(value) if each is not value]
    return members[random_below(len(members))]


def _vary_argument(value: Any) -> Any:
    """Change one of the arguments that make a plain value."""
    tag = plain_kind(value)
    arguments = KINDS[tag][1](value)
    for _ in range(20):
        changed = list(arguments)
        at = random_below(len(changed))
        changed[at] = _vary(changed[at])
        with contextlib.suppress(Exception):
            other = KINDS[tag][2](*changed)
            if type(other) is type(value):
                return other
    raise ValueError("no change makes another value")


def _vary_attribute(value: Any) -> Any:
    """Change one of the attributes of an object. One without attributes gets another identity."""
    other = copy.copy(value)
    names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
    if names:
        name = names[random_below(len(names))]
        object.__setattr__(other, name, _vary(getattr(value, name)))
    return other


def _vary_type(value: type) -> type:
    others = [kind for kind in (int, float, str, list, dict, set, tuple) if kind is not value]
    return others[random_below(len(others))]


_CHANGES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, _vary_member),
    (type, _vary_type),
    (int, _vary_int),
    (float, _vary_float),
    ((str, bytes), _vary_text),
    (dict, _vary_dict),
    ((list, tuple), _vary_sequence),
    ((set, frozenset), lambda value: value ^ {_vary(random_below(100))}),
    (types.SimpleNamespace, _vary_namespace),
    (collections.deque, lambda value: collections.deque(_vary(list(value)), value.maxlen)),
    (array.array, lambda value: array.array(value.typecode, _vary(list(value)))),
    (bytearray, lambda value: bytearray(_vary(bytes(value)))),
    (range, lambda value: range(value.start, value.stop + value.step * (random_below(3) + 1), value.step)),
    (datetime.date, lambda value: value + datetime.timedelta(random_below(99) + 1)),
)
