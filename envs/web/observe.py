"""Observes a tab: reads the accessibility trees of all its frames and the layout."""

from __future__ import annotations

import asyncio
import base64
import io
import textwrap
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Dialog

from ...errors import MissingExtraError
from .layout import COMPUTED_STYLES, Layout
from .session import Session
from .tab import Tab
from .tree import TreeReader, clean, quoted
from .view import HUGE_ELEMENTS, HUGE_TEXT, PageView, View, render_page

EXCERPT_SCRIPT = """((most) => {
  const { createTreeWalker, getElementsByTagName } = Document.prototype;
  const body = getElementsByTagName.call(document, "body")[0];
  const walker = createTreeWalker.call(document, body ?? document, NodeFilter.SHOW_TEXT);
  const { closest } = Element.prototype;
  let text = "";
  while (text.length < most && walker.nextNode())
    if (!walker.currentNode.parentElement || !closest.call(walker.currentNode.parentElement, "script, style, noscript"))
      text += walker.currentNode.data.slice(0, most) + " ";
  return text.slice(0, most);
})"""
EMPTY_LAYOUT = Layout({}, set(), set(), {}, {}, {}, {})


@dataclass(frozen=True)
class PageObservation:
    """The active tab at one moment."""

    tab: Tab
    url: str
    title: str
    page: PageView
    layout: Layout
    tabs: tuple[tuple[str, bool], ...]
    """Title of each tab and whether it is active; empty if there is only one tab."""
    back: bool = False
    """Whether the tab's history has a previous page."""
    forward: bool = False
    """Whether the tab's history has a next page."""


async def observe(session: Session) -> PageObservation:
    """Observe the active tab of an idle session."""
    tab = session.active
    if tab.size is None:
        tab.size = await tab.measure()
    huge = tab.size[0] > HUGE_ELEMENTS or tab.size[1] > HUGE_TEXT
    seconds = session.config.settle_timeout
    tab_titles = [tab.title(seconds) for tab in session.tabs] if len(session.tabs) > 1 else []
    (page, layout, title), (back, forward), titles = await asyncio.gather(
        _excerpt(tab, session) if huge else _read(tab, session), session.history(), asyncio.gather(*tab_titles)
    )
    tabs = tuple((clean(name), each is tab) for name, each in zip(titles, session.tabs, strict=True)) if titles else ()
    url = tab.page.url
    return PageObservation(tab, url, clean(title), page, layout, tabs, back is not None, forward is not None)


async def _read(tab: Tab, session: Session) -> tuple[PageView, Layout, str]:
    frames = list(tab.frames)
    snapshot, *trees = await asyncio.gather(
        tab.cdp.send("DOMSnapshot.captureSnapshot", {"computedStyles": COMPUTED_STYLES}),
        *(tab.cdp.send("Accessibility.getFullAXTree", {"frameId": frame}) for frame in frames),
        return_exceptions=True,
    )
    if isinstance(snapshot, BaseException):
        raise snapshot
    if isinstance(trees[0], BaseException):
        raise trees[0]
    layout = Layout.from_snapshot(snapshot)
    nodes = {frame: tree["nodes"] for frame, tree in zip(frames, trees, strict=True) if isinstance(tree, dict)}
    reader = TreeReader(nodes, layout)
    items = reader.read(frames[0])
    page = render_page(items, layout, tab.ids, session.config.view, reader.focused)
    return page, layout, reader.title


async def _excerpt(tab: Tab, session: Session) -> tuple[PageView, Layout, str]:
    max_characters, (count, length) = session.config.view.max_characters, tab.size or (0, 0)
    text = clean(await tab.evaluate_isolated(f"{EXCERPT_SCRIPT}({max_characters})"))
    size = f"The page is too large to be laid out ({count:,} elements, {length:,} characters). It begins:"
    return (
        PageView((size, f"text {quoted(text, max_characters)}"), {}),
        EMPTY_LAYOUT,
        await tab.title(session.config.settle_timeout),
    )


async def screenshot(session: Session) -> bytes:
    """Return the viewport as a PNG."""
    return await _capture(session, format="png")


async def screenshot_jpeg(session: Session) -> bytes:
    """Return the viewport as a JPEG, a third of the size of a PNG."""
    return await _capture(session, format="jpeg", quality=70)


async def _capture(session: Session, **options: Any) -> bytes:
    if session.dialog is not None:
        return _draw_dialog(session.dialog, session.config.view, options["format"])
    reply: dict[str, Any] = await session.active.cdp.send(
        "Page.captureScreenshot", {**options, "optimizeForSpeed": True}
    )
    return base64.b64decode(reply["data"])


def _draw_dialog(dialog: Dialog, view: View, kind: str) -> bytes:
    """Draw the dialog, because Chromium takes no screenshots while one is open."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("pillow", "web") from None
    image = Image.new("RGB", (view.width, view.height), "white")
    text = "\n".join([f"{dialog.type} dialog", "", *textwrap.wrap(dialog.message[:2000], max(10, view.width // 8))])
    ImageDraw.Draw(image).multiline_text((16, 16), text, fill="black")
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
