"""Browser session of an episode: a context with tabs, dialogs and downloads, and notes about them for the agent."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, Dialog, Download, Page, Request, Response
from playwright.async_api import Error as PlaywrightError

from ...errors import InfraError
from .downloads import download_note
from .session_config import SessionConfig
from .tab import STOP_SECONDS, Deadline, ExtendTimeout, HungPageError, Tab, was_replaced

T = TypeVar("T")
BLOCKED = "Blocked:"
MAX_BLOCKED = 10
"""Maximum number of blocked requests named per step; blocked page loads are named even beyond it."""


class Session:
    """A browser context for one or more episodes. All methods run on the browser thread."""

    def __init__(self, context: BrowserContext, config: SessionConfig, channel: str) -> None:
        self.context = context
        self.config = config
        self._channel = channel
        self.tabs: list[Tab] = []
        self.active: Tab
        self.episodes_started = 1
        """Number of episodes started in this session."""
        self.notes: list[str] = []
        """Notes for the agent since the last observation."""
        self.dialog: Dialog | None = None
        """The open dialog; the page is blocked until it is answered."""
        self._dialog_event = asyncio.Event()
        self._no_dialog_event = asyncio.Event()
        self._no_dialog_event.set()
        self._dialog_count = 0
        """Number of dialogs opened so far."""
        self._arrival_event = asyncio.Event()
        self._running_work: asyncio.Task[None] | None = None
        self._background_tasks: set[asyncio.Task[None]] = set()
        self._attaching_count = 0
        self._refused_windows = 0
        context.on("page", self._page_opened)
        # On the context instead of each page, because a new window may open a dialog before its page is attached.
        context.on("dialog", self._dialog_opened)
        context.on("requestfailed", self._request_failed)
        context.on("response", self._response_received)

    @classmethod
    async def open(cls, context: BrowserContext, config: SessionConfig, channel: str) -> Session:
        """Open a session with one empty tab; `page.js` answers the events named `channel`."""
        session = cls(context, config, channel)
        page = await context.new_page()
        await session._wait_for_arrivals(Deadline(config.settle_timeout))
        session.active = next(tab for tab in session.tabs if tab.page is page)
        return session

    # -- Work on the page -------------------------------------------------------------------------------------------

    async def perform(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the page is idle or a dialog opens. `answer_dialog` continues after a dialog."""
        self._running_work = asyncio.ensure_future(self._perform(work))
        await self._wait_until_done_or_dialog()

    async def answer_dialog(self, accept: bool, text: str | None = None) -> None:
        """Close the dialog and continue the interrupted work."""
        dialog, self.dialog = self.dialog, None
        self._dialog_event.clear()
        self._no_dialog_event.set()
        if dialog is not None:
            await (dialog.accept(text or "") if accept else dialog.dismiss())
        if self._running_work is None:
            self._running_work = asyncio.ensure_future(self.settle(0))
        await self._wait_until_done_or_dialog()

    async def _perform(self, work: Coroutine[Any, Any, None]) -> None:
        tab = self.active
        try:
            # Navigations have their own time limit, so only an endless script exceeds this one.
            done = await tab.run_limited(_true_when_done(work), self.config.settle_timeout + 1, self._dialog_extender())
        except HungPageError:
            await self._close_hung_tab(tab)
            done = True
        finally:
            # A coroutine that never started must be closed, otherwise Python warns.
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        if done is None:
            self._note_stopped_script()
        await self.settle(self.config.step_time)

    async def _wait_until_done_or_dialog(self) -> None:
        running = self._running_work
        if running is None:
            return
        dialog = asyncio.ensure_future(self._dialog_event.wait())
        try:
            await asyncio.wait({running, dialog}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            running.cancel()
            raise
        finally:
            dialog.cancel()
        if running.done():
            self._running_work = None
            running.result()

    def _dialog_extender(self) -> ExtendTimeout:
        """Make a callback that waits until dialogs close; it grants more time if one was open since its last call."""
        last_count = self._dialog_count

        async def extend() -> bool:
            nonlocal last_count
            had_dialog, last_count = self.dialog is not None or self._dialog_count != last_count, self._dialog_count
            await self._no_dialog_event.wait()
            return had_dialog

        return extend

    async def settle(self, page_time: int) -> None:
        """Let `page_time` milliseconds pass on the page and wait until the active tab is idle or time is up."""
        await self._wait_for_arrivals(Deadline(self.config.settle_timeout))
        deadline, extend = Deadline(self.config.settle_timeout), self._dialog_extender()
        while True:
            await self._wait_for_arrivals(deadline)
            tab = self.active
            self._raise_if_crashed(tab)
            try:
                idle = await tab.run_limited(
                    tab.settle(page_time, deadline), deadline.seconds_left + 1, self._dialog_extender()
                )
            except HungPageError:
                await self._close_hung_tab(tab)
                deadline, extend, page_time = Deadline(self.config.settle_timeout), self._dialog_extender(), 0
                continue
            except PlaywrightError:
                # The tab may have closed or crashed meanwhile.
                await asyncio.sleep(0)
                self._raise_if_crashed(tab)
                if tab in self.tabs:
                    raise
                continue
            if idle is None:
                self._note_stopped_script()
            elif not idle and await extend():
                # The time was spent waiting for the agent's answer to a dialog.
                deadline, extend, page_time = Deadline(self.config.settle_timeout), self._dialog_extender(), 0
                continue
            elif not idle:
                await self._stop_waiting(tab)
            if not idle or (tab is self.active and not self._background_tasks and not tab.expects_arrival):
                return
            page_time = 0

    async def _stop_waiting(self, tab: Tab) -> None:
        tab.clear_requests()
        if tab.loading:
            self.notes.append(f"The page did not finish loading within {self.config.settle_timeout:g} s.")
            try:
                if not await tab.run_limited(tab.stop_loading(), self.config.settle_timeout, self._dialog_extender()):
                    self._note_stopped_script()
            except HungPageError:
                await self._close_hung_tab(tab)
        else:
            self.notes.append(f"The page was still busy after {self.config.settle_timeout:g} s.")

    async def read(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what is read from the idle session; None if a dialog opens meanwhile.

        A page that does not answer is treated as in `perform`, and `work` is then called once more; so it is if the
        page is replaced meanwhile.

        Raises:
            InfraError: If the page does not answer this time either.
        """
        for attempt in (1, 2):
            tab = self.active
            reading = asyncio.ensure_future(work())
            # Where the tab was closed instead, nobody asks for the error.
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            try:
                done = await tab.run_limited(
                    self._done_or_dialog(reading), 2 * self.config.settle_timeout + STOP_SECONDS, _no_more_time
                )
                if done:
                    return reading.result() if reading.done() else None
                self._note_stopped_script()
            except HungPageError:
                await self._close_hung_tab(tab)
            except PlaywrightError as error:
                if attempt == 2 or not was_replaced(error):
                    raise
                await self.settle(0)
            finally:
                reading.cancel()
        raise InfraError("the page does not answer, so it cannot be shown")

    async def _done_or_dialog(self, work: asyncio.Future[Any]) -> bool:
        dialog = asyncio.ensure_future(self._dialog_event.wait())
        try:
            await asyncio.wait({work, dialog}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            dialog.cancel()
        return True

    async def _close_hung_tab(self, tab: Tab) -> None:
        """Close a tab whose page does not respond. An empty tab replaces the last one."""
        try:
            await asyncio.wait_for(tab.page.close(), STOP_SECONDS)
        except TimeoutError:
            raise InfraError("the page does not respond, and its tab cannot be closed") from None
        self._tab_closed(tab)
        self.notes.append("The page did not respond, even after its scripts were stopped. Its tab was closed.")
        await self._wait_for_arrivals(Deadline(self.config.settle_timeout))
        if not self.tabs:
            raise InfraError("the page does not respond, and no new tab opened in its place")

    def _note_stopped_script(self) -> None:
        self.notes.append("A script of the page ran without end and was stopped.")

    def _raise_if_crashed(self, tab: Tab) -> None:
        if tab.crashed:
            raise InfraError(f"the renderer of {tab.page.url!r} crashed")

    # -- Tabs -----------------------------------------------------------------------------------------------------

    async def navigate(self, url: str) -> None:
        """Navigate the active tab; add a note with the reason if this fails."""
        tab = self.active
        try:
            reply = await asyncio.wait_for(tab.cdp.send("Page.navigate", {"url": url}), self.config.settle_timeout)
        except TimeoutError:
            self.notes.append(f"{url} did not answer within {self.config.settle_timeout:g} s.")
            await tab.stop_loading()
            return
        except PlaywrightError as error:
            if "invalid URL" not in str(error):
                raise
            self.notes.append(f"{url[:200]} is no valid address.")
            return
        if reply.get("errorText") and reply["errorText"] != "net::ERR_ABORTED":
            self._note_failure(url, reply["errorText"])

    async def go_in_history(self, by: int) -> None:
        """Go one page back (-1) or forward (1) in the tab's history, if there is one."""
        back, forward = await self.history()
        entry = back if by < 0 else forward
        if entry is not None:
            await self.active.cdp.send("Page.navigateToHistoryEntry", {"entryId": entry})

    async def history(self) -> tuple[int | None, int | None]:
        """Return the ids of the previous and next history entry of the tab, ignoring its initial blank page."""
        reply = await self.active.cdp.send("Page.getNavigationHistory")
        index, entries = reply["currentIndex"], reply["entries"]
        back, forward = entries[max(0, index - 1) : index], entries[index + 1 : index + 2]
        ids = [next((int(e["id"]) for e in found if e["url"] != "about:blank"), None) for found in (back, forward)]
        return ids[0], ids[1]

    async def new_tab(self) -> None:
        """Open an empty tab and make it active."""
        await self.context.new_page()
        await self._wait_for_arrivals(Deadline(self.config.settle_timeout))

    async def switch_tab(self, number: int) -> None:
        """Activate a tab, numbered from 0."""
        self.active = self.tabs[number]
        await self.active.page.bring_to_front()

    async def close_tab(self) -> None:
        """Close the active tab."""
        await self.active.page.close()

    def _page_opened(self, page: Page) -> None:
        opener = next((tab for tab in self.tabs if tab.expected_windows), None)
        if opener is not None:
            opener.expected_windows -= 1
        self._arrival_event.set()
        self._run_in_background(self._attach(page))

    async def _attach(self, page: Page) -> None:
        if len(self.tabs) + self._attaching_count >= self.config.max_tabs:
            self._refused_windows += 1
            with contextlib.suppress(PlaywrightError):
                await page.close()
            return
        self._attaching_count += 1
        try:
            tab = await Tab.attach(self.context, page, self._channel)
        except PlaywrightError:
            # The page closed before it could be attached.
            return
        finally:
            self._attaching_count -= 1
        page.on("download", lambda download: self._download_began(tab, download))
        page.on("close", lambda _: self._tab_closed(tab))
        self.tabs.append(tab)
        self.active = tab

    def _tab_closed(self, tab: Tab) -> None:
        self._arrival_event.set()
        if tab in self.tabs:
            self.tabs.remove(tab)
            if tab is self.active and self.tabs:
                self.active = self.tabs[-1]
            elif not self.tabs:
                self._run_in_background(_ignore_errors(self.context.new_page()))

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)

    async def _wait_for_arrivals(self, deadline: Deadline) -> None:
        """Wait for windows and downloads that a page has announced and the browser has not reported yet."""
        await self._wait_until_none(
            lambda tab: tab.ended_without_document, Deadline(min(deadline.seconds_left, self.config.download_seconds))
        )
        extend = self._dialog_extender()
        while not await self._wait_until_none(lambda tab: tab.expected_windows, deadline):
            if not await extend():
                self.notes.append("A window that the page opened did not load in time.")
                break
            deadline, extend = Deadline(self.config.settle_timeout), self._dialog_extender()
        for tab in self.tabs:
            tab.expected_windows, tab.ended_without_document = 0, False
        while self._background_tasks and deadline.seconds_left:
            await asyncio.wait(self._background_tasks, timeout=deadline.seconds_left)
        if self._refused_windows:
            count, self._refused_windows = self._refused_windows, 0
            were = "windows that the page opened were" if count > 1 else "window that the page opened was"
            self.notes.append(f"{count} {were} closed: too many are open.")

    async def _wait_until_none(self, expects_arrival: Callable[[Tab], object], deadline: Deadline) -> bool:
        """Wait until no tab expects an arrival; return False if the deadline passes first."""
        while any(map(expects_arrival, self.tabs)):
            if not deadline.seconds_left:
                return False
            self._arrival_event.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrival_event.wait(), deadline.seconds_left)
        return True

    # -- Events -----------------------------------------------------------------------------------------------------

    def _dialog_opened(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            self.notes.append("The page asked whether to leave it, which was answered with yes.")
            self._run_in_background(_ignore_errors(dialog.accept()))
            return
        self.dialog = dialog
        self._dialog_count += 1
        self._no_dialog_event.clear()
        self._dialog_event.set()

    def _download_began(self, tab: Tab, download: Download) -> None:
        tab.ended_without_document = False
        self._arrival_event.set()
        self._run_in_background(self._finish_download(tab, download))

    async def _finish_download(self, tab: Tab, download: Download) -> None:
        limit = self.config.max_download_bytes
        self.notes.append(await download_note(tab, download, limit, self.config.settle_timeout))

    def _request_failed(self, request: Request) -> None:
        why = request.failure or ""
        if self._is_page_load(request):
            if "ERR_ABORTED" not in why:
                self._note_failure(request.url, why)
        elif not self.config.hosts.allows(request.url):
            blocked = sum(note.startswith(BLOCKED) for note in self.notes)
            self._note(_blocked(request.url) if blocked < MAX_BLOCKED else f"{BLOCKED} more that the page asked for.")

    def _response_received(self, response: Response) -> None:
        if response.status >= 400 and self._is_page_load(response.request):
            self.notes.append(f"The server answered {response.status} {response.status_text}".rstrip() + ".")

    def _note_failure(self, url: str, why: str) -> None:
        allowed = self.config.hosts.allows(url)
        self._note(f"{url} could not be loaded ({why.removeprefix('net::')})." if allowed else _blocked(url))

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _is_page_load(self, request: Request) -> bool:
        """Return whether the request loads the page itself, not a part of it."""
        try:
            return request.is_navigation_request() and request.frame.parent_frame is None
        except PlaywrightError:
            return False

    async def close(self) -> None:
        """Cancel all work and close the context."""
        if self._running_work is not None:
            self._running_work.cancel()
        for task in self._background_tasks:
            task.cancel()
        await self.context.close()


def _blocked(url: str) -> str:
    why = (
        "is outside the folders whose files may be opened" if url[:5] == "file:" else "is on a host that is not allowed"
    )
    return f"{BLOCKED} {url.partition('?')[0][:200]} {why} here."


async def _no_more_time() -> bool:
    return False


async def _true_when_done(work: Coroutine[Any, Any, None]) -> bool:
    await work
    return True


async def _ignore_errors(work: Callable[[], Any] | Coroutine[Any, Any, Any]) -> None:
    """Await `work` and ignore Playwright's errors."""
    with contextlib.suppress(PlaywrightError):
        await work  # type: ignore[misc]
