"""Element numbers. An element keeps its number for as long as its document is loaded."""

from __future__ import annotations


class ElementIds:
    """Numbers elements from 1, in the order in which they are first shown."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, node: int) -> int:
        """Return the number of a DOM node (DevTools' `backendNodeId`); assign the next one on first use."""
        return self._numbers.setdefault(node, len(self._numbers) + 1)
