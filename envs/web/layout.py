"""Page layout, which the accessibility tree lacks: boxes of nodes, click listeners, and the elements of frames."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

COMPUTED_STYLES = ["cursor"]
"""Computed styles that `Layout.from_snapshot` needs in `DOMSnapshot.captureSnapshot`."""


class Box(NamedTuple):
    """A rectangle in CSS pixels, relative to the upper left corner of the viewport."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the rectangle, (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    def intersects(self, width: float, height: float) -> bool:
        """Return whether any part lies in a viewport of this size."""
        overlaps = self.x < width and self.y < height and self.x + self.width > 0 and self.y + self.height > 0
        return overlaps and self.width > 0 and self.height > 0


@dataclass(frozen=True)
class Layout:
    """Layout of all frames of a page at one moment. Nodes are DevTools' `backendNodeId`s."""

    boxes: Mapping[int, Box]
    """Boxes of the nodes that are laid out."""
    clickable: Set[int]
    """Nodes with a click listener, and the outermost nodes with a hand cursor."""
    hand_cursor: Set[int]
    """Nodes over which the mouse pointer is a hand."""
    parents: Mapping[int, int]
    """Parent of each node."""
    tags: Mapping[int, str]
    """Upper-case tag names of elements; `#TEXT` and similar for other nodes."""
    classes: Mapping[int, str]
    """The `class` attribute of clickable nodes."""
    frames: Mapping[int, str]
    """Frame id of each `iframe` element."""
    scroll_offset: tuple[float, float] = (0.0, 0.0)
    """Scroll position of the page, (right, down), in CSS pixels."""

    def is_inside(self, node: int, ancestor: int) -> bool:
        """Return whether `node` is `ancestor` or a descendant. A node newer than the layout counts as a descendant."""
        if node not in self.tags:
            return True
        while node != ancestor and node in self.parents:
            node = self.parents[node]
        return node == ancestor

    @classmethod
    def from_snapshot(cls, snapshot: Mapping[str, Any]) -> Layout:
        """Read the reply of `DOMSnapshot.captureSnapshot` with `computedStyles=COMPUTED_STYLES`."""
        strings, documents = snapshot["strings"], snapshot["documents"]
        scroll_offset = documents[0].get("scrollOffsetX", 0), documents[0].get("scrollOffsetY", 0)
        layout = cls({}, set(), set(), {}, {}, {}, {}, scroll_offset)
        origins = {0: (0.0, 0.0)}
        # The document of a frame follows that of its parent, so its origin is known.
        for number, document in enumerate(documents):
            x, y = origins.get(number, (0.0, 0.0))
            x, y = x - document.get("scrollOffsetX", 0), y - document.get("scrollOffsetY", 0)
            layout._add(document, strings, x, y)
            nodes, inner = document["nodes"]["backendNodeId"], document["nodes"]["contentDocumentIndex"]
            for index, child in zip(inner["index"], inner["value"], strict=True):
                box = layout.boxes.get(nodes[index], Box(0, 0, 0, 0))
                origins[child] = box.x, box.y
                layout.frames[nodes[index]] = strings[documents[child]["frameId"]]  # type: ignore[index]
        return layout

    def _add(self, document: Mapping[str, Any], strings: list[str], x: float, y: float) -> None:
        table = document["nodes"]
        nodes = table["backendNodeId"]
        boxes, tags, parents, hand_cursor = self.boxes, self.tags, self.parents, self.hand_cursor
        for node, name, parent in zip(nodes, table["nodeName"], table["parentIndex"], strict=True):
            tags[node] = strings[name].upper()  # type: ignore[index]
            if parent >= 0:
                parents[node] = nodes[parent]  # type: ignore[index]
        layout = document["layout"]
        for index, bounds, styles in zip(layout["nodeIndex"], layout["bounds"], layout["styles"], strict=True):
            left, top, width, height = bounds
            boxes[nodes[index]] = Box(left + x, top + y, width, height)  # type: ignore[index]
            if styles and strings[styles[0]] == "pointer":
                hand_cursor.add(nodes[index])  # type: ignore[attr-defined]
        clickable = {nodes[index] for index in table["isClickable"]["index"]}
        clickable |= {node for node in hand_cursor if parents.get(node) not in hand_cursor and tags[node] != "#TEXT"}
        clickable = {node for node in clickable if tags[node] not in ("BODY", "HTML", "#DOCUMENT")}
        self.clickable.update(clickable)  # type: ignore[attr-defined]
        for index, node in enumerate(nodes):
            if node in clickable:
                pairs = table["attributes"][index]
                found = [strings[v] for k, v in zip(pairs[::2], pairs[1::2], strict=True) if strings[k] == "class"]
                if found and found[0].strip():
                    self.classes[node] = " ".join(found[0].split())  # type: ignore[index]
