"""Looking at a tab: the accessibility tree of all its frames, with the layout, as one observation."""

from __future__ import annotations

import asyncio
import base64
import io
import textwrap
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Dialog

from ...errors import MissingExtraError
from .layout import STYLES, Layout
from .session import Session
from .tab import Tab
from .tree import TreeReader, clean, quoted
from .view import HUGE_ELEMENTS, HUGE_TEXT, PageView, View, view_of

EXCERPT = """((most) => {
  const walker = document.createTreeWalker(document.body ?? document, NodeFilter.SHOW_TEXT);
  let text = "";
  while (text.length < most && walker.nextNode())
    if (!walker.currentNode.parentElement?.closest("script, style, noscript"))
      text += walker.currentNode.data.slice(0, most) + " ";
  return text.slice(0, most);
})"""
NOTHING = Layout({}, set(), set(), {}, {}, {}, {})


@dataclass(frozen=True)
class Look:
    """What was seen at one moment."""

    tab: Tab
    url: str
    title: str
    page: PageView
    layout: Layout
    tabs: tuple[tuple[str, bool], ...]
    """Title and whether it is the active one, of each tab."""
    back: bool = False
    """Whether there is a page to go back to."""
    forward: bool = False


async def look(session: Session) -> Look:
    """Look at the active tab of a session that rests."""
    tab = session.active
    if tab.size is None:
        tab.size = await tab.measure()
    huge = tab.size[0] > HUGE_ELEMENTS or tab.size[1] > HUGE_TEXT
    others = [tab.page.title() for tab in session.tabs] if len(session.tabs) > 1 else []
    (page, layout, title), (back, forward), titles = await asyncio.gather(
        _excerpt(tab, session) if huge else _read(tab, session), session.history(), asyncio.gather(*others)
    )
    tabs = tuple((clean(name), each is tab) for name, each in zip(titles, session.tabs, strict=True)) if titles else ()
    url = tab.page.url
    return Look(tab, url, clean(title), page, layout, tabs, back is not None, forward is not None)


async def _read(tab: Tab, session: Session) -> tuple[PageView, Layout, str]:
    frames = list(tab.frames)
    snapshot, *trees = await asyncio.gather(
        tab.cdp.send("DOMSnapshot.captureSnapshot", {"computedStyles": STYLES}),
        *(tab.cdp.send("Accessibility.getFullAXTree", {"frameId": frame}) for frame in frames),
        return_exceptions=True,
    )
    if isinstance(snapshot, BaseException):
        raise snapshot
    if isinstance(trees[0], BaseException):
        raise trees[0]
    layout = Layout.of(snapshot)
    known = {frame: tree["nodes"] for frame, tree in zip(frames, trees, strict=True) if isinstance(tree, dict)}
    reader = TreeReader(known, layout)
    items = reader.read(frames[0])
    page = view_of(items, layout, tab.ids, session.config.view, reader.focused)
    return page, layout, reader.title


async def _excerpt(tab: Tab, session: Session) -> tuple[PageView, Layout, str]:
    most, (count, length) = session.config.view.most, tab.size or (0, 0)
    text = clean(await tab.evaluate(f"{EXCERPT}({most})"))
    size = f"The page is too large to be laid out ({count:,} elements, {length:,} characters). It begins:"
    return PageView((size, f"text {quoted(text, most)}"), {}), NOTHING, await tab.page.title()


async def screenshot(session: Session) -> bytes:
    """The viewport as a PNG."""
    return await _captured(session, format="png")


async def photograph(session: Session) -> bytes:
    """The viewport as a JPEG, a third of the size."""
    return await _captured(session, format="jpeg", quality=70)


async def _captured(session: Session, **options: Any) -> bytes:
    if session.dialog is not None:
        return _drawn(session.dialog, session.config.view, options["format"])
    said: dict[str, Any] = await session.active.cdp.send(
        "Page.captureScreenshot", {**options, "optimizeForSpeed": True}
    )
    return base64.b64decode(said["data"])


def _drawn(dialog: Dialog, view: View, kind: str) -> bytes:
    """A picture of a dialog: Chromium takes none while one is open."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("pillow", "web") from None
    image = Image.new("RGB", (view.width, view.height), "white")
    words = "\n".join([f"{dialog.type} dialog", "", *textwrap.wrap(dialog.message[:2000], max(10, view.width // 8))])
    ImageDraw.Draw(image).multiline_text((16, 16), words, fill="black")
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
