"""Lets an object of a solution agree with a value of the tests only if the object itself has named this value.

A solution may define what the operators do with its objects. `==` could always be true, and `-` could always give 0, so
that any test passes. So an object first says what it is in plain form (`own_data`), and Python compares this with the
value of the tests. The operator of the solution is only asked if they agree: it cannot agree with what the object is
not, and a wrong object does not learn what was expected.
"""

from __future__ import annotations

import collections
import copy
import decimal
import fractions
import math
import operator
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

from .containers import CONTAINERS, base_of, content_of, new_container, option_of, set_content
from .link import ConnectionLost
from .values import KINDS, SUBCLASSED, tag_of

EQUAL = {"__eq__": True, "__ne__": False}
"""Operators with what they answer for equal values."""
ORDER = {"__lt__": -1, "__le__": -1, "__gt__": 1, "__ge__": 1}
"""Operators with the sign of the values of which they are not true."""
DIFFERENCE = ("__sub__", "__rsub__", "__xor__", "__rxor__")
"""Operators whose results show how far two values are apart."""
RATIO = ("__truediv__", "__rtruediv__")
FOLLOWED = frozenset(
    f"__{name}__"
    for name in "abs neg pos float int round trunc floor ceil add radd mul rmul pow sub rsub truediv rtruediv".split()
)
"""Operators that are applied to the number behind a difference as well."""
GUARDED = frozenset({*EQUAL, *ORDER, *DIFFERENCE, *RATIO, "__contains__"})
NUMBERS = (bool, int, float, complex, fractions.Fraction, decimal.Decimal)
SETS = (set, frozenset)
SEQUENCES = (list, tuple, collections.deque, range)
OTHERS = 7
"""Number of other values that an object without items is asked for."""
REASON = "the answer's own data is not the value that it agrees with"


class Inconsistent(AssertionError):
    """Raised when a result cannot be right, because it does not follow from what the object is."""


class Unknown(Exception):
    """Raised when an object has no plain form that can be compared with a value."""


class Form:
    """What an object of a solution is in plain form. All of this is the solution's word, given before it knows more."""

    def __init__(self, base: Any, data: Any) -> None:
        """Start with the answer of `own_data.data_of`, or with a plain value that is the object's content.

        Args:
            base: A list with the content of an object whose class inherits from a plain type; an empty list for others.
            data: The answer for others.
        """
        self.base = base
        number, text, items, pairs, attributes = data if type(data) is list and len(data) == 5 else [None] * 5
        self.number = number if type(number) in NUMBERS else None
        self.text = text if type(text) is str else None
        self.items = items if type(items) is list else None
        self.pairs = pairs if type(pairs) is list else None
        self.attributes: dict[str, Any] = attributes if type(attributes) is dict else {}
        if base:
            self.number = base[0] if type(base[0]) in NUMBERS else None
        elif self.number is None:
            numbers = [each for each in self.attributes.values() if type(each) in NUMBERS]
            self.number = numbers[0] if len(numbers) == 1 else None

    def like(self, value: Any) -> Any:
        """Return the one plain value that this object is where `value` is of its kind. Raises `Unknown`."""
        kind = type(value)
        if self.base:
            return self.base[0]
        if kind in NUMBERS:
            return _given(self.number)
        if kind is str:
            return self._attribute(str, self.text)
        if kind in SETS:
            return set(self._items(value))
        if kind in SEQUENCES:
            return kind(self._items(value)) if kind is not range else self._items(value)
        if kind is dict:
            return _given(self.attributes or None) if self.pairs is None else dict(self.pairs)
        return self._attribute(kind, None)

    def holds(self, value: Any) -> bool:
        """Return whether a value is among the items. Raises `Unknown`."""
        if self.base:
            return value in self.base[0]
        return any(each is value or each == value for each in _given(self.items))

    def _attribute(self, kind: type, otherwise: Any) -> Any:
        return _given(next((each for each in self.attributes.values() if type(each) is kind), otherwise))

    def _items(self, value: Any) -> Any:
        """Return the items, or all attributes if they are as many as `value` has, or the first that is a sequence."""
        if self.items is not None:
            return self.items
        values = list(self.attributes.values())
        found = next((each for each in values if type(each) in (*SEQUENCES, *SETS)), None)
        return _given(values if values and len(values) == len(value) else found)


def _given(value: Any) -> Any:
    if value is None:
        raise Unknown
    return value


def content(value: Any) -> list[Any]:
    """Return a list with the content of an object whose class inherits from a plain type, or an empty list."""
    for kind in SUBCLASSED:
        if isinstance(value, kind):
            _, arguments, make = KINDS[tag_of(kind)]
            return [make(*arguments(value))]
    if isinstance(value, CONTAINERS):
        made = new_container(base_of(type(value)), option_of(value))
        set_content(made, content_of(value))
        return [made]
    return []


def agrees(name: str, form: Form, value: Any) -> bool:
    """Return whether an operator of `EQUAL`, `ORDER` or `__contains__` can be true according to the object's own data.

    Raises:
        Unknown: If the object has no plain form that can be compared with the value.
    """
    try:
        if name == "__contains__":
            return form.holds(value)
        if name in ORDER and isinstance(value, str):
            # Texts have many orders, such as that of versions.
            raise Unknown
        own = form.like(value)
        if name in ORDER:
            return bool(getattr(operator, name)(own, value))
        if type(value) is range:
            return bool(own == list(value))
        is_close = isinstance(own, (int, float)) and isinstance(value, (int, float)) and math.isclose(own, value)
        return is_close or bool(own == value)
    except (ConnectionLost, Unknown):
        raise
    except Exception:
        return False


def follow(name: str, number: Any, arguments: Sequence[Any]) -> Any:
    """Return what an operator of `FOLLOWED`, `DIFFERENCE` or `RATIO` gives for a number. None if it gives none."""
    try:
        found = getattr(type(number), name)(number, *arguments)
        if found is NotImplemented and len(arguments) == 1:
            reflected = name.replace("__r", "__", 1) if name.startswith("__r") else name.replace("__", "__r", 1)
            found = getattr(type(arguments[0]), reflected)(arguments[0], number)
    except Exception:
        return None
    return found if type(found) in NUMBERS else None


def check_number(name: str, expected: Any, result: Any) -> None:
    """Raise `Inconsistent` if a number cannot be the result of an operator, because it is nearer to the value compared.

    A difference may be larger than expected: numbers modulo n are such.
    """
    if type(result) not in NUMBERS:
        return
    try:
        near = abs(complex(result) - complex(expected)) <= 1e-7 * (1 + abs(complex(expected)))
        if name in RATIO:
            is_possible = near or result == math.floor(expected)
        else:
            is_possible = near or abs(result) >= abs(expected)
    except (TypeError, ValueError, OverflowError):
        is_possible = False
    if not is_possible:
        raise Inconsistent(REASON)


def extremes(value: Any, sign: int) -> list[Any]:
    """Return texts that nothing is below (sign -1), or above (sign 1)."""
    return ["" if sign < 0 else "\U0010ffff" * (20 + ord(os.urandom(1)) % 9)] if isinstance(value, str) else []


def far_from(value: Any) -> Any:
    """Return a random value of the same type that hardly any object contains beside `value`."""
    number = int.from_bytes(os.urandom(8), "big") - (1 << 63)
    text = os.urandom(4 + ord(os.urandom(1)) % 9).hex()
    by_type: Any = {str: text, tuple: (number, -number), bytes: text.encode()}
    return by_type.get(type(value), type(value)(number) if isinstance(value, (int, float)) else text)


def in_random_order(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all jobs in a random order. Return their results, in the order of the jobs. Exceptions count as results."""
    results: list[Any] = [None] * len(jobs)
    for index in sorted(range(len(jobs)), key=lambda _: os.urandom(8)):
        try:
            results[index] = jobs[index]()
        except Exception as error:
            results[index] = error
    return results


def truth(answer: Any) -> Any:
    """Return whether an answer counts as true, or `NotImplemented`. It is asked at once, before anything else."""
    return answer if answer is NotImplemented else bool(answer)


def copied(value: Any) -> Any:
    """Return a copy of a value that a solution may keep and change."""
    try:
        return copy.deepcopy(value) if isinstance(value, Collection) else value
    except Exception:
        return value
