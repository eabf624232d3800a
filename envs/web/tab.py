"""A browser tab: its page, its DevTools session, and whether the page is idle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from ...errors import InfraError
from .ids import ElementIds

T = TypeVar("T")
ExtendTimeout = Callable[[], Awaitable[bool]]
"""Called when a time limit is exceeded. Returns whether the work gets the same time again."""
STOP_SECONDS = 5.0
"""Time limit in seconds for a page to respond after its script was stopped."""
WORLD = "kintsugi"
"""Name of the isolated world. Its scripts share the nodes of a page, but nothing that the page's scripts can change."""
SIZE_FUNCTION = """() => {
  // Not document.documentElement: a form of this name would be returned instead.
  const all = Document.prototype.getElementsByTagName.call(document, "*");
  return [all.length, all.length ? all[0].textContent.length : 0];
}"""
TITLE_SCRIPT = "Object.getOwnPropertyDescriptor(Document.prototype, 'title').get.call(document)"
SIZE_SCRIPT = f"({SIZE_FUNCTION})()"
SETTLE_SCRIPT = f"""((channel, budget, patience, question) => new Promise((resolve) => {{
  const {{ addEventListener, dispatchEvent, removeEventListener }} = EventTarget.prototype;
  const size = {SIZE_FUNCTION};
  const answered = (event) => {{
    if (event.detail?.length !== 2 || event.detail[0] !== question) return;
    removeEventListener.call(performance, channel, answered);
    resolve([event.detail[1] === true, ...size()]);
  }};
  addEventListener.call(performance, channel, answered);
  const ask = new CustomEvent(channel, {{ cancelable: true, detail: [budget, patience, question] }});
  if (!dispatchEvent.call(performance, ask)) return;
  // Nobody listens in a document without scripts.
  removeEventListener.call(performance, channel, answered);
  resolve([true, ...size()]);
}}))"""
"""Asks `page.js` whether the page is idle; returns the answer, and the numbers of elements and characters."""
AWAITED_REQUESTS = frozenset({"Font", "Image", "Script", "Stylesheet"})
"""Types of requests to wait for. Documents are not among them because they have their own events, and streams because
they never end. `page.js` watches the requests of scripts, whose responses may never be read to the end."""
SAME_DOCUMENT = ("sameDocument", "historySameDocument")
"""DevTools' types of navigations that load no document."""
DOCUMENT_SCHEMES = ("http", "https", "file", "blob", "data")
"""URL schemes that lead to a document or a download; `mailto:`, for example, leads to neither."""
PAGE_REPLACED_ERRORS = (
    "context was destroyed",
    "Cannot find context",
    "navigated or closed",
    "Promise was collected",
    "uniqueContextId",
)
"""Parts of the error messages of calls during which the page was replaced."""


class HungPageError(Exception):
    """The page does not respond, and its scripts cannot be stopped."""


class Deadline:
    """A time limit shared by several waits."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """Remaining real time in seconds; never negative."""
        return max(0.0, self._end - time.monotonic())


class Tab:
    """A page and its loading state. Create it with `Tab.attach`."""

    def __init__(self, page: Page, cdp: CDPSession, channel: str) -> None:
        self.page = page
        self.cdp = cdp
        self._channel = channel
        """Name of the events that `page.js` answers."""
        self._questions = 0
        """Number of questions asked so far."""
        self._worlds: dict[str, int] = {}
        """Execution context of the isolated world of each frame in which it exists."""
        self.ids = ElementIds()
        self.expected_windows = 0
        """Number of windows that the page has opened and that have not arrived yet."""
        self.size: tuple[int, int] | None = None
        """Numbers of elements and characters when the page became idle; None if it did not."""
        self._crash_event = asyncio.Event()
        self.frames: dict[str, str | None] = {}
        """Parent frame id of each frame id; None for the main frame."""
        self.ended_without_document = False
        """Whether a navigation ended without a document: either a download follows, or there was no content."""
        self._loading: set[str] = set()
        self._navigating: set[str] = set()
        self._requests: dict[str, str] = {}
        """Frame id of each pending request."""
        self._downloads: dict[str, tuple[str, int]] = {}
        """URL of each download, and the larger of its received and announced bytes."""
        self._changed = asyncio.Event()
        for name, handle in {
            "Page.frameStartedNavigating": self._navigation_started,
            "Page.frameStartedLoading": self._loading_started,
            "Page.frameStoppedLoading": self._loading_stopped,
            "Page.frameAttached": lambda event: self.frames.update({event["frameId"]: event["parentFrameId"]}),
            "Page.frameDetached": self._detached,
            "Page.frameNavigated": self._navigated,
            "Page.windowOpen": self._window_opened,
            "Page.downloadWillBegin": lambda event: self._downloads.update({event["guid"]: (event["url"], 0)}),
            "Page.downloadProgress": self._download_progressed,
            "Network.requestWillBeSent": self._request_started,
            "Network.loadingFinished": lambda event: self._requests.pop(event["requestId"], None),
            "Network.loadingFailed": lambda event: self._requests.pop(event["requestId"], None),
            "Inspector.targetCrashed": lambda event: self._crash(),
        }.items():
            cdp.on(name, self._then_signal(handle))
        page.on("crash", lambda _: self._crash())

    @classmethod
    async def attach(cls, context: BrowserContext, page: Page, channel: str) -> Tab:
        """Open a DevTools session on a page in which `page.js` answers the events named `channel`."""
        cdp = await context.new_cdp_session(page)
        tab = cls(page, cdp, channel)
        await asyncio.gather(*(cdp.send(f"{domain}.enable") for domain in ("Page", "DOM", "Network")))
        tree = await cdp.send("Page.getFrameTree")
        tab._add_frames(tree["frameTree"], None)
        return tab

    def _add_frames(self, tree: dict[str, Any], parent: str | None) -> None:
        self.frames[tree["frame"]["id"]] = parent
        for child in tree.get("childFrames", ()):
            self._add_frames(child, tree["frame"]["id"])

    def _then_signal(self, handle: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
        def handle_and_signal(event: dict[str, Any]) -> None:
            handle(event)
            self._changed.set()

        return handle_and_signal

    def _navigation_started(self, event: dict[str, Any]) -> None:
        if event.get("navigationType") not in SAME_DOCUMENT and event["url"].partition(":")[0] in DOCUMENT_SCHEMES:
            self._navigating.add(event["frameId"])

    def _loading_started(self, event: dict[str, Any]) -> None:
        self._loading.add(event["frameId"])

    def _loading_stopped(self, event: dict[str, Any]) -> None:
        self._loading.discard(event["frameId"])
        if event["frameId"] in self._navigating:
            self._navigating.discard(event["frameId"])
            self.ended_without_document = True

    def _navigated(self, event: dict[str, Any]) -> None:
        frame = event["frame"]
        self._navigating.discard(frame["id"])
        self._worlds.pop(frame["id"], None)
        self._forget_frame_requests(frame["id"])
        self.frames[frame["id"]] = frame.get("parentId")
        if "parentId" not in frame:
            self.frames = {frame["id"]: None}
            self._worlds.clear()
            self.ids = ElementIds()
            self._requests.clear()

    def _detached(self, event: dict[str, Any]) -> None:
        self.frames.pop(event["frameId"], None)
        self._worlds.pop(event["frameId"], None)
        self._loading.discard(event["frameId"])
        self._forget_frame_requests(event["frameId"])

    def _request_started(self, event: dict[str, Any]) -> None:
        # Requests without a loader come from a web worker; their end is reported to another DevTools session.
        if event.get("type") in AWAITED_REQUESTS and event["loaderId"]:
            self._requests[event["requestId"]] = event.get("frameId", "")

    def _forget_frame_requests(self, frame: str) -> None:
        """Drop the pending requests of a frame; their end may not be reported once the document is gone."""
        self._requests = {request: owner for request, owner in self._requests.items() if owner != frame}

    def _window_opened(self, event: dict[str, Any]) -> None:
        # Windows without a user gesture are blocked, and URLs for other programs open none.
        scheme = event["url"].partition(":")[0]
        self.expected_windows += bool(event.get("userGesture")) and scheme in (*DOCUMENT_SCHEMES, "about", "")

    def _download_progressed(self, event: dict[str, Any]) -> None:
        url, _ = self._downloads.get(event["guid"], ("", 0))
        self._downloads[event["guid"]] = url, int(max(event["totalBytes"], event["receivedBytes"]))

    async def wait_until_larger(self, url: str, limit: int) -> None:
        """Wait until a download from `url` has received or announced more than `limit` bytes."""
        while not any(size > limit for source, size in self._downloads.values() if source == url):
            self._changed.clear()
            await self._changed.wait()

    def _crash(self) -> None:
        self._crash_event.set()
        self._changed.set()

    @property
    def crashed(self) -> bool:
        """Whether the renderer of the page crashed."""
        return self._crash_event.is_set()

    @property
    def expects_arrival(self) -> bool:
        """Whether a window or a download is expected."""
        return self.expected_windows > 0 or self.ended_without_document

    @property
    def loading(self) -> bool:
        """Whether a frame is navigating or still loading its document."""
        return bool(self._loading) and not self.crashed

    async def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression of the page itself; a promise is awaited.

        The page's scripts can make this any value, and any error message.
        """
        return await self._evaluate(expression)

    async def evaluate_isolated(self, expression: str, frame: str | None = None) -> Any:
        """Return the JSON value of an expression that the page's scripts cannot interfere with; a promise is awaited.

        Args:
            expression: JavaScript. It shares only the nodes with the page.
            frame: Id of the frame; None for the main frame.
        """
        frame = frame or next(iter(self.frames))
        try:
            return await self._evaluate(expression, contextId=await self.isolated_world(frame))
        except PlaywrightError:
            # The document may have been replaced, and its worlds with it.
            self._worlds.pop(frame, None)
            raise

    async def isolated_world(self, frame: str | None = None) -> int:
        """Return the execution context of the isolated world in a frame; None for the main frame."""
        frame = frame or next(iter(self.frames))
        if frame not in self._worlds:
            reply = await self.cdp.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": WORLD})
            self._worlds[frame] = int(reply["executionContextId"])
        return self._worlds[frame]

    async def _evaluate(self, expression: str, **where: int) -> Any:
        reply = await self.cdp.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": False, **where},
        )
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            raise PlaywrightError(details.get("exception", {}).get("description") or details["text"])
        return reply["result"].get("value")

    async def title(self, seconds: float) -> str:
        """Return the title of the document; say so if the tab does not answer within `seconds`."""
        try:
            return str(await asyncio.wait_for(self.evaluate_isolated(TITLE_SCRIPT), seconds))
        except (TimeoutError, PlaywrightError):
            return "(no answer)"

    async def measure(self) -> tuple[int, int]:
        """Return the numbers of elements and characters of the document."""
        elements, characters = _numbers(await self.evaluate_isolated(SIZE_SCRIPT), 2)
        return elements, characters

    async def settle(self, page_time: int, deadline: Deadline) -> bool:
        """Let page time pass and wait until the page is idle, also after navigations that this causes.

        Args:
            page_time: Milliseconds that pass on the page.
            deadline: Limit in real time.

        Returns:
            Whether the page became idle before the deadline.
        """
        self.size = None
        while not self.crashed:
            if not await self._wait_until(lambda: not self.loading, deadline):
                return False
            try:
                idle = await self._settle_frames(page_time, deadline)
            except PlaywrightError as error:
                if not was_replaced(error):
                    raise
                page_time = 0
                if not deadline.seconds_left:
                    return False
                await asyncio.sleep(0)
                continue
            if idle and not self.loading and not self._requests:
                return True
            if not (idle and await self._wait_until(lambda: self.loading or not self._requests, deadline)):
                return False
            page_time = 0
        return True

    async def _settle_frames(self, page_time: int, deadline: Deadline) -> bool:
        main, *others = self.frames
        idle, elements, characters = await self._settle_frame(main, page_time, deadline)
        for frame in others:
            with contextlib.suppress(PlaywrightError):
                # A frame that is gone is ignored.
                frame_idle, *size = await self._settle_frame(frame, page_time, deadline)
                idle, elements, characters = idle and frame_idle, elements + size[0], characters + size[1]
        self.size = (elements, characters) if idle else None
        return idle

    async def _settle_frame(self, frame: str, page_time: int, deadline: Deadline) -> tuple[bool, int, int]:
        self._questions += 1
        values = json.dumps([self._channel, page_time, int(1000 * deadline.seconds_left), self._questions])
        idle, elements, characters = _numbers(await self.evaluate_isolated(f"{SETTLE_SCRIPT}(...{values})", frame), 3)
        return bool(idle), elements, characters

    async def _wait_until(self, condition: Callable[[], object], deadline: Deadline) -> bool:
        """Wait for page events until the condition holds; return False if the deadline passes first."""
        while not condition():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline.seconds_left)
            except TimeoutError:
                return False
        return True

    async def stop_loading(self) -> bool:
        """Stop loading; return True once the page responds."""
        self._navigating.clear()
        # Refused while a page that was left still runs a script.
        with contextlib.suppress(PlaywrightError):
            await self.cdp.send("Page.stopLoading")
        self._loading.clear()
        # A page that was replaced meanwhile also responds.
        with contextlib.suppress(PlaywrightError):
            await self.evaluate_isolated("true")
        return True

    def clear_requests(self) -> None:
        """Stop waiting for the pending requests."""
        self._requests.clear()

    async def run_limited(self, work: Awaitable[T], seconds: float, extend_timeout: ExtendTimeout) -> T | None:
        """Return the result of `work`; after a timeout, stop the script that blocks the page and return None.

        Args:
            work: What to await.
            seconds: Time limit in real seconds.
            extend_timeout: Called after a timeout; if it returns True, the limit starts again.

        Raises:
            HungPageError: If the page does not respond even after its script was stopped.
            InfraError: If the renderer of the page crashes.
        """
        task, crash = asyncio.ensure_future(work), asyncio.ensure_future(self._crash_event.wait())
        try:
            extended = True
            while extended:
                await asyncio.wait({task, crash}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if self.crashed:
                    raise InfraError(f"the renderer of {self.page.url!r} crashed")
                if task.done():
                    return task.result()
                extended = await extend_timeout()
            await asyncio.wait_for(self.cdp.send("Runtime.terminateExecution"), STOP_SECONDS)
            # A page that was replaced meanwhile also responds.
            with contextlib.suppress(PlaywrightError):
                await asyncio.wait_for(self.evaluate("1"), STOP_SECONDS)
            return None
        except TimeoutError:
            raise HungPageError from None
        finally:
            crash.cancel()
            task.cancel()


def was_replaced(error: PlaywrightError) -> bool:
    """Return whether a call failed because its page was replaced meanwhile."""
    return any(part in str(error) for part in PAGE_REPLACED_ERRORS)


def _numbers(values: Any, count: int) -> tuple[int, ...]:
    """Return `values` if they are `count` whole numbers; anything else did not come from a script of ours."""
    if not isinstance(values, list) or [type(value) in (int, bool) for value in values] != [True] * count:
        raise InfraError(f"the page answered {str(values)[:80]!r}; expected {count} numbers, so its state is unknown")
    return tuple(values)
