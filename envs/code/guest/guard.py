"""Exposes objects of a solution that agree with every value, whatever it is.

A solution may define what the operators do with its objects. `==` could always be true, and `-` could always give 0, so
that any test passes. Such an operator is therefore asked about other values as well, in a random order. An object that
also agrees with one of these does not count as equal.
"""

from __future__ import annotations

import copy
import decimal
import fractions
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .decoys import DECOYS, FAR, decoys, random_below

EQUAL = {"__eq__": True, "__contains__": True, "__ne__": False}
"""Operators that must not give this answer for several values."""
ORDER = {"__lt__": -1, "__le__": -1, "__gt__": 1, "__ge__": 1}
"""Operators that must not be true of extreme values with this sign."""
SHIFT = {"__sub__": -1, "__rsub__": 1}
"""Operators that must give different results for different numbers: the sign with which the number counts."""
RATIO = ("__truediv__",)
"""Operators whose result must be in proportion to the number."""
DIFFERENT = ("__xor__", "__rxor__")
"""Operators that must give different results for different sets."""
GUARDED = frozenset({*EQUAL, *ORDER, *SHIFT, *RATIO, *DIFFERENT})
NUMBERS = (int, float, fractions.Fraction, decimal.Decimal)
REASON = "it agrees with other values as well"


class Inconsistent(AssertionError):
    """Raised when a result cannot be right, because it does not depend on the value."""


class Sibling(NamedTuple):
    """What a result would be for another number."""

    result: Any
    delta: float
    """How much it must differ from the result, as a number."""


def in_random_order(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all jobs in a random order. Return their results, in the order of the jobs. Exceptions count as results."""
    results: list[Any] = [None] * len(jobs)
    for index in sorted(range(len(jobs)), key=lambda _: os.urandom(8)):
        try:
            results[index] = jobs[index]()
        except Exception as error:
            results[index] = error
    return results


def first_of(results: list[Any]) -> Any:
    """Return the first result. Raises it if it is an exception."""
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def truth(answer: Any) -> Any:
    """Return whether an answer counts as true, or `NotImplemented`.

    It is asked at once. An object that decides later could know which answer matters.
    """
    return answer if answer is NotImplemented else bool(answer)


def others_for(name: str, value: Any, constants: Sequence[Any]) -> list[Any]:
    """Return the other values that an operator is asked about."""
    if name in EQUAL:
        # What an object contains may be a whole range of values.
        return decoys(value, constants, far=name == "__contains__")
    if name in ORDER:
        return _extremes(value, ORDER[name])
    if name in SHIFT and isinstance(value, NUMBERS):
        size = 1000 * (1 + abs(int(value))) if math.isfinite(value) else 1000
        return [value + (random_below(2) * 2 - 1) * (size + random_below(size)) for _ in range(DECOYS)]
    if name in RATIO and isinstance(value, NUMBERS) and value:
        return [value * (2 + random_below(50)) for _ in range(2)]
    if name in DIFFERENT and isinstance(value, (set, frozenset)):
        return [value | {FAR[str]()} for _ in range(2)]
    return []


def _extremes(value: Any, sign: int) -> list[Any]:
    """Return values that nothing is below (sign -1), or above (sign 1)."""
    if isinstance(value, NUMBERS):
        return [sign * math.inf, sign * 10.0 ** (300 + random_below(8))]
    if isinstance(value, str):
        return ["" if sign < 0 else "\U0010ffff" * (20 + random_below(9))]
    if isinstance(value, (set, frozenset)):
        return [{FAR[str]()} if sign < 0 else value | {FAR[str]()}]
    return [type(value)()] if sign < 0 and type(value) in (list, tuple) and value else []


def copied(value: Any) -> Any:
    """Return a copy of a value that a solution may keep, to tell it from the other values."""
    try:
        return copy.deepcopy(value) if isinstance(value, (list, dict, set, tuple)) else value
    except Exception:
        return value


def check_results(name: str, value: Any, others: Sequence[Any], results: Sequence[Any]) -> None:
    """Raise `Inconsistent` if numbers, or sets, cannot be the results for these values."""
    first = results[0]
    for other, result in zip(others, results[1:]):  # noqa: B905
        if name in DIFFERENT:
            if isinstance(first, (set, frozenset)) and first == result:
                raise Inconsistent(REASON)
        elif isinstance(first, NUMBERS) and isinstance(result, NUMBERS):
            if name in RATIO:
                parts = float(first) * float(value), float(result) * float(other)
                if not math.isclose(*parts, rel_tol=1e-6, abs_tol=1e-9):
                    raise Inconsistent(REASON)
            else:
                check_distance(first, Sibling(result, float(other) - float(value)))


def check_distance(result: Any, sibling: Sibling) -> None:
    """Raise `Inconsistent` if two numbers are much closer to each other than they must be."""
    are_numbers = isinstance(result, NUMBERS) and isinstance(sibling.result, NUMBERS)
    if are_numbers and abs(float(result) - float(sibling.result)) < abs(sibling.delta) / 2:
        raise Inconsistent(REASON)


def delta_after(name: str, arguments: Sequence[Any], delta: float) -> float | None:
    """Return how much two results of an operator differ if its operands differ by `delta`, near 0. None: not known."""
    if name == "__abs__":
        return abs(delta)
    if name == "__neg__":
        return -delta
    if name in _SAME and not arguments:
        return delta
    if len(arguments) == 1 and isinstance(arguments[0], NUMBERS) and arguments[0]:
        number = float(arguments[0])
        by_name = {"__mul__": delta * number, "__rmul__": delta * number, "__truediv__": delta / number}
        if name == "__pow__" and number > 0:
            return float(abs(delta) ** min(number, 8))
        return by_name.get(name)
    return None


_SAME = frozenset(f"__{name}__" for name in "float int round trunc floor ceil pos".split())
