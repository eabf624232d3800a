"""Renders a page as text for the agent: lines, numbered elements and a limit on the length.

A page is shown whole if its text has at most `View.max_characters` characters. If it is longer, or if `View.full_page`
is False, only the lines in the viewport are shown, as many as fit. The last line gives the number of omitted lines.
Names and values are cut at 300 characters, and drop-down lists after 60 options. A page with more than `HUGE_ELEMENTS`
elements or `HUGE_TEXT` characters is not laid out; only the beginning of its text is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from .ids import ElementIds
from .layout import Box, Layout
from .tree import ROLE_NAMES, Item, clean, quoted

HUGE_ELEMENTS = 20_000
HUGE_TEXT = 2_000_000


@dataclass(frozen=True)
class View:
    """Size of the viewport, and how much of a page is shown."""

    full_page: bool = True
    """Show the parts outside the viewport too, if the whole page fits."""
    max_characters: int = 20_000
    """Maximum number of characters of a page."""
    width: int = 1280
    """Width of the viewport, in CSS pixels."""
    height: int = 720
    """Height of the viewport, in CSS pixels."""

    def contains(self, point: tuple[float, float]) -> bool:
        """Return whether a point, in CSS pixels from the upper left corner, lies in the viewport."""
        return 0 <= point[0] < self.width and 0 <= point[1] < self.height


@dataclass(frozen=True)
class Element:
    """An element of the page that the agent can act on."""

    id: int
    """Number of the element."""
    node: int
    """DevTools' `backendNodeId`."""
    role: str
    name: str
    options: tuple[str, ...]
    """Enabled options of a drop-down list."""
    disabled: bool
    editable: bool
    """Whether text can be typed into it."""
    box: Box | None
    """Position at the time of the observation; None if the element is not laid out."""


@dataclass(frozen=True)
class PageView:
    """A page as text."""

    lines: tuple[str, ...]
    elements: Mapping[int, Element]
    focused: int | None = None
    """Number of the focused element."""


@dataclass(frozen=True)
class _Line:
    depth: int
    item: Item


def render_page(
    items: Iterable[Item], layout: Layout, ids: ElementIds, view: View, focus: int | None = None
) -> PageView:
    """Render items as lines and number the elements that are shown."""
    lines = list(_lines(items, 0))
    if not view.full_page or _length(lines) > view.max_characters:
        lines = list(_lines(_in_viewport(items, layout, view), 0))
    shown, elements, used = [], {}, 0
    for position, line in enumerate(lines):
        number = ids.number(line.item.node) if line.item.is_control and line.item.node is not None else None
        text = _text(line, number)
        used += len(text) + 1
        if used > view.max_characters:
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
    parts.append(ROLE_NAMES.get(item.role, item.role))
    if item.name:
        parts.append(quoted(clean(item.name)))
    return "  " * line.depth + " ".join([*parts, *item.states])


def _element(number: int, item: Item, layout: Layout) -> Element:
    node = item.node or 0
    role = ROLE_NAMES.get(item.role, item.role)
    return Element(number, node, role, item.name, item.options, item.disabled, item.editable, layout.boxes.get(node))


def _in_viewport(items: Iterable[Item], layout: Layout, view: View) -> Iterator[Item]:
    """Yield the items that are partly in the viewport; containers keep only such children."""
    for item in items:
        children = list(_in_viewport(item.children, layout, view))
        boxes = [layout.boxes[node] for node in item.boxes if node in layout.boxes]
        if children or any(box.intersects(view.width, view.height) for box in boxes):
            yield replace(item, children=children)
