"""Mouse and keyboard input on a page, sent as trusted events through DevTools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .actions import SCROLL_DIRECTIONS, RefusedAction
from .layout import Layout
from .tab import Tab
from .view import Element, View

MAX_KEYSTROKES = 100
"""Texts up to this length are typed key by key; longer ones are inserted at once, like a paste."""
WIDGET_TYPES = ("date", "datetime-local", "month", "week", "time", "color", "range")
"""Types of `input` elements that show a widget instead of a plain text field."""
KEY_NAMES = {
    name.lower(): name
    for name in (
        "Alt", "ArrowDown", "ArrowLeft", "ArrowRight", "ArrowUp", "Backspace", "Control", "Delete", "End", "Enter",
        "Escape", "Home", "Insert", "Meta", "PageDown", "PageUp", "Shift", "Space", "Tab",
    )
} | {"ctrl": "Control", "del": "Delete", "esc": "Escape", "return": "Enter"}  # fmt: skip
"""Playwright's key names, by the lower-case name that an agent may write."""

# These scripts run in the isolated world of the main frame, on nodes of any frame. They read `localName`, because a
# node of another frame is no instance of this frame's classes.
FIELD_KIND_SCRIPT = """function () {
  const element = this.nodeType === 1 ? this : this.parentElement;
  if (!element || !element.isConnected) return "gone";
  const name = element.localName;
  if (["input", "textarea", "select", "button"].includes(name) && element.disabled) return "disabled";
  if (name === "input") return element.readOnly ? "readonly" : "input " + element.type;
  if (name === "textarea") return element.readOnly ? "readonly" : "text";
  return element.isContentEditable === true ? "text" : "other";
}"""
FOCUS_SCRIPT = """function () {
  this.focus();
  if (this.select) this.select();
  else this.ownerDocument.getSelection().selectAllChildren(this);
}"""
FILL_SCRIPT = """function (value) {
  const trial = this.cloneNode();
  trial.value = value;
  if (trial.value.toLowerCase() !== value.toLowerCase()) return false;
  this.focus();
  this.value = value;
  for (const name of ["input", "change"]) this.dispatchEvent(new Event(name, { bubbles: true, composed: true }));
  return true;
}"""
SELECT_SCRIPT = """function (wanted) {
  if (this.localName !== "select") return "it is no drop-down list; click it instead";
  if (this.disabled) return "it is disabled";
  const plain = (text) => text.replace(/\\s+/g, " ").trim();
  const options = [...this.options].filter((option) => !option.disabled);
  const found = [];
  for (const text of wanted) {
    const option = options.find((o) => plain(o.label) === plain(text))
      ?? options.find((o) => o.value === text)
      ?? options.find((o) => plain(o.label).toLowerCase() === plain(text).toLowerCase());
    if (!option) return `it has no option ${JSON.stringify(text)}; there are `
      + options.slice(0, 60).map((o) => JSON.stringify(plain(o.label))).join(", ");
    found.push(option);
  }
  if (!this.multiple && found.length > 1) return "only one of its options can be chosen";
  this.focus();
  for (const option of this.options) option.selected = found.includes(option);
  for (const name of ["input", "change"]) this.dispatchEvent(new Event(name, { bubbles: true, composed: true }));
  return "";
}"""
SCROLL_SCRIPT = """function (x, y) {
  "use strict";
  let box = this;
  const moves = (e) => (y && e.scrollHeight > e.clientHeight) || (x && e.scrollWidth > e.clientWidth);
  const scrolls = (e) => /auto|scroll/.test(getComputedStyle(e).overflow);
  while (box && box.localName !== "body" && !(moves(box) && scrolls(box))) box = box.parentElement;
  if (!box || box.localName === "body") {
    const page = this?.ownerDocument ?? document;
    box = page.scrollingElement ?? page.documentElement;
  }
  box?.scrollBy({ left: x * box.clientWidth * 0.8, top: y * box.clientHeight * 0.8, behavior: "instant" });
}"""


class PageInput:
    """Acts on the elements of one page observation."""

    def __init__(self, tab: Tab, elements: Mapping[int, Element], layout: Layout, view: View) -> None:
        self._tab = tab
        self._view = view
        self._cdp: CDPSession = tab.cdp
        self._elements = elements
        self._layout = layout
        self.notes: list[str] = []
        """Notes for the agent about things that the page does not show."""

    def element(self, number: int) -> Element:
        """Return the element with this number; raise `RefusedAction` if the page has none."""
        if number not in self._elements:
            count = len(self._elements)
            raise RefusedAction(
                f"there is no element [{number}] on this page" + (f", which has {count}" if count else "")
            )
        return self._elements[number]

    async def click(self, number: int) -> None:
        """Click the centre of an element with the mouse; an element without a box is clicked by script."""
        element = self.element(number)
        if element.disabled:
            raise RefusedAction(f"[{number}] is disabled")
        if await self._click_at_observed_box(element):
            return
        point = await self._centre_in_view(element)
        if point is None:
            await self._call_on(element, "function () { this.click(); }")
            return
        viewport = (await self._cdp.send("Page.getLayoutMetrics"))["cssVisualViewport"]
        hit = await self._node_at(point, (viewport["pageX"], viewport["pageY"]))
        await self._click_at(point)
        if hit is not None and not self._hits(hit, element):
            cover = next((e for e in self._elements.values() if self._layout.is_inside(hit, e.node)), None)
            name = f"[{cover.id}] {cover.role} {cover.name!r}" if cover else "something else"
            self.notes.append(f"[{number}] is covered by {name}, which got the click.")

    async def hover(self, number: int) -> None:
        """Move the mouse to the centre of an element."""
        point = await self._centre_in_view(self.element(number))
        if point is None:
            raise RefusedAction(f"[{number}] takes no room on the page, so the mouse cannot be moved to it")
        await self._mouse("mouseMoved", point)

    async def drag(self, number: int, target: int) -> None:
        """Press the mouse on one element, move to another in steps, and release there."""
        start, end = (
            await self._centre_in_view(self.element(number)),
            await self._centre_in_view(self.element(target), scroll=False),
        )
        if start is None or end is None:
            raise RefusedAction(
                f"[{number if start is None else target}] takes no room on the page, so nothing can be dragged"
            )
        if not self._view.contains(end):
            raise RefusedAction(
                f"[{target}] is out of view where [{number}] is in view, so the mouse cannot drag it there"
            )
        await asyncio.gather(self._mouse("mouseMoved", start), self._mouse("mousePressed", start))
        for part in (0.25, 0.5, 0.75, 1.0):
            point = start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
            await self._mouse("mouseMoved", point, held=True)
        await self._mouse("mouseReleased", end)

    async def type(self, number: int, text: str, submit: bool) -> None:
        """Replace the content of a field with `text`; press Enter afterwards if `submit` is True."""
        element = self.element(number)
        kind = await self._call_on(element, FIELD_KIND_SCRIPT)
        if kind in ("gone", "disabled", "readonly"):
            raise RefusedAction(
                f"[{number}] is {'not there any more' if kind == 'gone' else kind}, so nothing can be typed"
            )
        if kind == "other" and not element.editable:
            raise RefusedAction(f"[{number}] is a {element.role}, which takes no text; click it, or type into a field")
        if kind.removeprefix("input ") in ("checkbox", "radio", "button", "submit", "image", "reset", "file"):
            raise RefusedAction(f"[{number}] is a {element.role}, which takes no text; click it instead")
        if kind.removeprefix("input ") in WIDGET_TYPES:
            await self._fill(element, kind.removeprefix("input "), text)
        else:
            await self._write(element, text)
        if submit:
            await self._tab.page.keyboard.press("Enter")

    async def select(self, number: int, options: Sequence[str]) -> None:
        """Select options of a drop-down list by label or value."""
        error = await self._call_on(self.element(number), SELECT_SCRIPT, list(options))
        if error:
            raise RefusedAction(f"[{number}]: {error}")

    async def press(self, key: str) -> None:
        """Press a key or a chord, such as `Control+a`, on the focused element."""
        parts = [part.strip() for part in key.split("+")] if len(key.strip()) > 1 else [key]
        chord = "+".join(KEY_NAMES.get(part.lower(), part) for part in parts)
        try:
            await self._tab.page.keyboard.press(chord)
        except PlaywrightError as error:
            if "Unknown key" not in str(error):
                raise
            examples = "Enter, Tab, Escape, ArrowDown, Backspace, a, Control+a"
            raise RefusedAction(f"there is no key {key[:40]!r}; there are {examples} and so on") from None

    async def scroll(self, number: int | None, direction: str) -> None:
        """Scroll the page, or the scrollable box around an element, by 80 % of its visible size."""
        name = direction.strip().lower()
        if name not in SCROLL_DIRECTIONS:
            raise RefusedAction(f"{direction[:40]!r} is no direction; scroll [up], [down], [left] or [right]")
        x, y = SCROLL_DIRECTIONS[name]
        if number is None:
            await self._tab.evaluate_isolated(f"({SCROLL_SCRIPT}).call(null, {x}, {y})")
        else:
            await self._call_on(self.element(number), SCROLL_SCRIPT, x, y)

    # -- The mouse ------------------------------------------------------------------------------------------------

    async def _centre_in_view(self, element: Element, scroll: bool = True) -> tuple[float, float] | None:
        """Scroll to an element and return its centre; None if it has no box. Raise `RefusedAction` if it is gone."""
        node = {"backendNodeId": element.node}
        calls = [self._cdp.send("DOM.scrollIntoViewIfNeeded", node)] if scroll else []
        *_, quads = await asyncio.gather(*calls, self._cdp.send("DOM.getContentQuads", node), return_exceptions=True)
        if isinstance(quads, PlaywrightError):
            if "No node" in str(quads) or "not find node" in str(quads):
                raise RefusedAction(f"[{element.id}] is not on the page any more") from None
            return None
        if isinstance(quads, BaseException):
            raise quads
        for quad in quads["quads"]:
            x, y = sum(quad[::2]) / 4, sum(quad[1::2]) / 4
            if abs(quad[0] - quad[4]) < 1 or abs(quad[1] - quad[5]) < 1:
                continue
            # An element left of or above the viewport even after scrolling can never be visible.
            if not scroll or (x >= 0 and y >= 0):
                return x, y
        return None

    async def _click_at_observed_box(self, element: Element) -> bool:
        """Click the element at its observed position if the mouse still hits it there; return whether it did."""
        box = element.box
        if box is None or not self._view.contains(box.centre):
            return False
        # The page, including its scroll position, does not change between an observation and the next action.
        hit = await self._node_at(box.centre, self._layout.scroll_offset)
        # The centre of a link that spans two lines may lie outside the link.
        if hit is None or not self._layout.is_inside(hit, element.node):
            return False
        await self._click_at(box.centre)
        return True

    def _hits(self, node: int, element: Element) -> bool:
        """Return whether a click on `node` counts as a click on the element: one contains the other."""
        return self._layout.is_inside(node, element.node) or self._layout.is_inside(element.node, node)

    async def _node_at(self, point: tuple[float, float], scroll_offset: tuple[float, float]) -> int | None:
        """Return the topmost node at a point; None if there is none."""
        # Mouse events use viewport coordinates; the hit test uses document coordinates.
        location = {"x": int(point[0] + scroll_offset[0]), "y": int(point[1] + scroll_offset[1])}
        try:
            hit = await self._cdp.send("DOM.getNodeForLocation", location)
        except PlaywrightError:
            return None
        return int(hit["backendNodeId"])

    async def _click_at(self, point: tuple[float, float]) -> None:
        # The browser keeps the order of the events. Waiting for each reply would cost one frame per event.
        await asyncio.gather(*(self._mouse(kind, point) for kind in ("mouseMoved", "mousePressed", "mouseReleased")))

    async def _mouse(self, kind: str, point: tuple[float, float], held: bool = False) -> None:
        button = "none" if kind == "mouseMoved" and not held else "left"
        buttons = 1 if held or kind == "mousePressed" else 0
        event = {"type": kind, "x": point[0], "y": point[1], "button": button, "buttons": buttons}
        await self._cdp.send("Input.dispatchMouseEvent", {**event, "clickCount": 0 if kind == "mouseMoved" else 1})

    # -- The keyboard ---------------------------------------------------------------------------------------------

    async def _write(self, element: Element, text: str) -> None:
        await self._call_on(element, FOCUS_SCRIPT)
        if not text:
            await self._tab.page.keyboard.press("Delete")
        elif len(text) > MAX_KEYSTROKES or not text.isprintable():
            await self._cdp.send("Input.insertText", {"text": text})
        else:
            calls = [self._cdp.send("Input.dispatchKeyEvent", event) for letter in text for event in key_events(letter)]
            await asyncio.gather(*calls)

    async def _fill(self, element: Element, kind: str, text: str) -> None:
        if not await self._call_on(element, FILL_SCRIPT, text):
            samples = {
                "date": "2026-05-14", "datetime-local": "2026-05-14T09:30", "month": "2026-05", "week": "2026-W20",
                "time": "09:30", "color": "#336699", "range": "a number within its range",
            }  # fmt: skip
            raise RefusedAction(f"[{element.id}] does not take {text[:40]!r}; it wants a {kind} like {samples[kind]}")

    async def _call_on(self, element: Element, function: str, *values: Any) -> Any:
        """Call a JavaScript function with the element as `this`; raise `RefusedAction` if the element is gone."""
        try:
            world = await self._tab.isolated_world()
            node = {"backendNodeId": element.node, "executionContextId": world}
            found = await self._cdp.send("DOM.resolveNode", node)
        except PlaywrightError as error:
            if "No node" not in str(error):
                raise
            raise RefusedAction(f"[{element.id}] is not on the page any more") from None
        arguments = [{"value": value} for value in values]
        call = {"functionDeclaration": function, "objectId": found["object"]["objectId"], "arguments": arguments}
        reply = await self._cdp.send("Runtime.callFunctionOn", {**call, "returnByValue": True, "userGesture": True})
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            raise RefusedAction(
                f"[{element.id}]: {details.get('exception', {}).get('description', details['text'])[:200]}"
            )
        return reply["result"].get("value")


def key_events(letter: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the DevTools events of a key press: key down and key up."""
    upper = letter.upper()
    if letter.isascii() and letter.isalnum():
        code, number = (f"Digit{letter}", ord(letter)) if letter.isdigit() else (f"Key{upper}", ord(upper))
    elif letter == " ":
        code, number = "Space", 32
    else:
        code, number = "", 0
    key = {"key": letter, "code": code, "windowsVirtualKeyCode": number}
    key["modifiers"] = 8 if letter != letter.lower() else 0
    return {"type": "keyDown", "text": letter, "unmodifiedText": letter, **key}, {"type": "keyUp", **key}
