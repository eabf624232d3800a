"""The steps that functions consist of: their phrases, their Python code and their effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DOMAINS: Mapping[str, str] = {"numbers": "int", "lists": "ints", "strings": "str"}
"""The kind of value that functions of each domain take."""
KIND_PHRASES: Mapping[str, str] = {
    "int": "an integer",
    "ints": "a list of integers",
    "str": "a string",
    "words": "a list of words",
}
"""The phrase for each kind of value in task texts."""
VOWELS = "aeiou"


@dataclass(frozen=True)
class Step:
    """One step, which maps one kind of value to another."""

    name: str
    """Unique name."""
    input_kind: str
    """Kind of value that the step accepts."""
    output_kind: str
    """Kind of value that the step returns."""
    phrases: tuple[str, ...]
    """Phrases for the step in task texts. `{k}` stands for the constant."""
    code: str
    """Python expression of the step. `x` is the input and `{k}` stands for the constant."""
    apply: Callable[[Any, Any], Any]
    """The same step as a function of input and constant, for the generator, which runs no generated code."""
    constants: tuple[Any, ...] = (None,)
    """Possible values of the constant."""


def _steps(input_kind: str, output_kind: str, *rows: Sequence[Any]) -> list[Step]:
    return [Step(row[0], input_kind, output_kind, tuple(row[1]), row[2], row[3], *row[4:]) for row in rows]


_SMALL, _TINY = tuple(range(2, 10)), (2, 3, 4)

_LISTS = _steps(
    "ints", "ints",
    ("even", ("keep the even numbers", "drop the odd numbers"), "[v for v in x if v % 2 == 0]",
     lambda x, k: [v for v in x if v % 2 == 0]),
    ("odd", ("keep the odd numbers", "drop the even numbers"), "[v for v in x if v % 2 == 1]",
     lambda x, k: [v for v in x if v % 2 == 1]),
    ("above", ("keep what is above {k}", "keep numbers greater than {k}"), "[v for v in x if v > {k}]",
     lambda x, k: [v for v in x if v > k], _SMALL),
    ("below", ("keep what is below {k}", "keep numbers less than {k}"), "[v for v in x if v < {k}]",
     lambda x, k: [v for v in x if v < k], _SMALL),
    ("add", ("add {k} to each", "raise each by {k}"), "[v + {k} for v in x]", lambda x, k: [v + k for v in x], _SMALL),
    ("times", ("multiply each by {k}", "take each times {k}"), "[v * {k} for v in x]",
     lambda x, k: [v * k for v in x], _SMALL),
    ("square", ("square each", "take each times itself"), "[v * v for v in x]", lambda x, k: [v * v for v in x]),
    ("negate", ("negate each", "flip the sign of each"), "[-v for v in x]", lambda x, k: [-v for v in x]),
    ("absolute", ("make each positive", "take absolute values"), "[abs(v) for v in x]",
     lambda x, k: [abs(v) for v in x]),
    ("halve", ("halve each, rounding down", "divide each by 2, rounding down"), "[v // 2 for v in x]",
     lambda x, k: [v // 2 for v in x]),
    ("remainder", ("take each modulo {k}", "take remainders by {k}"), "[v % {k} for v in x]",
     lambda x, k: [v % k for v in x], _SMALL),
    ("cap", ("cap each at {k}", "replace what is above {k} by {k}"), "[min(v, {k}) for v in x]",
     lambda x, k: [min(v, k) for v in x], _SMALL),
    ("reverse", ("reverse the list", "turn the list around"), "x[::-1]", lambda x, k: x[::-1]),
    ("sort", ("sort the list", "put the smallest first"), "sorted(x)", lambda x, k: sorted(x)),
    ("down", ("sort from the largest down", "put the largest first"), "sorted(x, reverse=True)",
     lambda x, k: sorted(x, reverse=True)),
    ("unique", ("drop repeats", "keep each number once"), "list(dict.fromkeys(x))",
     lambda x, k: list(dict.fromkeys(x))),
    ("first", ("take the first {k}", "keep the first {k} only"), "x[:{k}]", lambda x, k: x[:k], _TINY),
    ("last", ("take the last {k}", "keep the last {k} only"), "x[-{k}:]", lambda x, k: x[-k:], _TINY),
    ("skip", ("skip the first {k}", "leave out the first {k}"), "x[{k}:]", lambda x, k: x[k:], _TINY),
    ("running", ("take running sums", "add up as you go"), "[sum(x[:i + 1]) for i in range(len(x))]",
     lambda x, k: [sum(x[: i + 1]) for i in range(len(x))]),
)  # fmt: skip
_LISTS_TO_NUMBERS = _steps(
    "ints", "int",
    ("sum", ("give the sum", "add them all up"), "sum(x)", lambda x, k: sum(x)),
    ("length", ("give the length", "count them"), "len(x)", lambda x, k: len(x)),
    ("largest", ("give the largest, or 0", "find the maximum, or 0"), "max(x, default=0)",
     lambda x, k: max(x, default=0)),
    ("smallest", ("give the smallest, or 0", "find the minimum, or 0"), "min(x, default=0)",
     lambda x, k: min(x, default=0)),
    ("occurrences", ("count how often {k} is there", "count the number {k}"), "x.count({k})",
     lambda x, k: x.count(k), _SMALL),
)  # fmt: skip
_NUMBERS = _steps(
    "int", "int",
    ("plus", ("add {k}", "raise it by {k}"), "x + {k}", lambda x, k: x + k, _SMALL),
    ("minus", ("subtract {k}", "lower it by {k}"), "x - {k}", lambda x, k: x - k, _SMALL),
    ("by", ("multiply by {k}", "take it times {k}"), "x * {k}", lambda x, k: x * k, _SMALL),
    ("squared", ("square it", "take it times itself"), "x * x", lambda x, k: x * x),
    ("negated", ("negate it", "flip its sign"), "-x", lambda x, k: -x),
    ("positive", ("make it positive", "take its absolute value"), "abs(x)", lambda x, k: abs(x)),
    ("halved", ("halve it, rounding down", "divide by 2, rounding down"), "x // 2", lambda x, k: x // 2),
    ("modulo", ("take it modulo {k}", "take the remainder by {k}"), "x % {k}", lambda x, k: x % k, _SMALL),
    ("digits", ("sum its digits", "add up its digits"), "sum(int(c) for c in str(abs(x)))",
     lambda x, k: sum(int(c) for c in str(abs(x)))),
    ("least", ("make it at least {k}", "replace it by {k} if it is less"), "max(x, {k})",
     lambda x, k: max(x, k), _SMALL),
)  # fmt: skip
_NUMBERS_TO_OTHERS = [
    *_steps("int", "ints", ("upto", ("list the numbers from 1 to it", "count up to it in a list"),
                            "list(range(1, x + 1))", lambda x, k: list(range(1, x + 1))),
            ("spell", ("list its digits", "split it into digits"), "[int(c) for c in str(abs(x))]",
             lambda x, k: [int(c) for c in str(abs(x))])),
    *_steps("int", "str", ("text", ("write it as text", "turn it into a string"), "str(x)", lambda x, k: str(x))),
]  # fmt: skip
_STRINGS = _steps(
    "str", "str",
    ("upper", ("make it upper case", "capitalise all letters"), "x.upper()", lambda x, k: x.upper()),
    ("lower", ("make it lower case", "make all letters small"), "x.lower()", lambda x, k: x.lower()),
    ("swap", ("swap the case", "exchange upper and lower case"), "x.swapcase()", lambda x, k: x.swapcase()),
    ("backwards", ("reverse it", "write it backwards"), "x[::-1]", lambda x, k: x[::-1]),
    ("consonants", ("remove the vowels", "drop all vowels"), "''.join(c for c in x if c.lower() not in 'aeiou')",
     lambda x, k: "".join(c for c in x if c.lower() not in VOWELS)),
    ("dense", ("remove the spaces", "drop all spaces"), "x.replace(' ', '')", lambda x, k: x.replace(" ", "")),
    ("head", ("take the first {k} letters", "keep {k} letters from the start"), "x[:{k}]", lambda x, k: x[:k], _SMALL),
    ("tail", ("take the last {k} letters", "keep {k} letters from the end"), "x[-{k}:]", lambda x, k: x[-k:], _SMALL),
    ("repeat", ("repeat it {k} times", "write it {k} times over"), "x * {k}", lambda x, k: x * k, _TINY),
    ("alphabet", ("sort the letters", "put the letters in order"), "''.join(sorted(x))",
     lambda x, k: "".join(sorted(x))),
    ("distinct", ("keep each letter once", "drop repeated letters"), "''.join(dict.fromkeys(x))",
     lambda x, k: "".join(dict.fromkeys(x))),
    ("mark", ("add an exclamation mark", "put ! at the end"), "x + '!'", lambda x, k: x + "!"),
)  # fmt: skip
_STRINGS_TO_OTHERS = [
    *_steps("str", "words", ("split", ("split it into words", "list its words"), "x.split()", lambda x, k: x.split())),
    *_steps(
        "str", "int",
        ("size", ("give its length", "count the letters"), "len(x)", lambda x, k: len(x)),
        ("vowels", ("count the vowels", "give the number of vowels"), "sum(c in 'aeiou' for c in x.lower())",
         lambda x, k: sum(c in VOWELS for c in x.lower())),
        ("spaces", ("count the spaces", "give the number of spaces"), "x.count(' ')", lambda x, k: x.count(" ")),
    ),
]  # fmt: skip
_WORDS = [
    *_steps(
        "words", "words",
        ("order", ("sort the words", "put the words in order"), "sorted(x)", lambda x, k: sorted(x)),
        ("around", ("reverse the order of the words", "turn the words around"), "x[::-1]", lambda x, k: x[::-1]),
        ("mirror", ("reverse each word", "write each word backwards"), "[w[::-1] for w in x]",
         lambda x, k: [w[::-1] for w in x]),
        ("long", ("keep words longer than {k}", "drop words of at most {k} letters"), "[w for w in x if len(w) > {k}]",
         lambda x, k: [w for w in x if len(w) > k], _TINY),
        ("titles", ("capitalise each word", "start each word with a capital"), "[w.capitalize() for w in x]",
         lambda x, k: [w.capitalize() for w in x]),
        ("once", ("drop repeated words", "keep each word once"), "list(dict.fromkeys(x))",
         lambda x, k: list(dict.fromkeys(x))),
        ("few", ("take the first {k} words", "keep {k} words from the start"), "x[:{k}]", lambda x, k: x[:k], _TINY),
    ),
    *_steps(
        "words", "str",
        ("join", ("join them with spaces", "put spaces between and join"), "' '.join(x)", lambda x, k: " ".join(x)),
        ("dash", ("join them with dashes", "put dashes between and join"), "'-'.join(x)", lambda x, k: "-".join(x)),
        ("initials", ("join their first letters", "take the initials"), "''.join(w[0] for w in x)",
         lambda x, k: "".join(w[0] for w in x)),
    ),
    *_steps("words", "ints", ("lengths", ("take the length of each", "replace each by its length"),
                              "[len(w) for w in x]", lambda x, k: [len(w) for w in x])),
    *_steps("words", "int", ("count", ("count the words", "give the number of words"), "len(x)", lambda x, k: len(x))),
]  # fmt: skip
STEPS: Mapping[str, Step] = {
    step.name: step
    for step in (
        *_LISTS, *_LISTS_TO_NUMBERS, *_NUMBERS, *_NUMBERS_TO_OTHERS, *_STRINGS, *_STRINGS_TO_OTHERS, *_WORDS,
    )
}  # fmt: skip
"""All steps by name."""
