"""Reduces Chromium's accessibility tree to the items that an agent reads. Needs no browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from .layout import Layout

Node = Mapping[str, Any]
MAX_DEPTH = 300
"""Maximum depth of nesting that is read; ordinary pages have about 30 levels."""

CONTROL_ROLES = {
    "button", "checkbox", "combobox", "link", "listbox", "menuitem", "menuitemcheckbox", "menuitemradio", "option",
    "radio", "scrollbar", "searchbox", "slider", "spinbutton", "switch", "tab", "textbox", "treeitem",
    "Canvas", "ColorWell", "Date", "DateTime", "DisclosureTriangle", "InputTime", "PopUpButton", "ToggleButton",
}  # fmt: skip
"""Roles of elements that a user can act on."""
STRUCTURE_ROLES = {
    "alert", "alertdialog", "article", "banner", "blockquote", "caption", "cell", "columnheader", "complementary",
    "contentinfo", "dialog", "figure", "grid", "gridcell", "heading", "image", "img", "list", "listitem", "log",
    "main", "menu", "menubar", "meter", "navigation", "progressbar", "radiogroup", "row", "rowheader",
    "search", "status", "table", "tablist", "tabpanel", "toolbar", "tooltip", "tree", "Iframe",
}  # fmt: skip
"""Roles that structure a page. Elements of other roles are replaced by their content."""
VALUE_ROLES = {"textbox", "searchbox", "spinbutton", "combobox", "Date", "DateTime", "InputTime", "ColorWell", "slider"}
"""Roles whose value is shown. Their text content is not, because it repeats the value."""
PICKER_ROLES = {"Date", "DateTime", "InputTime", "ColorWell"}
"""Fields with inner parts that the browser generates."""
GROUP_ROLES = {"form", "group", "region"}
"""Roles that are shown only if they have a name."""
ROLE_NAMES = {
    "Canvas": "canvas", "ColorWell": "colour field", "Date": "date field", "DateTime": "date field",
    "DisclosureTriangle": "disclosure", "Iframe": "iframe", "InputTime": "time field", "PopUpButton": "popup button",
    "ToggleButton": "toggle button", "generic": "clickable", "img": "image",
}  # fmt: skip
"""Names shown for roles whose own name is unclear."""
INLINE_TAGS = {
    "A", "ABBR", "B", "BIG", "CITE", "CODE", "DEL", "EM", "FONT", "I", "INS", "KBD", "MARK", "S", "SAMP",
    "SMALL", "SPAN", "STRONG", "SUB", "SUP", "TIME", "TSPAN", "U", "VAR",
}  # fmt: skip
"""Tags of inline elements, which are part of the surrounding text."""


@dataclass
class Item:
    """The content of one line, and of the lines indented below it."""

    role: str
    name: str = ""
    states: tuple[str, ...] = ()
    node: int | None = None
    children: list[Item] = field(default_factory=list)
    is_control: bool = False
    """Whether the item gets an element number."""
    ends_block: bool = False
    """Only for texts: a block ends after this text, so the next text is separate."""
    is_label: bool = False
    """Only for texts: whether this is the label of a field, whose line repeats it."""
    options: tuple[str, ...] = ()
    """Enabled options of a drop-down list."""
    disabled: bool = False
    editable: bool = False
    boxes: tuple[int, ...] = ()
    """The nodes whose boxes give the position of the item."""


def clean(text: Any) -> str:
    """Convert text to one line of printable characters, with single spaces between words."""
    words = " ".join(str(text).split())
    return words if words.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in words)


class TreeReader:
    """Reads the accessibility trees of all frames of one page."""

    def __init__(self, frames: Mapping[str, Iterable[Node]], layout: Layout) -> None:
        """Take the nodes that `Accessibility.getFullAXTree` returns for each frame; main frame and root nodes first."""
        self._layout = layout
        self._frames = {name: list(nodes) for name, nodes in frames.items()}
        self._page = next(iter(self._frames), "")
        self._by_id = {name: {node["nodeId"]: node for node in nodes} for name, nodes in self._frames.items()}
        self.title = ""
        """Title of the main frame."""
        self.focused: int | None = None
        """The focused node, if any."""

    def read(self, frame: str, depth: int = 0) -> list[Item]:
        """Return the items of a frame's document, which lies `depth` levels deep in the page."""
        nodes = self._frames.get(frame)
        if not nodes:
            return []
        if frame == self._page:
            self.title = clean(nodes[0].get("name", {}).get("value", ""))
        items = merge_texts(self._child_items(nodes[0], frame, depth))
        return without_labels(items, {item.name.casefold() for item in walk(items) if item.is_control})

    def _child_items(self, node: Node, frame: str, depth: int) -> list[Item]:
        if depth > MAX_DEPTH:
            return []
        known = self._by_id[frame]
        found: list[Item] = []
        for child in node.get("childIds", ()):
            if child in known:
                found += self._items(known[child], frame, depth + 1)
        return found

    def _items(self, node: Node, frame: str, depth: int) -> list[Item]:
        role, dom = node.get("role", {}).get("value", ""), node.get("backendDOMNodeId")
        if role == "InlineTextBox":
            return []
        if role == "LineBreak":
            return [Item("text", ends_block=True)]
        if role == "StaticText":
            return [Item("text", str(node.get("name", {}).get("value", "")), boxes=(dom,) if dom else ())]
        if dom is not None and dom in self._layout.frames:
            inner = self.read(self._layout.frames[dom], depth)
            name = clean(node.get("name", {}).get("value", ""))
            return [Item("iframe", name, node=dom, children=inner, boxes=(dom,))] if inner or name else []
        children = self._child_items(node, frame, depth)
        if node.get("ignored") or dom is None:
            return self._items_without_own_line(children, dom)
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
        is_control = self._is_control(role, dom, properties, children)
        name = clean(node.get("name", {}).get("value", ""))
        if not is_control and role not in STRUCTURE_ROLES and not (role in GROUP_ROLES and name):
            return self._items_without_own_line(children, dom)
        return self._make_item(node, role, dom, name, properties, is_control, merge_texts(children))

    def _is_control(self, role: str, dom: int, properties: Mapping[str, Any], children: list[Item]) -> bool:
        if role in CONTROL_ROLES:
            return True
        if role in ("RootWebArea", "Iframe", "LabelText"):
            return False
        if properties.get("focusable") and role not in ("dialog", "alertdialog"):
            return True
        # A container with a click listener for its parts is not itself a control.
        return dom in self._layout.clickable and (
            dom in self._layout.hand_cursor or not any(map(has_control, children))
        )

    def _items_without_own_line(self, children: list[Item], dom: int | None) -> list[Item]:
        """Return the items that replace an element that gets no line."""
        if dom is None or self._layout.tags.get(dom, "") in INLINE_TAGS:
            return children
        block = merge_texts(children)
        for item in block:
            item.ends_block, item.is_label = True, item.is_label or self._layout.tags.get(dom) == "LABEL"
        return [Item("text", ends_block=True), *block]

    def _make_item(
        self, node: Node, role: str, dom: int, name: str, properties: Mapping[str, Any], is_control: bool,
        children: list[Item],
    ) -> list[Item]:  # fmt: skip
        states, options = list(node_states(role, properties)), tuple[str, ...]()
        if properties.get("focused"):
            self.focused = dom
        if self._layout.tags.get(dom) == "SELECT":
            states = list(list_states(node, children, states))
            options = tuple(option.name for option in walk_options(children) if not option.disabled)
            children = []
        elif role in VALUE_ROLES:
            if role in PICKER_ROLES:
                children = []
            value = clean(node.get("value", {}).get("value", "")) or " ".join(item_names(children))
            if value:
                states.insert(0, f"value {quoted(value)}")
            children = [child for child in children if has_control(child)]
        described = clean(node.get("description", {}).get("value", ""))
        if described and described != name:
            states.append(f"described {quoted(described)}")
        item = Item(role, name, tuple(states), dom, children, is_control, options=options, boxes=(dom,))
        item.disabled = bool(properties.get("disabled"))
        item.editable = "editable" in properties or role in ("Date", "InputTime", "ColorWell")
        item.editable = item.editable and not properties.get("readonly")
        absorb_children(item)
        if not item.name and item.is_control and not item.children and dom in self._layout.classes:
            item.states = (*item.states, f"class {quoted(self._layout.classes[dom])}")
        return [item] if item.is_control or item.name or item.children or item.role == "image" else []


def node_states(role: str, properties: Mapping[str, Any]) -> Iterable[str]:
    """Yield the states of a node as words, in a fixed order."""
    if role == "heading" and properties.get("level"):
        yield f"level {properties['level']}"
    for name, words in {
        "checked": {"true": "checked", "false": "unchecked", "mixed": "partly checked"},
        "pressed": {"true": "pressed", "false": "not pressed", "mixed": "partly pressed"},
        "expanded": {"true": "expanded", "false": "collapsed"},
        "selected": {"true": "selected"},
        "focused": {"true": "focused"},
        "disabled": {"true": "disabled"},
        "readonly": {"true": "read-only"},
        "required": {"true": "required"},
        "modal": {"true": "modal"},
        "busy": {"true": "busy"},
    }.items():
        word = words.get(str(properties.get(name)).lower())
        if word:
            yield word
    if str(properties.get("invalid", "false")).lower() not in ("false", ""):
        yield "invalid"


def list_states(node: Node, children: list[Item], states: list[str]) -> Iterable[str]:
    """Yield the states of a drop-down list: its value, other states and the options."""
    chosen = [option.name for option in walk_options(children) if "selected" in option.states]
    value = clean(node.get("value", {}).get("value", "")) or ", ".join(chosen)
    if value:
        yield f"value {quoted(value)}"
    yield from (state for state in states if state not in ("collapsed", "expanded"))
    names = [quoted(option.name) for option in walk_options(children)]
    more = f" and {len(names) - 60} more" if len(names) > 60 else ""
    if names:
        yield f"options {', '.join(names[:60])}{more}"


def walk(items: Iterable[Item]) -> Iterable[Item]:
    """Yield items and their descendants, in document order."""
    for item in items:
        yield item
        yield from walk(item.children)


def walk_options(items: Iterable[Item]) -> Iterable[Item]:
    """Return the options among items, including options in groups."""
    return (item for item in walk(items) if item.role == "option")


def without_labels(items: list[Item], names: Set[str]) -> list[Item]:
    """Remove labels that repeat the name of a control."""
    kept = [
        item for item in items if not (item.is_label and item.role == "text" and clean(item.name).casefold() in names)
    ]
    for item in kept:
        item.children = without_labels(item.children, names)
    return kept


def has_control(item: Item) -> bool:
    """Return whether the item or a descendant is a control."""
    return item.is_control or any(map(has_control, item.children))


def item_names(items: Iterable[Item]) -> Iterable[str]:
    """Yield the names of items and their descendants."""
    return (clean(item.name) for item in walk(items) if item.name)


def merge_texts(items: Iterable[Item]) -> list[Item]:
    """Join adjacent texts of the same block and drop blank texts."""
    found: list[Item] = []
    for item in items:
        last = found[-1] if found else None
        if item.role != "text":
            found.append(item)
        elif item.ends_block and not item.name:
            if last is not None and last.role == "text":
                last.ends_block = True
        elif last is not None and last.role == "text" and not last.ends_block:
            last.name, last.ends_block, last.boxes = last.name + item.name, item.ends_block, last.boxes + item.boxes
        else:
            found.append(item)
    return [item for item in found if item.role != "text" or item.name.strip()]


def absorb_children(item: Item) -> None:
    """Drop children that repeat the item's name; use a lone text as the name; put a table row on one line."""
    if item.name:
        name = item.name.casefold()
        item.children = [
            child for child in item.children if not (child.role == "text" and clean(child.name).casefold() in name)
        ]
        lone = item.children[0] if len(item.children) == 1 else None
        if lone and not has_control(lone) and not lone.children and clean(lone.name).casefold() == name:
            item.children = []
    elif item.children and all(child.role == "text" for child in item.children):
        item.name = " ".join(item_names(item.children))
        item.children = []
    elif item.role == "row" and all(is_plain_cell(child) for child in item.children):
        item.name = " | ".join(clean(child.name) for child in item.children)
        item.boxes = tuple(box for child in item.children for box in child.boxes)
        item.children = []


def is_plain_cell(item: Item) -> bool:
    """Return whether the item is a table cell with nothing but text."""
    plain = item.role in ("cell", "gridcell", "columnheader", "rowheader")
    return plain and not item.is_control and not item.children and not item.states


def quoted(text: str, limit: int = 300) -> str:
    """Return `text` in quotes, cut at `limit` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
