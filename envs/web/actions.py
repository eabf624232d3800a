"""Parser of the action language: `click [12]`, `type [5] [blue mug] [submit]`, `goto [http://...]`, `stop [42]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import unknown
from .view import Element


class RefusedAction(Exception):
    """The action cannot be carried out. The message, which the agent reads, gives the reason and the expected form."""


@dataclass(frozen=True)
class Verb:
    """One kind of action."""

    usage: str
    """Expected form, as the agent reads it."""
    min_args: int
    """Smallest number of arguments, including the element number."""
    max_args: int
    """Largest number of arguments, including the element number."""
    takes_element: bool = False
    """Whether the first argument is an element number."""


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
"""Verbs that do not leave the page, for worlds of single pages."""
SCROLL_DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
SUBMIT_FLAGS = {"submit": True, "1": True, "": False, "0": False}
SAMPLE_TEXTS = {"date field": "2026-05-14", "time field": "09:30", "colour field": "#336699", "spinbutton": "1"}
"""Placeholder text of listed `type` actions, by element role. For other roles it is `text`."""

_ARGUMENT_SEPARATOR = re.compile(r"\]\s*\[")


@dataclass(frozen=True)
class Action:
    """A parsed action."""

    verb: str
    id: int | None = None
    """Number of the target element."""
    args: tuple[str, ...] = ()
    """The arguments after the element number."""


def parse_action(text: str, verbs: Sequence[str] = tuple(VERBS)) -> Action:
    """Parse an action.

    Brackets are optional where the arguments are clear without them. The text of `type` may contain brackets.

    Args:
        text: The action as the agent wrote it.
        verbs: The verbs that the world accepts.

    Raises:
        RefusedAction: If the text is not a valid action with one of `verbs`.
    """
    found = re.match(r"\s*(\S*?)(?=[\s\[]|$)\s*(.*?)\s*$", text, re.DOTALL)
    word, rest = (found[1], found[2]) if found else ("", "")
    name = word.lower().rstrip(":")
    if name not in verbs:
        raise RefusedAction(str(unknown("action", word[:40], verbs)))
    verb = VERBS[name]
    arguments = _arguments(rest, verb)
    if name == "type" and len(arguments) > 2:
        # Several text arguments are one text that contains brackets.
        tail = arguments[-1] if arguments[-1].strip().lower() in SUBMIT_FLAGS else None
        middle = arguments[1:] if tail is None else arguments[1:-1]
        arguments = [arguments[0], "] [".join(middle), *([] if tail is None else [tail.strip().lower()])]
    if not verb.min_args <= len(arguments) <= verb.max_args:
        raise RefusedAction(f"{name} takes {_argument_count(verb)}, not {len(arguments)}: {verb.usage}")
    if not (verb.takes_element or (name == "scroll" and len(arguments) == 2)):
        return Action(name, None, tuple(arguments))
    return Action(name, parse_element_id(arguments[0], verb), tuple(arguments[1:]))


def parse_element_id(text: str, verb: Verb) -> int:
    """Parse an element number; raise `RefusedAction` for any other text."""
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise RefusedAction(f"{text[:40]!r} is no number of an element, like the 12 of [12]: {verb.usage}")
    return int(text)


def _arguments(rest: str, verb: Verb) -> list[str]:
    if not rest:
        return []
    if rest.startswith("["):
        if verb is VERBS["type"] and rest.endswith("] submit"):
            return [*_arguments(rest.removesuffix(" submit"), verb), "submit"]
        if not rest.endswith("]"):
            raise RefusedAction(f"a ']' is missing at the end: {verb.usage}")
        return _ARGUMENT_SEPARATOR.split(rest[1:-1]) if verb.max_args > 1 else [rest[1:-1]]
    if verb.max_args < 2:
        return [rest] if verb.max_args else rest.split()
    first, *tail = rest.split(maxsplit=1)
    if tail and re.fullmatch(r"\[.*\]", tail[0], re.DOTALL):
        return [first, *_arguments(tail[0], verb)]
    if tail and verb is VERBS["type"] and tail[0].endswith(" submit"):
        return [first, *tail[0].rsplit(maxsplit=1)]
    return [first, *tail]


def _argument_count(verb: Verb) -> str:
    if verb.min_args == verb.max_args:
        return f"{verb.min_args} argument{'s' * (verb.min_args != 1)}"
    return (
        f"{verb.min_args} or more arguments" if verb.max_args > 9 else f"{verb.min_args} or {verb.max_args} arguments"
    )


def element_actions(elements: Mapping[int, Element], verbs: Sequence[str]) -> list[str]:
    """List the admissible actions on the elements of a page.

    For each text field, one placeholder text stands for all texts: `type [5] [text]`.
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
            sample = SAMPLE_TEXTS.get(element.role, "text")
            found += [f"type {what} [{sample}]", f"type {what} [{sample}] [submit]"]
    return found
