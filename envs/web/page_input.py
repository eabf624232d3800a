"""What a person's hands do to a page: trusted mouse and keyboard input, sent through DevTools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .actions import DIRECTIONS, Refused
from .layout import Layout
from .tab import Tab
from .view import Element, View

KEYED = 100
"""Texts longer than this are put in at once, as a paste does; shorter ones are typed key by key."""
SPECIAL = ("date", "datetime-local", "month", "week", "time", "color", "range")
"""Types of input fields that have a widget in place of text."""
KEYS = {
    name.lower(): name
    for name in (
        "Alt", "ArrowDown", "ArrowLeft", "ArrowRight", "ArrowUp", "Backspace", "Control", "Delete", "End", "Enter",
        "Escape", "Home", "Insert", "Meta", "PageDown", "PageUp", "Shift", "Space", "Tab",
    )
} | {"ctrl": "Control", "del": "Delete", "esc": "Escape", "return": "Enter"}  # fmt: skip
"""What Playwright calls keys, by what people call them in small letters."""

PREPARE = """function () {
  const element = this.nodeType === 1 ? this : this.parentElement;
  if (!element || !element.isConnected) return "gone";
  if (element.matches("input, textarea, select, button") && element.disabled) return "disabled";
  if (element instanceof HTMLInputElement) return element.readOnly ? "readonly" : "input " + element.type;
  if (element instanceof HTMLTextAreaElement) return element.readOnly ? "readonly" : "text";
  return element.isContentEditable ? "text" : "other";
}"""
FOCUS = """function () {
  this.focus();
  if (this.select) this.select();
  else getSelection().selectAllChildren(this);
}"""
FILL = """function (value) {
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const trial = this.cloneNode();
  set.call(trial, value);
  if (trial.value.toLowerCase() !== value.toLowerCase()) return false;
  this.focus();
  set.call(this, value);
  for (const name of ["input", "change"]) this.dispatchEvent(new Event(name, { bubbles: true, composed: true }));
  return true;
}"""
SELECT = """function (wanted) {
  if (!(this instanceof HTMLSelectElement)) return "it is no drop-down list; click it instead";
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
SCROLL = """function (x, y) {
  let box = this;
  const moves = (e) => (y && e.scrollHeight > e.clientHeight) || (x && e.scrollWidth > e.clientWidth);
  const scrolls = (e) => /auto|scroll/.test(getComputedStyle(e).overflow);
  while (box && box !== document.body && !(moves(box) && scrolls(box))) box = box.parentElement;
  if (!box || box === document.body) box = document.scrollingElement ?? document.documentElement;
  box.scrollBy({ left: x * box.clientWidth * 0.8, top: y * box.clientHeight * 0.8, behavior: "instant" });
}"""


class PageInput:
    """Acts on the elements that one look at a tab found."""

    def __init__(self, tab: Tab, elements: Mapping[int, Element], layout: Layout, view: View) -> None:
        self._tab = tab
        self._view = view
        self._cdp: CDPSession = tab.cdp
        self._elements = elements
        self._layout = layout
        self.notes: list[str] = []
        """What a person would have noticed, beside what the page now shows."""

    def element(self, number: int) -> Element:
        """The element of this number; raises `Refused` when the page shows none."""
        if number not in self._elements:
            count = len(self._elements)
            raise Refused(f"there is no element [{number}] on this page" + (f", which has {count}" if count else ""))
        return self._elements[number]

    async def click(self, number: int) -> None:
        """Press and release the mouse on the middle of an element; one without a box is clicked by script."""
        element = self.element(number)
        if element.disabled:
            raise Refused(f"[{number}] is disabled")
        if await self._press_where_seen(element):
            return
        point = await self._point(element)
        if point is None:
            await self._call(element, "function () { this.click(); }")
            return
        now = (await self._cdp.send("Page.getLayoutMetrics"))["cssVisualViewport"]
        over = await self._under(point, (now["pageX"], now["pageY"]))
        await self._press(point)
        if over is not None and not self._touches(over, element):
            named = next((e for e in self._elements.values() if self._layout.inside(over, e.node)), None)
            what = f"[{named.id}] {named.role} {named.name!r}" if named else "something else"
            self.notes.append(f"[{number}] is covered by {what}, which got the click.")

    async def hover(self, number: int) -> None:
        """Move the mouse to the middle of an element."""
        point = await self._point(self.element(number))
        if point is None:
            raise Refused(f"[{number}] takes no room on the page, so the mouse cannot be moved to it")
        await self._mouse("mouseMoved", point)

    async def drag(self, number: int, goal: int) -> None:
        """Press on one element, move to another one in steps, and release there."""
        start, end = await self._point(self.element(number)), await self._point(self.element(goal), scroll=False)
        if start is None or end is None:
            raise Refused(f"[{number if start is None else goal}] takes no room on the page, so nothing can be dragged")
        if not self._view.shows(end):
            raise Refused(f"[{goal}] is out of view where [{number}] is in view, so the mouse cannot drag it there")
        await asyncio.gather(self._mouse("mouseMoved", start), self._mouse("mousePressed", start))
        for part in (0.25, 0.5, 0.75, 1.0):
            point = start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
            await self._mouse("mouseMoved", point, held=True)
        await self._mouse("mouseReleased", end)

    async def type(self, number: int, text: str, submit: bool) -> None:
        """Replace what a field holds by `text`, and press Enter when `submit` says so."""
        element = self.element(number)
        kind = await self._call(element, PREPARE)
        if kind in ("gone", "disabled", "readonly"):
            raise Refused(f"[{number}] is {'not there any more' if kind == 'gone' else kind}, so nothing can be typed")
        if kind == "other" and not element.editable:
            raise Refused(f"[{number}] is a {element.role}, which takes no text; click it, or type into a field")
        if kind.removeprefix("input ") in ("checkbox", "radio", "button", "submit", "image", "reset", "file"):
            raise Refused(f"[{number}] is a {element.role}, which takes no text; click it instead")
        if kind.removeprefix("input ") in SPECIAL:
            await self._fill(element, kind.removeprefix("input "), text)
        else:
            await self._write(element, text)
        if submit:
            await self._tab.page.keyboard.press("Enter")

    async def select(self, number: int, options: Sequence[str]) -> None:
        """Choose these options of a drop-down list."""
        wrong = await self._call(self.element(number), SELECT, list(options))
        if wrong:
            raise Refused(f"[{number}]: {wrong}")

    async def press(self, key: str) -> None:
        """Press a key or a chord, e.g. `Control+a`, on what has the focus."""
        parts = [part.strip() for part in key.split("+")] if len(key.strip()) > 1 else [key]
        chord = "+".join(KEYS.get(part.lower(), part) for part in parts)
        try:
            await self._tab.page.keyboard.press(chord)
        except PlaywrightError as error:
            if "Unknown key" not in str(error):
                raise
            some = "Enter, Tab, Escape, ArrowDown, Backspace, a, Control+a"
            raise Refused(f"there is no key {key[:40]!r}; there are {some} and so on") from None

    async def scroll(self, number: int | None, direction: str) -> None:
        """Move the page, or the box that an element lies in, by four fifths of what it shows."""
        way = direction.strip().lower()
        if way not in DIRECTIONS:
            raise Refused(f"{direction[:40]!r} is no direction; scroll [up], [down], [left] or [right]")
        x, y = DIRECTIONS[way]
        if number is None:
            await self._tab.evaluate(f"({SCROLL}).call(null, {x}, {y})")
        else:
            await self._call(self.element(number), SCROLL, x, y)

    # -- The mouse ------------------------------------------------------------------------------------------------

    async def _point(self, element: Element, scroll: bool = True) -> tuple[float, float] | None:
        """The middle of an element once it is in view; None when it has no box. Raises `Refused` when it is gone."""
        where = {"backendNodeId": element.node}
        asked = [self._cdp.send("DOM.scrollIntoViewIfNeeded", where)] if scroll else []
        *_, quads = await asyncio.gather(*asked, self._cdp.send("DOM.getContentQuads", where), return_exceptions=True)
        if isinstance(quads, PlaywrightError):
            if "No node" in str(quads) or "not find node" in str(quads):
                raise Refused(f"[{element.id}] is not on the page any more") from None
            return None
        if isinstance(quads, BaseException):
            raise quads
        for quad in quads["quads"]:
            x, y = sum(quad[::2]) / 4, sum(quad[1::2]) / 4
            if abs(quad[0] - quad[4]) < 1 or abs(quad[1] - quad[5]) < 1:
                continue
            # What stays beyond the left or upper edge when it is scrolled to cannot be seen at all.
            if not scroll or (x >= 0 and y >= 0):
                return x, y
        return None

    async def _press_where_seen(self, element: Element) -> bool:
        """Press on the middle of the element where the last look saw it, if it can still be touched there."""
        box = element.box
        if box is None or not self._view.shows(box.middle):
            return False
        # Nothing moves between a look and the action after it, the page's scrolling included.
        over = await self._under(box.middle, self._layout.scrolled)
        # The middle of a link that runs over two lines may lie in what is around it.
        if over is None or not self._layout.inside(over, element.node):
            return False
        await self._press(box.middle)
        return True

    def _touches(self, over: int, element: Element) -> bool:
        """Whether a click on the node `over` is one on the element: it lies in it, or around it."""
        return self._layout.inside(over, element.node) or self._layout.inside(element.node, over)

    async def _under(self, point: tuple[float, float], scrolled: tuple[float, float]) -> int | None:
        """The node that is touched at a point; None where there is none."""
        # The mouse is told a place in the viewport, the hit test one in the document.
        at = {"x": int(point[0] + scrolled[0]), "y": int(point[1] + scrolled[1])}
        try:
            hit = await self._cdp.send("DOM.getNodeForLocation", at)
        except PlaywrightError:
            return None
        return int(hit["backendNodeId"])

    async def _press(self, point: tuple[float, float]) -> None:
        # The browser keeps their order; waiting for its answer to each would cost a frame.
        await asyncio.gather(*(self._mouse(kind, point) for kind in ("mouseMoved", "mousePressed", "mouseReleased")))

    async def _mouse(self, kind: str, point: tuple[float, float], held: bool = False) -> None:
        button = "none" if kind == "mouseMoved" and not held else "left"
        buttons = 1 if held or kind == "mousePressed" else 0
        about = {"type": kind, "x": point[0], "y": point[1], "button": button, "buttons": buttons}
        await self._cdp.send("Input.dispatchMouseEvent", {**about, "clickCount": 0 if kind == "mouseMoved" else 1})

    # -- The keyboard ---------------------------------------------------------------------------------------------

    async def _write(self, element: Element, text: str) -> None:
        await self._call(element, FOCUS)
        if not text:
            await self._tab.page.keyboard.press("Delete")
        elif len(text) > KEYED or not text.isprintable():
            await self._cdp.send("Input.insertText", {"text": text})
        else:
            sent = [self._cdp.send("Input.dispatchKeyEvent", event) for letter in text for event in keystroke(letter)]
            await asyncio.gather(*sent)

    async def _fill(self, element: Element, kind: str, text: str) -> None:
        if not await self._call(element, FILL, text):
            samples = {
                "date": "2026-05-14", "datetime-local": "2026-05-14T09:30", "month": "2026-05", "week": "2026-W20",
                "time": "09:30", "color": "#336699", "range": "a number within its range",
            }  # fmt: skip
            raise Refused(f"[{element.id}] does not take {text[:40]!r}; it wants a {kind} like {samples[kind]}")

    async def _call(self, element: Element, function: str, *values: Any) -> Any:
        """What a function gives that is called with the element as `this`; raises `Refused` when it is gone."""
        try:
            found = await self._cdp.send("DOM.resolveNode", {"backendNodeId": element.node})
        except PlaywrightError as error:
            if "No node" not in str(error):
                raise
            raise Refused(f"[{element.id}] is not on the page any more") from None
        given = [{"value": value} for value in values]
        asked = {"functionDeclaration": function, "objectId": found["object"]["objectId"], "arguments": given}
        said = await self._cdp.send("Runtime.callFunctionOn", {**asked, "returnByValue": True, "userGesture": True})
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise Refused(f"[{element.id}]: {details.get('exception', {}).get('description', details['text'])[:200]}")
        return said["result"].get("value")


def keystroke(letter: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The events of a key going down and up, as DevTools wants them."""
    upper = letter.upper()
    if letter.isascii() and letter.isalnum():
        code, number = (f"Digit{letter}", ord(letter)) if letter.isdigit() else (f"Key{upper}", ord(upper))
    elif letter == " ":
        code, number = "Space", 32
    else:
        code, number = "", 0
    about = {"key": letter, "code": code, "windowsVirtualKeyCode": number}
    about["modifiers"] = 8 if letter != letter.lower() else 0
    return {"type": "keyDown", "text": letter, "unmodifiedText": letter, **about}, {"type": "keyUp", **about}
