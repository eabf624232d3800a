"""Exposes objects of a solution that agree with every value, whatever it is.

A solution may define what the operators do with its objects. `==` could always be true, and `-` could always give 0, so
that any test passes. Such an operator is therefore asked about other values as well, in a random order. An object that
also agrees with one of these does not count as equal.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime
import decimal
import fractions
import math
import os
from collections.abc import Callable
from typing import Any

from .containers import CONTAINERS
from .values import SCALARS, plain_kind

EQUAL = {"__eq__": True, "__contains__": True, "__ne__": False}
"""Operators that must not give this answer for several values."""
ORDER = {"__lt__": -1, "__le__": -1, "__gt__": 1, "__ge__": 1}
"""Operators that must not be true of extreme values with this sign."""
SHIFT = ("__sub__", "__rsub__", "__add__", "__radd__")
"""Operators that must give different results for different values."""
NUMERIC = frozenset(f"__{name}__" for name in "abs neg float int round trunc floor ceil".split())
"""Operators that keep numbers apart that are far apart."""
NUMBERS = (int, float, fractions.Fraction, decimal.Decimal)
GUARDED = frozenset({*EQUAL, *ORDER, *SHIFT})
DECOYS = 7
"""Number of other values that `==` is asked about."""
REASON = "it agrees with other values as well"


class Inconsistent(AssertionError):
    """Raised when a result cannot be right, because it does not depend on the value."""


def is_plain(value: Any) -> bool:
    """Return whether a value consists of plain values and containers only."""
    kind = type(value)
    if kind in (tuple, frozenset, *CONTAINERS):
        items = [*value, *value.values()] if isinstance(value, dict) else value
        return all(map(is_plain, items))
    return kind in SCALARS or plain_kind(value) != ""


def truth(answer: Any) -> bool | None:
    """Return whether an answer counts as true, or None if it is no answer."""
    if answer is NotImplemented or isinstance(answer, Exception):
        return None
    try:
        return bool(answer)
    except Exception:
        return None


def decoys(value: Any, far: bool = False) -> list[Any]:
    """Return up to `DECOYS` different values of the same shape, none of which equals `value`.

    If `far`, numbers and texts have nothing in common with it.

    They also differ if upper and lower case count as the same, as an honest object may see it. Each is a change of
    another one, so that `value` is not in their middle.
    """
    if not is_plain(value):
        return [_vary(None) for _ in range(DECOYS)]
    chain, others = [value], [not value] if isinstance(value, bool) else []
    for _ in range(50):
        if len(chain) + len(others) > DECOYS:
            break
        if far and type(value) in FAR:
            others.append(FAR[type(value)]())
            continue
        at_end = _random(2)
        other = _vary(chain[-1] if at_end else chain[0])
        if not any(_folded(other) == _folded(each) for each in (*chain, *others)):
            chain.insert(len(chain) if at_end else 0, other)
    return [each for each in chain if each is not value] + others


def ask(operator: Callable[[Any], Any], name: str, value: Any) -> tuple[Any, list[tuple[float, Any]]]:
    """Ask an operator about a value and about others, in a random order.

    Returns:
        The answer for the value, and for each of the others: how far it is from the value, if both are numbers, and the
        answer. Exceptions count as answers.
    """
    number = isinstance(value, NUMBERS)
    if name in ORDER:
        extremes = (math.inf, 10.0 ** (300 + _random(8))) if number else ()
        others = [ORDER[name] * each for each in extremes]
    elif name in SHIFT:
        others = [value + _random(1000) + 1000 for _ in range(2)] if number else []
    else:
        # What an object contains may be a whole range of values.
        others = decoys(value, far=name == "__contains__")
    values = [_copy(value), *others]
    answers: list[Any] = [None] * len(values)
    for index in sorted(range(len(values)), key=lambda _: os.urandom(8)):
        try:
            answers[index] = operator(values[index])
        except Exception as error:
            answers[index] = error
    if isinstance(answers[0], Exception):
        raise answers[0]
    shifts = [abs(float(each) - float(value)) if name in SHIFT else 0.0 for each in others]
    return answers[0], list(zip(shifts, answers[1:]))  # noqa: B905


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value) if is_plain(value) else value
    except Exception:
        return value


FAR: dict[type, Callable[[], Any]] = {
    int: lambda: (_random(2) * 2 - 1) * (_random(1 << 60) + (1 << 40)),
    float: lambda: float((_random(2) * 2 - 1) * (_random(1 << 60) + (1 << 40))),
    str: lambda: os.urandom(12).hex(),
}
"""Functions that return a random value which is far from any that tests use."""


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, dict):
        return [(_folded(key), _folded(item)) for key, item in value.items()]
    return [_folded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _random(limit: int) -> int:
    return int.from_bytes(os.urandom(8), "big") % limit


def _vary(value: Any) -> Any:
    """Return another value of the same shape, drawn at random."""
    number = _random(1 << 30) + 2
    anything = [
        number,
        float(number),
        str(number),
        [number],
        (number,),
        {number: number},
        b"%d" % number,
        True,
        {number},
    ]
    if isinstance(value, bool):
        return [False, None, 0, "", []][_random(5)] if value else [True, 1, "None", -1, 2.5][_random(5)]
    if value is None:
        return anything[_random(len(anything))]
    if isinstance(value, int):
        return [value + _random(9) + 1, value - _random(9) - 1, -value, 2 * value + 1, _random(1000)][_random(5)]
    if isinstance(value, float):
        return [value + 1 + _random(9), -value, 2 * value + 1, value - 1 - _random(9), float(_random(1000))][_random(5)]
    if isinstance(value, (str, bytes)):
        letter: Any = chr(97 + _random(26)) if isinstance(value, str) else bytes([97 + _random(26)])
        at = _random(len(value) + 1)
        first: Any = value[:at]
        return [first + letter + value[at:], first + letter + value[at + 1 :], first, 2 * value][_random(4)]
    if isinstance(value, dict):
        pairs = list(value.items())
        if not pairs:
            return {number: number} if _random(2) else {str(number): number}
        return _changed_dict(value, pairs[_random(len(pairs))])
    if isinstance(value, (list, tuple)):
        items = list(value)
        at = _random(len(items) + 1)
        if at < len(items) and _random(2):
            items[at] = _vary(items[at])
        elif items and _random(2):
            items.pop(_random(len(items)))
        else:
            items.insert(at, _vary(items[at - 1] if items else 0))
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (set, frozenset)):
        return value ^ {_vary(_random(100))}
    with contextlib.suppress(Exception):
        if isinstance(value, collections.deque):
            return collections.deque(_vary(list(value)), value.maxlen)
        if isinstance(value, range):
            return range(value.start, value.stop + value.step * (_random(3) + 1), value.step)
        if isinstance(value, bytearray):
            return bytearray(_vary(bytes(value)))
        step = datetime.timedelta(_random(99) + 1) if isinstance(value, datetime.date) else type(value)(_random(99) + 1)
        return value + step
    return anything[_random(len(anything))]


def _changed_dict(value: Any, pair: tuple[Any, Any]) -> Any:
    other = copy.copy(value)
    key, item = pair
    if _random(3):
        other[key] = _vary(item)
    else:
        del other[key]
    return other
