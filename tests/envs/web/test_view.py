"""Tests of rendering accessibility trees as lines, without a browser."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.ids import ElementIds
from kintsugi.envs.web.layout import Box, Layout
from kintsugi.envs.web.tree import Item, TreeReader, clean, merge_texts, quoted, walk
from kintsugi.envs.web.view import View, render_page

TEXTS = st.text(max_size=30)


def layout(**fields: Any) -> Layout:
    empty: dict[str, Any] = {"boxes": {}, "clickable": set(), "hand_cursor": set(), "parents": {}, "tags": {}}
    return Layout(**{**empty, "classes": {}, "frames": {}, **fields})


def tree(*nodes: tuple[str, str, int, list[int]], **properties: dict[str, Any]) -> list[dict[str, Any]]:
    """Return nodes in DevTools' format, from (role, name, number, numbers of the children)."""
    return [
        {
            "nodeId": str(number),
            "role": {"value": role},
            "name": {"value": name},
            "backendDOMNodeId": number,
            "childIds": [str(child) for child in children],
            "properties": [{"name": k, "value": {"value": v}} for k, v in properties.get(f"n{number}", {}).items()],
        }
        for role, name, number, children in nodes
    ]


def lines(nodes: list[dict[str, Any]], page_layout: Layout | None = None, **view: Any) -> list[str]:
    page_layout = page_layout or layout()
    reader = TreeReader({"main": nodes}, page_layout)
    return list(render_page(reader.read("main"), page_layout, ElementIds(), View(**view), reader.focused).lines)


def test_a_page_shows_controls_structure_and_texts():
    nodes = tree(
        ("RootWebArea", "Shop", 1, [2, 3, 5]),
        ("heading", "Mugs", 2, []),
        ("generic", "", 3, [4]),
        ("StaticText", "Three left.", 4, []),
        ("button", "Buy", 5, [6]),
        ("StaticText", "Buy", 6, []),
        n2={"level": 2},
        n5={"focused": True, "disabled": True},
    )
    assert lines(nodes) == ["heading 'Mugs' level 2", "text 'Three left.'", "[1] button 'Buy' focused disabled"]


def test_click_listeners_are_numbered_unless_they_contain_controls():
    plain = tree(("RootWebArea", "", 1, [2]), ("generic", "Open", 2, []))
    assert lines(plain, layout(clickable={2})) == ["[1] clickable 'Open'"]
    around = tree(("RootWebArea", "", 1, [2]), ("generic", "", 2, [3]), ("link", "Home", 3, []))
    assert lines(around, layout(clickable={2})) == ["[1] link 'Home'"]


def test_a_frame_is_shown_at_its_element():
    nodes = tree(("RootWebArea", "", 1, [2]), ("Iframe", "Ad", 2, []))
    inner = tree(("RootWebArea", "", 10, [11]), ("link", "Win", 11, []))
    page_layout = layout(frames={2: "inner"})
    reader = TreeReader({"main": nodes, "inner": inner}, page_layout)
    assert render_page(reader.read("main"), page_layout, ElementIds(), View()).lines == (
        "iframe 'Ad'",
        "  [1] link 'Win'",
    )


def test_the_title_of_a_frame_is_not_used_for_the_page():
    nodes = tree(("RootWebArea", "", 1, [2]), ("Iframe", "Ad", 2, []))
    reader = TreeReader({"main": nodes, "inner": tree(("RootWebArea", "Buy", 10, []))}, layout(frames={2: "inner"}))
    reader.read("main")
    assert reader.title == ""


def test_elements_keep_their_numbers_and_new_elements_get_new_numbers():
    ids = ElementIds()
    first = [Item("button", name, node=node, is_control=True) for node, name in ((5, "a"), (7, "b"))]
    assert render_page(first, layout(), ids, View()).lines == ("[1] button 'a'", "[2] button 'b'")
    later = [Item("button", "c", node=6, is_control=True), first[1]]
    assert render_page(later, layout(), ids, View()).lines == ("[3] button 'c'", "[2] button 'b'")


def test_a_long_page_shows_only_the_viewport():
    items = [Item("button", f"number {n}", node=n, is_control=True, boxes=(n,)) for n in range(1, 101)]
    page_layout = layout(boxes={n: Box(0, 100.0 * (n - 1), 50, 50) for n in range(1, 101)})
    whole = render_page(items, page_layout, ElementIds(), View())
    assert len(whole.lines) == len(whole.elements) == 100
    seen = render_page(items, page_layout, ElementIds(), View(max_characters=500))
    assert [element.name for element in seen.elements.values()] == [f"number {n}" for n in range(1, 9)]
    few = render_page(items, page_layout, ElementIds(), View(max_characters=60))
    assert few.lines[-1] == f"… and {8 - len(few.elements)} more lines that do not fit"


@given(st.lists(TEXTS, max_size=30), st.integers(1, 400))
def test_only_the_last_line_may_exceed_the_maximum_length(names: list[str], max_characters: int):
    items = [Item("button", name, node=n, is_control=True, boxes=(n,)) for n, name in enumerate(names, 1)]
    page_layout = layout(boxes={n: Box(0, 0, 9, 9) for n in range(1, len(names) + 1)})
    seen = render_page(items, page_layout, ElementIds(), View(max_characters=max_characters))
    cut = bool(seen.lines) and seen.lines[-1].startswith("… and ")
    shown = seen.lines[:-1] if cut else seen.lines
    assert sum(len(line) + 1 for line in shown) <= max_characters
    assert len(seen.elements) == len(shown)
    assert cut == (len(shown) < len(names))


@given(TEXTS)
def test_any_text_becomes_one_printable_line(text: str):
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    assert quoted(clean(text)).isprintable()
    assert len(quoted("x" * 1000)) == 302


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=10))
def test_joining_texts_loses_no_characters(parts: list[tuple[str, bool]]):
    found = merge_texts(Item("text", text, ends_block=closed) for text, closed in parts)
    assert "".join("".join(item.name for item in walk(found)).split()) == "".join("".join(t for t, _ in parts).split())
    assert all(item.name.strip() for item in found)
