"""One tab of a browser: its page, the DevTools session that reads and moves it, and when it has come to rest."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from ...errors import InfraError
from .ids import ElementIds

T = TypeVar("T")
Excuse = Callable[[], Awaitable[bool]]
"""Whether what takes too long may take longer; asked when time is up."""
STOP_SECONDS = 5.0
"""How long a page may take to react once its script was stopped."""
SETTLE = 'globalThis[Symbol.for("kintsugi.page")]?.settle(%d, %d) ?? [true, 0, 0]'
SIZE = '[document.getElementsByTagName("*").length, document.documentElement?.textContent.length ?? 0]'
WAITED = frozenset({"Font", "Image", "Script", "Stylesheet"})
"""Requests that a page is waited for with. Documents have events of their own, what scripts fetch is watched within the
page, since it may never be read to its end, and streams have none."""
WITHIN = ("sameDocument", "historySameDocument")
BRING_DOCUMENTS = ("http", "https", "file", "blob", "data")
"""Schemes of addresses that give a document or a download; `mailto:` gives neither."""
GONE = (
    "context was destroyed",
    "Cannot find context",
    "navigated or closed",
    "Promise was collected",
    "uniqueContextId",
)
"""What errors say when a page was replaced under the call."""


class Bound:
    """A span of real time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, never below 0."""
        return max(0.0, self._end - time.monotonic())


class Tab:
    """A page and what is known of it. Made by `Tab.of`."""

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self.page = page
        self.cdp = cdp
        self.ids = ElementIds()
        self.opening = 0
        """Windows that the page asked for and that have not arrived yet."""
        self.size: tuple[int, int] | None = None
        """Elements and characters of the document when it came to rest; None when it did not."""
        self._crash_seen = asyncio.Event()
        self.frames: dict[str, str | None] = {}
        """Id of each frame's parent."""
        self.led_nowhere = False
        """Whether a navigation ended without a document: a download is to be expected, or there was no content."""
        self._loading: set[str] = set()
        self._leaving: set[str] = set()
        self._requests: dict[str, str] = {}
        """Under way: the frame that each is for."""
        self._downloads: dict[str, tuple[str, int]] = {}
        """Addresses, and bytes that have come or are announced."""
        self._changed = asyncio.Event()
        for event, handle in {
            "Page.frameStartedNavigating": self._leaves,
            "Page.frameStartedLoading": self._started,
            "Page.frameStoppedLoading": self._stopped,
            "Page.frameAttached": lambda said: self.frames.update({said["frameId"]: said["parentFrameId"]}),
            "Page.frameDetached": self._detached,
            "Page.frameNavigated": self._navigated,
            "Page.windowOpen": self._window_opened,
            "Page.downloadWillBegin": lambda said: self._downloads.update({said["guid"]: (said["url"], 0)}),
            "Page.downloadProgress": self._downloaded,
            "Network.requestWillBeSent": self._requested,
            "Network.loadingFinished": lambda said: self._requests.pop(said["requestId"], None),
            "Network.loadingFailed": lambda said: self._requests.pop(said["requestId"], None),
            "Inspector.targetCrashed": lambda said: self._crash(),
        }.items():
            cdp.on(event, self._noticing(handle))
        page.on("crash", lambda _: self._crash())

    @classmethod
    async def of(cls, context: BrowserContext, page: Page) -> Tab:
        """Attach to a page."""
        cdp = await context.new_cdp_session(page)
        tab = cls(page, cdp)
        await asyncio.gather(*(cdp.send(f"{domain}.enable") for domain in ("Page", "DOM", "Network")))
        tree = await cdp.send("Page.getFrameTree")
        tab._know(tree["frameTree"], None)
        return tab

    def _know(self, tree: dict[str, Any], parent: str | None) -> None:
        self.frames[tree["frame"]["id"]] = parent
        for child in tree.get("childFrames", ()):
            self._know(child, tree["frame"]["id"])

    def _noticing(self, handle: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
        def noticed(said: dict[str, Any]) -> None:
            handle(said)
            self._changed.set()

        return noticed

    def _leaves(self, said: dict[str, Any]) -> None:
        if said.get("navigationType") not in WITHIN and said["url"].partition(":")[0] in BRING_DOCUMENTS:
            self._leaving.add(said["frameId"])

    def _started(self, said: dict[str, Any]) -> None:
        self._loading.add(said["frameId"])

    def _stopped(self, said: dict[str, Any]) -> None:
        self._loading.discard(said["frameId"])
        if said["frameId"] in self._leaving:
            self._leaving.discard(said["frameId"])
            self.led_nowhere = True

    def _navigated(self, said: dict[str, Any]) -> None:
        frame = said["frame"]
        self._leaving.discard(frame["id"])
        self._forget(frame["id"])
        self.frames[frame["id"]] = frame.get("parentId")
        if "parentId" not in frame:
            self.frames = {frame["id"]: None}
            self.ids = ElementIds()
            self._requests.clear()

    def _detached(self, said: dict[str, Any]) -> None:
        self.frames.pop(said["frameId"], None)
        self._loading.discard(said["frameId"])
        self._forget(said["frameId"])

    def _requested(self, said: dict[str, Any]) -> None:
        # Without a document it is a worker's script, whose end is told elsewhere.
        if said.get("type") in WAITED and said["loaderId"]:
            self._requests[said["requestId"]] = said.get("frameId", "")

    def _forget(self, frame: str) -> None:
        """What a document had asked for may never be said to have come when it is gone."""
        self._requests = {request: its for request, its in self._requests.items() if its != frame}

    def _window_opened(self, said: dict[str, Any]) -> None:
        # Without a gesture of the user the window stays shut; other programs open none.
        scheme = said["url"].partition(":")[0]
        self.opening += bool(said.get("userGesture")) and scheme in (*BRING_DOCUMENTS, "about", "")

    def _downloaded(self, said: dict[str, Any]) -> None:
        url, _ = self._downloads.get(said["guid"], ("", 0))
        self._downloads[said["guid"]] = url, int(max(said["totalBytes"], said["receivedBytes"]))

    async def outgrown(self, url: str, most: int) -> None:
        """Wait until a download from this address has more bytes, or is announced to have."""
        while not any(size > most for address, size in self._downloads.values() if address == url):
            self._changed.clear()
            await self._changed.wait()

    def _crash(self) -> None:
        self._crash_seen.set()
        self._changed.set()

    @property
    def crashed(self) -> bool:
        """Whether the page's renderer is gone."""
        return self._crash_seen.is_set()

    @property
    def expecting(self) -> bool:
        """Whether a window or a download is on its way."""
        return self.opening > 0 or self.led_nowhere

    @property
    def loading(self) -> bool:
        """Whether a frame is on its way to another document, or has not got all of this one."""
        return bool(self._loading) and not self.crashed

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression, or of what its promise resolves to."""
        said = await self.cdp.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": False},
        )
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise PlaywrightError(details.get("exception", {}).get("description") or details["text"])
        return said["result"].get("value")

    async def measure(self) -> tuple[int, int]:
        """Elements and characters of the document as it is now."""
        elements, characters = await self.evaluate(SIZE)
        return int(elements), int(characters)

    async def settle(self, budget: int, bound: Bound) -> bool:
        """Let `budget` milliseconds of page time pass and wait until loading and scripts rest; False when they do not.

        A navigation that this sets off is waited for as well.
        """
        self.size = None
        while not self.crashed:
            if not await self._until(lambda: not self.loading, bound):
                return False
            try:
                rests = await self._settle_frames(budget, bound)
            except PlaywrightError as error:
                if not any(sign in str(error) for sign in GONE):
                    raise
                budget = 0
                if not bound.left:
                    return False
                await asyncio.sleep(0)
                continue
            if rests and not self.loading and not self._requests:
                return True
            if not (rests and await self._until(lambda: self.loading or not self._requests, bound)):
                return False
            budget = 0
        return True

    async def _settle_frames(self, budget: int, bound: Bound) -> bool:
        rests, *size = await self.evaluate(SETTLE % (budget, 1000 * bound.left))
        sizes = [size]
        if len(self.frames) > 1:
            for frame in self.page.frames[1:]:
                with contextlib.suppress(PlaywrightError):
                    # A frame may be gone by now, or of another site; the page's own state is what counts.
                    inner, *size = await frame.evaluate(SETTLE % (budget, 1000 * bound.left))
                    rests = inner and rests
                    sizes.append(size)
        elements, characters = map(sum, zip(*sizes, strict=True))
        self.size = (int(elements), int(characters)) if rests else None
        return bool(rests)

    async def _until(self, true: Callable[[], object], bound: Bound) -> bool:
        """Wait for events of the page until something is so; False when it is not in time."""
        while not true():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), bound.left)
            except TimeoutError:
                return False
        return True

    async def stop_loading(self) -> bool:
        """Give up what has not arrived; True when the page reacts."""
        self._leaving.clear()
        await self.cdp.send("Page.stopLoading")
        self._loading.clear()
        # A page that was replaced at this moment reacts as well.
        with contextlib.suppress(PlaywrightError):
            await self.evaluate("true")
        return True

    def wait_no_more(self) -> None:
        """What is under way now is not waited for again."""
        self._requests.clear()

    async def interrupt(self, work: Awaitable[T], seconds: float, excused: Excuse) -> T | None:
        """What `work` gives; when it takes longer, the script that holds the page is stopped and None returned.

        What is `excused` gets its time anew. Raises `InfraError` when the page is stuck even so, and when its renderer
        crashes.
        """
        task, crash = asyncio.ensure_future(work), asyncio.ensure_future(self._crash_seen.wait())
        try:
            longer = True
            while longer:
                await asyncio.wait({task, crash}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if self.crashed:
                    raise InfraError(f"the renderer of {self.page.url!r} crashed")
                if task.done():
                    return task.result()
                longer = await excused()
            await asyncio.wait_for(self.cdp.send("Runtime.terminateExecution"), STOP_SECONDS)
            await asyncio.wait_for(self.evaluate("1"), STOP_SECONDS)
            return None
        except TimeoutError:
            raise InfraError("the page does not react any more, and its script cannot be stopped") from None
        finally:
            crash.cancel()
            task.cancel()
