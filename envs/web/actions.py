"""The language of actions: `click [12]`, `type [5] [blue mug] [submit]`, `goto [http://...]`, `stop [42]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import unknown
from .view import Element


class Refused(Exception):
    """The action cannot be carried out; the text says why and what would do."""


@dataclass(frozen=True)
class Verb:
    """One kind of action."""

    usage: str
    least: int
    """Arguments that it needs, the element's number included."""
    most: int
    element: bool = False
    """Whether the first argument is the number of an element."""


VERBS: Mapping[str, Verb] = {
    "click": Verb("click [id]", 1, 1, True),
    "type": Verb("type [id] [text] or type [id] [text] [submit]", 2, 3, True),
    "select": Verb("select [id] [option]", 2, 99, True),
    "hover": Verb("hover [id]", 1, 1, True),
    "drag": Verb("drag [id] [id of where to]", 2, 2, True),
    "press": Verb("press [key], e.g. press [Enter] or press [Control+a]", 1, 1),
    "scroll": Verb("scroll [up], [down], [left] or [right], or scroll [id] [down]", 1, 2),
    "goto": Verb("goto [url]", 1, 1),
    "back": Verb("back", 0, 0),
    "forward": Verb("forward", 0, 0),
    "new_tab": Verb("new_tab", 0, 0),
    "switch_tab": Verb("switch_tab [number]", 1, 1),
    "close_tab": Verb("close_tab", 0, 0),
    "wait": Verb("wait", 0, 0),
    "stop": Verb("stop [answer]", 0, 1),
}
PAGE_VERBS = ("click", "type", "select", "hover", "drag", "press", "scroll", "wait", "stop")
"""Those that stay on the page, for worlds of one page."""
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
SUBMIT = {"submit": True, "1": True, "": False, "0": False}
SAMPLES = {"date field": "2026-05-14", "time field": "09:30", "colour field": "#336699", "spinbutton": "1"}
"""What stands for all that could be typed, by role; elsewhere it is `text`."""

_SPLIT = re.compile(r"\]\s*\[")


@dataclass(frozen=True)
class Action:
    """An action that was understood."""

    verb: str
    id: int | None = None
    """Number of the element that it is about."""
    args: tuple[str, ...] = ()
    """The other arguments."""


def parse(text: str, verbs: Sequence[str] = tuple(VERBS)) -> Action:
    """The action that a text says; raises `Refused` when it says none of `verbs`.

    Brackets may be left out where one argument is clear without them. The text of `type` may hold brackets itself.
    """
    found = re.match(r"\s*(\S*?)(?=[\s\[]|$)\s*(.*?)\s*$", text, re.DOTALL)
    word, rest = (found[1], found[2]) if found else ("", "")
    name = word.lower().rstrip(":")
    if name not in verbs:
        raise Refused(str(unknown("action", word[:40], verbs)))
    verb = VERBS[name]
    arguments = _arguments(rest, verb)
    if name == "type" and len(arguments) > 2:
        # What looks like several texts is one with brackets in it.
        tail = arguments[-1] if arguments[-1].strip().lower() in SUBMIT else None
        middle = arguments[1:] if tail is None else arguments[1:-1]
        arguments = [arguments[0], "] [".join(middle), *([] if tail is None else [tail.strip().lower()])]
    if not verb.least <= len(arguments) <= verb.most:
        raise Refused(f"{name} takes {_count(verb)}, not {len(arguments)}: {verb.usage}")
    if not (verb.element or (name == "scroll" and len(arguments) == 2)):
        return Action(name, None, tuple(arguments))
    return Action(name, number(arguments[0], verb), tuple(arguments[1:]))


def number(text: str, verb: Verb) -> int:
    """The number of an element; raises `Refused` for anything else."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise Refused(f"{text[:40]!r} is no number of an element, like the 12 of [12]: {verb.usage}")
    return int(text)


def _arguments(rest: str, verb: Verb) -> list[str]:
    if not rest:
        return []
    if rest.startswith("["):
        if verb is VERBS["type"] and rest.endswith("] submit"):
            return [*_arguments(rest.removesuffix(" submit"), verb), "submit"]
        if not rest.endswith("]"):
            raise Refused(f"a ']' is missing at the end: {verb.usage}")
        return _SPLIT.split(rest[1:-1]) if verb.most > 1 else [rest[1:-1]]
    if verb.most < 2:
        return [rest] if verb.most else rest.split()
    first, *tail = rest.split(maxsplit=1)
    if tail and re.fullmatch(r"\[.*\]", tail[0], re.DOTALL):
        return [first, *_arguments(tail[0], verb)]
    if tail and verb is VERBS["type"] and tail[0].endswith(" submit"):
        return [first, *tail[0].rsplit(maxsplit=1)]
    return [first, *tail]


def _count(verb: Verb) -> str:
    if verb.least == verb.most:
        return f"{verb.least} argument{'s' * (verb.least != 1)}"
    return f"{verb.least} or more arguments" if verb.most > 9 else f"{verb.least} or {verb.most} arguments"


def on_elements(elements: Mapping[int, Element], verbs: Sequence[str]) -> list[str]:
    """What can be done with the elements of a page.

    Of the texts that could be typed one stands for all of them: `type [5] [text]`.
    """
    found: list[str] = []
    for element in elements.values():
        if element.disabled:
            continue
        what = f"[{element.id}]"
        if element.options:
            found += [f"select {what} [{option}]" for option in element.options if "select" in verbs]
            continue
        found += [f"click {what}"] if "click" in verbs else []
        if element.editable and "type" in verbs:
            sample = SAMPLES.get(element.role, "text")
            found += [f"type {what} [{sample}]", f"type {what} [{sample}] [submit]"]
    return found
