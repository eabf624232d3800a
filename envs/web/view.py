"""What an agent sees of a page: lines of text, numbered elements, what can be done; and the rule that bounds it.

The rule: a page is shown whole while its text is within `most` characters. Where it is not, or where `View.whole` is
False, what lies in the viewport is shown, as whole lines, as many as fit; the last line says how many do not. Names and
values longer than 300 characters are cut, and of a drop-down list 60 options are named. A page of more than
`HUGE_ELEMENTS` elements or `HUGE_TEXT` characters is not laid out at all: its first characters are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from .ids import ElementIds
from .layout import Box, Layout
from .tree import WORDS, Item, clean, quoted

HUGE_ELEMENTS = 20_000
HUGE_TEXT = 2_000_000


@dataclass(frozen=True)
class View:
    """How much of a page is shown."""

    whole: bool = True
    """Whether what lies outside the viewport is shown too, as long as all of it fits."""
    most: int = 20_000
    """Characters of the page's text at most."""
    width: int = 1280
    height: int = 720
    """Of the viewport, in CSS pixels."""

    def shows(self, point: tuple[float, float]) -> bool:
        """Whether a point, counted from the viewport's corner, is in it."""
        return 0 <= point[0] < self.width and 0 <= point[1] < self.height


@dataclass(frozen=True)
class Element:
    """Something on the page that can be acted on."""

    id: int
    node: int
    """DevTools' `backendNodeId`."""
    role: str
    name: str
    options: tuple[str, ...]
    disabled: bool
    editable: bool
    """Whether text can be typed into it."""
    box: Box | None
    """Where it is; None when it is not laid out."""


@dataclass(frozen=True)
class PageView:
    """A page as text."""

    lines: tuple[str, ...]
    elements: Mapping[int, Element]
    focused: int | None = None
    """Number of the element that has the focus."""


@dataclass(frozen=True)
class _Line:
    depth: int
    item: Item


def view_of(items: Iterable[Item], layout: Layout, ids: ElementIds, view: View, focus: int | None = None) -> PageView:
    """What is shown of `items`; numbers are given to what is shown alone."""
    lines = list(_lines(items, 0))
    if not view.whole or _length(lines) > view.most:
        lines = list(_lines(_seen(items, layout, view), 0))
    shown, elements, used = [], {}, 0
    for position, line in enumerate(lines):
        number = ids.number(line.item.node) if line.item.control and line.item.node is not None else None
        text = _text(line, number)
        used += len(text) + 1
        if used > view.most:
            shown.append(f"… and {len(lines) - position} more lines that do not fit")
            break
        shown.append(text)
        if number is not None:
            elements[number] = _element(number, line.item, layout)
    focused = next((number for number, element in elements.items() if element.node == focus), None)
    return PageView(tuple(shown), elements, focused)


def _lines(items: Iterable[Item], depth: int) -> Iterator[_Line]:
    for item in items:
        yield _Line(depth, item)
        yield from _lines(item.children, depth + 1)


def _length(lines: Iterable[_Line]) -> int:
    return sum(len(_text(line, 100)) + 1 for line in lines)


def _text(line: _Line, number: int | None) -> str:
    item = line.item
    parts = [f"[{number}]"] if number is not None else []
    parts.append(WORDS.get(item.role, item.role))
    if item.name:
        parts.append(quoted(clean(item.name)))
    return "  " * line.depth + " ".join([*parts, *item.states])


def _element(number: int, item: Item, layout: Layout) -> Element:
    node = item.node or 0
    role = WORDS.get(item.role, item.role)
    return Element(number, node, role, item.name, item.options, item.disabled, item.editable, layout.boxes.get(node))


def _seen(items: Iterable[Item], layout: Layout, view: View) -> Iterator[Item]:
    """Those of which a part is in the viewport; containers with what is left of them."""
    for item in items:
        children = list(_seen(item.children, layout, view))
        boxes = [layout.boxes[node] for node in item.boxes if node in layout.boxes]
        if children or any(box.within(view.width, view.height) for box in boxes):
            yield replace(item, children=children)
