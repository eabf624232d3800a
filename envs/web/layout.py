"""What the accessibility tree does not tell: where nodes are, what listens to clicks, which frame hangs where."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

STYLES = ["cursor"]
"""The computed styles that `Layout.of` wants from `DOMSnapshot.captureSnapshot`."""


class Box(NamedTuple):
    """A rectangle in CSS pixels from the viewport's upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.width / 2, self.y + self.height / 2

    def within(self, width: float, height: float) -> bool:
        """Whether any of it lies in a viewport of this size."""
        seen = self.x < width and self.y < height and self.x + self.width > 0 and self.y + self.height > 0
        return seen and self.width > 0 and self.height > 0


@dataclass(frozen=True)
class Layout:
    """All frames of a page at one moment; nodes are DevTools' `backendNodeId`s."""

    boxes: Mapping[int, Box]
    """Of nodes that are laid out."""
    clickable: Set[int]
    """Nodes with a click listener of their own, and those at which the pointer becomes a hand."""
    hands: Set[int]
    """Nodes over which the pointer is a hand."""
    parents: Mapping[int, int]
    tags: Mapping[int, str]
    """Upper-case names of elements, `#text` and the like of others."""
    classes: Mapping[int, str]
    """The `class` attribute of clickable nodes."""
    frames: Mapping[int, str]
    """Id of the frame that an `iframe` element holds."""
    scrolled: tuple[float, float] = (0.0, 0.0)
    """How far the page is scrolled, to the right and down, in CSS pixels."""

    def inside(self, node: int, ancestor: int) -> bool:
        """Whether `node` is `ancestor` or lies in it; also when it was not there yet."""
        if node not in self.tags:
            return True
        while node != ancestor and node in self.parents:
            node = self.parents[node]
        return node == ancestor

    @classmethod
    def of(cls, snapshot: Mapping[str, Any]) -> Layout:
        """From the answer of `DOMSnapshot.captureSnapshot` with `computedStyles=STYLES`."""
        strings, documents = snapshot["strings"], snapshot["documents"]
        scrolled = documents[0].get("scrollOffsetX", 0), documents[0].get("scrollOffsetY", 0)
        made = cls({}, set(), set(), {}, {}, {}, {}, scrolled)
        origins = {0: (0.0, 0.0)}
        # A frame's document comes after that of the page it lies in.
        for number, document in enumerate(documents):
            x, y = origins.get(number, (0.0, 0.0))
            x, y = x - document.get("scrollOffsetX", 0), y - document.get("scrollOffsetY", 0)
            made._add(document, strings, x, y)
            nodes, inner = document["nodes"]["backendNodeId"], document["nodes"]["contentDocumentIndex"]
            for index, child in zip(inner["index"], inner["value"], strict=True):
                box = made.boxes.get(nodes[index], Box(0, 0, 0, 0))
                origins[child] = box.x, box.y
                made.frames[nodes[index]] = strings[documents[child]["frameId"]]  # type: ignore[index]
        return made

    def _add(self, document: Mapping[str, Any], strings: list[str], x: float, y: float) -> None:
        table = document["nodes"]
        nodes = table["backendNodeId"]
        boxes, tags, parents, hands = self.boxes, self.tags, self.parents, self.hands
        for node, name, parent in zip(nodes, table["nodeName"], table["parentIndex"], strict=True):
            tags[node] = strings[name].upper()  # type: ignore[index]
            if parent >= 0:
                parents[node] = nodes[parent]  # type: ignore[index]
        layout = document["layout"]
        for index, bounds, styles in zip(layout["nodeIndex"], layout["bounds"], layout["styles"], strict=True):
            left, top, width, height = bounds
            boxes[nodes[index]] = Box(left + x, top + y, width, height)  # type: ignore[index]
            if styles and strings[styles[0]] == "pointer":
                hands.add(nodes[index])  # type: ignore[attr-defined]
        clickable = {nodes[index] for index in table["isClickable"]["index"]}
        clickable |= {node for node in hands if parents.get(node) not in hands and tags[node] != "#TEXT"}
        clickable = {node for node in clickable if tags[node] not in ("BODY", "HTML", "#DOCUMENT")}
        self.clickable.update(clickable)  # type: ignore[attr-defined]
        for index, node in enumerate(nodes):
            if node in clickable:
                pairs = table["attributes"][index]
                found = [strings[v] for k, v in zip(pairs[::2], pairs[1::2], strict=True) if strings[k] == "class"]
                if found and found[0].strip():
                    self.classes[node] = " ".join(found[0].split())  # type: ignore[index]
