"""From Chromium's accessibility tree to the few lines that say what a page shows; nothing here needs a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from .layout import Layout

Node = Mapping[str, Any]
DEEPEST = 300
"""Levels of nesting that are followed; pages of people have 30."""

CONTROLS = {
    "button", "checkbox", "combobox", "link", "listbox", "menuitem", "menuitemcheckbox", "menuitemradio", "option",
    "radio", "scrollbar", "searchbox", "slider", "spinbutton", "switch", "tab", "textbox", "treeitem",
    "Canvas", "ColorWell", "Date", "DateTime", "DisclosureTriangle", "InputTime", "PopUpButton", "ToggleButton",
}  # fmt: skip
"""Roles of what people act on."""
STRUCTURE = {
    "alert", "alertdialog", "article", "banner", "blockquote", "caption", "cell", "columnheader", "complementary",
    "contentinfo", "dialog", "figure", "grid", "gridcell", "heading", "image", "img", "list", "listitem", "log",
    "main", "menu", "menubar", "meter", "navigation", "progressbar", "radiogroup", "row", "rowheader",
    "search", "status", "table", "tablist", "tabpanel", "toolbar", "tooltip", "tree", "Iframe",
}  # fmt: skip
"""Roles that say how a page is made up; all others are passed through to what is in them."""
FIELDS = {"textbox", "searchbox", "spinbutton", "combobox", "Date", "DateTime", "InputTime", "ColorWell", "slider"}
"""Roles whose value is shown; what lies in them is their value again."""
WIDGETS = {"Date", "DateTime", "InputTime", "ColorWell"}
"""Fields whose parts are the browser's own."""
NAMED_GROUPS = {"form", "group", "region"}
"""Roles that are shown when they have a name."""
WORDS = {
    "Canvas": "canvas", "ColorWell": "colour field", "Date": "date field", "DateTime": "date field",
    "DisclosureTriangle": "disclosure", "Iframe": "iframe", "InputTime": "time field", "PopUpButton": "popup button",
    "ToggleButton": "toggle button", "generic": "clickable", "img": "image",
}  # fmt: skip
"""What roles are called where the specification's own name says little."""
INLINE = {
    "A", "ABBR", "B", "BIG", "CITE", "CODE", "DEL", "EM", "FONT", "I", "INS", "KBD", "MARK", "S", "SAMP",
    "SMALL", "SPAN", "STRONG", "SUB", "SUP", "TIME", "TSPAN", "U", "VAR",
}  # fmt: skip
"""Elements that flow with the text around them."""


@dataclass
class Item:
    """Something that a line is about."""

    role: str
    name: str = ""
    states: tuple[str, ...] = ()
    node: int | None = None
    children: list[Item] = field(default_factory=list)
    control: bool = False
    """Whether it is given a number."""
    closed: bool = False
    """Texts only: a block ended here, so what follows is not the same text."""
    label: bool = False
    """Texts only: whether this is a field's label, which the field's own line repeats."""
    options: tuple[str, ...] = ()
    """Of a drop-down list."""
    disabled: bool = False
    editable: bool = False
    boxes: tuple[int, ...] = ()
    """The nodes whose boxes tell where it is."""


def clean(text: Any) -> str:
    """One line of printable characters, single spaces between words."""
    words = " ".join(str(text).split())
    return words if words.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in words)


class TreeReader:
    """Reads the trees of all frames of one page."""

    def __init__(self, frames: Mapping[str, Iterable[Node]], layout: Layout) -> None:
        """`frames`: the nodes of `Accessibility.getFullAXTree`, root first, by the frame's id; the page's own first."""
        self._layout = layout
        self._frames = {name: list(nodes) for name, nodes in frames.items()}
        self._page = next(iter(self._frames), "")
        self._by_id = {name: {node["nodeId"]: node for node in nodes} for name, nodes in self._frames.items()}
        self.title = ""
        """Of the page; frames inside it have titles of their own."""
        self.focused: int | None = None

    def read(self, frame: str) -> list[Item]:
        """What a frame's document shows."""
        nodes = self._frames.get(frame)
        if not nodes:
            return []
        if frame == self._page:
            self.title = clean(nodes[0].get("name", {}).get("value", ""))
        items = merged(self._inner(nodes[0], frame, 0))
        return unlabelled(items, {item.name.casefold() for item in every(items) if item.control})

    def _inner(self, node: Node, frame: str, depth: int) -> list[Item]:
        if depth > DEEPEST:
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
            return [Item("text", closed=True)]
        if role == "StaticText":
            return [Item("text", str(node.get("name", {}).get("value", "")), boxes=(dom,) if dom else ())]
        if dom is not None and dom in self._layout.frames:
            inner = self.read(self._layout.frames[dom])
            name = clean(node.get("name", {}).get("value", ""))
            return [Item("iframe", name, node=dom, children=inner, boxes=(dom,))] if inner or name else []
        children = self._inner(node, frame, depth)
        if node.get("ignored") or dom is None:
            return self._flowing(children, dom)
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
        control = self._is_control(role, dom, properties, children)
        name = clean(node.get("name", {}).get("value", ""))
        if not control and role not in STRUCTURE and not (role in NAMED_GROUPS and name):
            return self._flowing(children, dom)
        return self._shown(node, role, dom, name, properties, control, merged(children))

    def _is_control(self, role: str, dom: int, properties: Mapping[str, Any], children: list[Item]) -> bool:
        if role in CONTROLS:
            return True
        if role in ("RootWebArea", "Iframe", "LabelText"):
            return False
        if properties.get("focusable") and role not in ("dialog", "alertdialog"):
            return True
        # A container that listens for what is done to its parts is none of the things to click.
        return dom in self._layout.clickable and (dom in self._layout.hands or not any(map(has_control, children)))

    def _flowing(self, children: list[Item], dom: int | None) -> list[Item]:
        """What stands in for an element that has no line of its own."""
        if dom is None or self._layout.tags.get(dom, "") in INLINE:
            return children
        closed = merged(children)
        for item in closed:
            item.closed, item.label = True, item.label or self._layout.tags.get(dom) == "LABEL"
        return [Item("text", closed=True), *closed]

    def _shown(
        self, node: Node, role: str, dom: int, name: str, properties: Mapping[str, Any], control: bool,
        children: list[Item],
    ) -> list[Item]:  # fmt: skip
        states, options = list(states_of(role, properties)), tuple[str, ...]()
        if properties.get("focused"):
            self.focused = dom
        if self._layout.tags.get(dom) == "SELECT":
            states = list(states_of_list(node, children, states))
            options = tuple(option.name for option in every_option(children) if not option.disabled)
            children = []
        elif role in FIELDS:
            if role in WIDGETS:
                children = []
            value = clean(node.get("value", {}).get("value", "")) or " ".join(texts(children))
            if value:
                states.insert(0, f"value {quoted(value)}")
            children = [child for child in children if has_control(child)]
        described = clean(node.get("description", {}).get("value", ""))
        if described and described != name:
            states.append(f"described {quoted(described)}")
        item = Item(role, name, tuple(states), dom, children, control, options=options, boxes=(dom,))
        item.disabled = bool(properties.get("disabled"))
        item.editable = "editable" in properties or role in ("Date", "InputTime", "ColorWell")
        item.editable = item.editable and not properties.get("readonly")
        fold(item)
        if not item.name and item.control and not item.children and dom in self._layout.classes:
            item.states = (*item.states, f"class {quoted(self._layout.classes[dom])}")
        return [item] if item.control or item.name or item.children or item.role == "image" else []


def states_of(role: str, properties: Mapping[str, Any]) -> Iterable[str]:
    """Words for what Chromium says of a node, in a fixed order."""
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


def states_of_list(node: Node, children: list[Item], states: list[str]) -> Iterable[str]:
    """Those of a drop-down list: its choice and what else there is to choose."""
    chosen = [option.name for option in every_option(children) if "selected" in option.states]
    value = clean(node.get("value", {}).get("value", "")) or ", ".join(chosen)
    if value:
        yield f"value {quoted(value)}"
    yield from (state for state in states if state not in ("collapsed", "expanded"))
    names = [quoted(option.name) for option in every_option(children)]
    more = f" and {len(names) - 60} more" if len(names) > 60 else ""
    if names:
        yield f"options {', '.join(names[:60])}{more}"


def every(items: Iterable[Item]) -> Iterable[Item]:
    """Items and all that is in them."""
    for item in items:
        yield item
        yield from every(item.children)


def every_option(items: Iterable[Item]) -> Iterable[Item]:
    """The options among items, those in groups included."""
    return (item for item in every(items) if item.role == "option")


def unlabelled(items: list[Item], names: Set[str]) -> list[Item]:
    """Items without the labels that are the name of a control."""
    kept = [item for item in items if not (item.label and item.role == "text" and clean(item.name).casefold() in names)]
    for item in kept:
        item.children = unlabelled(item.children, names)
    return kept


def has_control(item: Item) -> bool:
    """Whether there is anything to act on in it."""
    return item.control or any(map(has_control, item.children))


def texts(items: Iterable[Item]) -> Iterable[str]:
    """All that is said in items, names of parts included."""
    return (clean(item.name) for item in every(items) if item.name)


def merged(items: Iterable[Item]) -> list[Item]:
    """Texts that flow into one another made one; blank ones left out."""
    found: list[Item] = []
    for item in items:
        last = found[-1] if found else None
        if item.role != "text":
            found.append(item)
        elif item.closed and not item.name:
            if last is not None and last.role == "text":
                last.closed = True
        elif last is not None and last.role == "text" and not last.closed:
            last.name, last.closed, last.boxes = last.name + item.name, item.closed, last.boxes + item.boxes
        else:
            found.append(item)
    return [item for item in found if item.role != "text" or item.name.strip()]


def fold(item: Item) -> None:
    """Take into an item's line what its parts only repeat, and a lone text that names it."""
    if item.name:
        said = item.name.casefold()
        item.children = [
            child for child in item.children if not (child.role == "text" and clean(child.name).casefold() in said)
        ]
        lone = item.children[0] if len(item.children) == 1 else None
        if lone and not has_control(lone) and not lone.children and clean(lone.name).casefold() == said:
            item.children = []
    elif item.children and all(child.role == "text" for child in item.children):
        item.name = " ".join(texts(item.children))
        item.children = []
    elif item.role == "row" and all(is_plain_cell(child) for child in item.children):
        item.name = " | ".join(clean(child.name) for child in item.children)
        item.boxes = tuple(box for child in item.children for box in child.boxes)
        item.children = []


def is_plain_cell(item: Item) -> bool:
    """A cell of a table that holds a text and nothing else."""
    plain = item.role in ("cell", "gridcell", "columnheader", "rowheader")
    return plain and not item.control and not item.children and not item.states


def quoted(text: str, most: int = 300) -> str:
    """`text` in quotes, cut where it gets long."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")
