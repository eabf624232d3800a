"""The numbers that elements are called by: an element keeps its number for as long as its document lives."""

from __future__ import annotations


class ElementIds:
    """Gives numbers from 1 in the order in which elements are first shown."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, node: int) -> int:
        """The number of a DOM node (DevTools' `backendNodeId`), the same each time."""
        return self._numbers.setdefault(node, len(self._numbers) + 1)
