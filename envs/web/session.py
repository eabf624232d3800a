"""One episode's place in a browser: a context of its own with tabs, dialogs, downloads, and what is noticed of them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import BrowserContext, Dialog, Download, Page, Request, Response
from playwright.async_api import Error as PlaywrightError

from ...errors import InfraError
from .hosts import Hosts
from .tab import Bound, Excuse, Tab
from .view import View

BLOCKED = "Blocked:"
MOST_BLOCKED = 10
"""Requests of a page's parts, in a step, that are named when they are blocked; the page itself always is."""


@dataclass(frozen=True)
class SessionConfig:
    """What an episode's browser is like: the same for equal settings, on every machine."""

    hosts: Hosts = field(default_factory=Hosts)
    view: View = field(default_factory=View)
    locale: str = "en-US"
    time_zone: str = "UTC"
    now: str = "2026-05-14T09:30:00+00:00"
    """What the clock of every page shows when it opens, in ISO 8601; it moves with the steps alone."""
    step_time: int = 1000
    """Milliseconds that pass on a page with each step, and its timers with them."""
    seed: int = 0
    """Of `Math.random` on every page."""
    patience: float = 5.0
    """Seconds of real time in which a page has to come to rest after an action; what is there then is shown."""
    download_seconds: float = 1.0
    """How long, within patience, a download may take to appear when a navigation led nowhere; where there was no
    content, none does."""
    most_tabs: int = 8
    """Windows past this number are closed at once."""
    most_download: int = 50_000_000
    """Bytes; a larger download is given up."""


class Session:
    """A browser context while an episode lasts. Lives on the browser's thread."""

    def __init__(self, context: BrowserContext, config: SessionConfig) -> None:
        self.context = context
        self.config = config
        self.tabs: list[Tab] = []
        self.active: Tab
        self.episodes = 1
        """That were begun in it."""
        self.notes: list[str] = []
        """What happened since they were last read, in words for the agent."""
        self.dialog: Dialog | None = None
        """Open now; the page stands still until it is answered."""
        self._asked = asyncio.Event()
        self._undisturbed = asyncio.Event()
        self._undisturbed.set()
        self._dialogs = 0
        """That were opened so far."""
        self._arrived = asyncio.Event()
        self._turn: asyncio.Task[None] | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._attaching = 0
        self._refused = 0
        context.on("page", self._announce)
        # Of the context and not of each page: a new window may ask before its page is known.
        context.on("dialog", self._dialog_opened)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    @classmethod
    async def open(cls, context: BrowserContext, config: SessionConfig) -> Session:
        """A session with one empty tab."""
        session = cls(context, config)
        page = await context.new_page()
        await session._arrivals(Bound(config.patience))
        session.active = next(tab for tab in session.tabs if tab.page is page)
        return session

    # -- Turns: what is done to the page until it rests, or until a dialog keeps it ---------------------------------

    async def turn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` and wait until the pages rest, or until one of them opens a dialog.

        What the dialog interrupts goes on when it is answered.
        """
        self._turn = asyncio.ensure_future(self._work(work))
        await self._until_asked()

    async def answer(self, accept: bool, text: str | None = None) -> None:
        """Close the dialog and go on with what it interrupted."""
        dialog, self.dialog = self.dialog, None
        self._asked.clear()
        self._undisturbed.set()
        if dialog is not None:
            await (dialog.accept(text or "") if accept else dialog.dismiss())
        if self._turn is None:
            self._turn = asyncio.ensure_future(self.rest(0))
        await self._until_asked()

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        tab = self.active
        try:
            # A navigation has patience of its own; what takes longer is a script that does not end.
            done = await tab.interrupt(_finished(work), self.config.patience + 1, self._asking())
        finally:
            # What has begun ends by being cancelled; what has not would complain.
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        if done is None:
            self._note_endless()
        await self.rest(self.config.step_time)

    async def _until_asked(self) -> None:
        turn = self._turn
        if turn is None:
            return
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({turn, asked}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            turn.cancel()
            raise
        finally:
            asked.cancel()
        if turn.done():
            self._turn = None
            turn.result()

    def _asking(self) -> Excuse:
        """The excuse of what a dialog opens meanwhile: when it is open, its answer is awaited."""
        before = self._dialogs

        async def asked() -> bool:
            nonlocal before
            disturbed, before = self.dialog is not None or self._dialogs != before, self._dialogs
            await self._undisturbed.wait()
            return disturbed

        return asked

    async def rest(self, budget: int) -> None:
        """Let `budget` milliseconds of page time pass and wait, within patience, until the active tab rests."""
        await self._arrivals(Bound(self.config.patience))
        bound, asked = Bound(self.config.patience), self._asking()
        while True:
            await self._arrivals(bound)
            tab = self.active
            self._alive(tab)
            try:
                rests = await tab.interrupt(tab.settle(budget, bound), bound.left + 1, self._asking())
            except PlaywrightError:
                # The tab may have closed itself, or crashed, under our hands.
                await asyncio.sleep(0)
                self._alive(tab)
                if tab in self.tabs:
                    raise
                continue
            if rests is None:
                self._note_endless()
            elif not rests and await asked():
                # However long the answer took, it was not the page that was slow.
                bound, asked, budget = Bound(self.config.patience), self._asking(), 0
                continue
            elif not rests:
                await self._give_up(tab)
            if not rests or (tab is self.active and not self._arriving and not tab.expecting):
                return
            budget = 0

    async def _give_up(self, tab: Tab) -> None:
        tab.wait_no_more()
        if tab.loading:
            self.notes.append(f"The page did not finish loading within {self.config.patience:g} s.")
            if not await tab.interrupt(tab.stop_loading(), self.config.patience, self._asking()):
                self._note_endless()
        else:
            self.notes.append(f"The page was still busy after {self.config.patience:g} s.")

    def _note_endless(self) -> None:
        self.notes.append("A script of the page ran without end and was stopped.")

    def _alive(self, tab: Tab) -> None:
        if tab.crashed:
            raise InfraError(f"the renderer of {tab.page.url!r} crashed")

    # -- Tabs -----------------------------------------------------------------------------------------------------

    async def navigate(self, url: str) -> None:
        """Have the active tab go somewhere; where it cannot, a note says why."""
        tab = self.active
        try:
            said = await asyncio.wait_for(tab.cdp.send("Page.navigate", {"url": url}), self.config.patience)
        except TimeoutError:
            self.notes.append(f"{url} did not answer within {self.config.patience:g} s.")
            await tab.stop_loading()
            return
        if said.get("errorText") and said["errorText"] != "net::ERR_ABORTED":
            self._note_failure(url, said["errorText"])

    async def travel(self, by: int) -> None:
        """Go a page back (-1) or forward (1) in the tab's history, where there is one."""
        back, forward = await self.history()
        entry = back if by < 0 else forward
        if entry is not None:
            await self.active.cdp.send("Page.navigateToHistoryEntry", {"entryId": entry})

    async def history(self) -> tuple[int | None, int | None]:
        """Entries before and after this one in the tab's history, without the blank page that a tab begins with."""
        said = await self.active.cdp.send("Page.getNavigationHistory")
        here, entries = said["currentIndex"], said["entries"]
        back, forward = entries[max(0, here - 1) : here], entries[here + 1 : here + 2]
        ids = [next((int(e["id"]) for e in found if e["url"] != "about:blank"), None) for found in (back, forward)]
        return ids[0], ids[1]

    async def new_tab(self) -> None:
        """Open an empty tab and go to it."""
        await self.context.new_page()
        await self._arrivals(Bound(self.config.patience))

    async def switch(self, number: int) -> None:
        """Go to another tab, counted from 0."""
        self.active = self.tabs[number]
        await self.active.page.bring_to_front()

    async def close_tab(self) -> None:
        """Close the active tab."""
        await self.active.page.close()

    def _announce(self, page: Page) -> None:
        opener = next((tab for tab in self.tabs if tab.opening), None)
        if opener is not None:
            opener.opening -= 1
        self._arrived.set()
        self._keep(self._arrive(page))

    async def _arrive(self, page: Page) -> None:
        if len(self.tabs) + self._attaching >= self.config.most_tabs:
            self._refused += 1
            with contextlib.suppress(PlaywrightError):
                await page.close()
            return
        self._attaching += 1
        try:
            tab = await Tab.of(self.context, page)
        except PlaywrightError:
            # It closed itself before it could be looked at.
            return
        finally:
            self._attaching -= 1
        page.on("download", lambda download: self._download_began(tab, download))
        page.on("close", lambda _: self._left(tab))
        self.tabs.append(tab)
        self.active = tab

    def _left(self, tab: Tab) -> None:
        self._arrived.set()
        if tab in self.tabs:
            self.tabs.remove(tab)
            if tab is self.active and self.tabs:
                self.active = self.tabs[-1]
            elif not self.tabs:
                self._keep(_ignored(self.context.new_page()))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrivals(self, bound: Bound) -> None:
        """Wait for windows and downloads that are on their way."""
        # They are announced by the page that they come from, and a while later by the browser.
        await self._none(lambda tab: tab.led_nowhere, Bound(min(bound.left, self.config.download_seconds)))
        asked = self._asking()
        while not await self._none(lambda tab: tab.opening, bound):
            if not await asked():
                self.notes.append("A window that the page opened did not load in time.")
                break
            bound, asked = Bound(self.config.patience), self._asking()
        for tab in self.tabs:
            tab.opening, tab.led_nowhere = 0, False
        while self._arriving and bound.left:
            await asyncio.wait(self._arriving, timeout=bound.left)
        if self._refused:
            count, self._refused = self._refused, 0
            were = "windows that the page opened were" if count > 1 else "window that the page opened was"
            self.notes.append(f"{count} {were} closed: too many are open.")

    async def _none(self, expecting: Callable[[Tab], object], bound: Bound) -> bool:
        """Wait until no tab expects anything any more; False when time is up before."""
        while any(map(expecting, self.tabs)):
            if not bound.left:
                return False
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), bound.left)
        return True

    # -- What is noticed --------------------------------------------------------------------------------------------

    def _dialog_opened(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            self.notes.append("The page asked whether to leave it, which was answered with yes.")
            self._keep(_ignored(dialog.accept()))
            return
        self.dialog = dialog
        self._dialogs += 1
        self._undisturbed.clear()
        self._asked.set()

    def _download_began(self, tab: Tab, download: Download) -> None:
        tab.led_nowhere = False
        self._arrived.set()
        self._keep(self._downloaded(tab, download))

    async def _downloaded(self, tab: Tab, download: Download) -> None:
        name, most = download.suggested_filename, self.config.most_download
        file = asyncio.ensure_future(_size(download))
        outgrown = asyncio.ensure_future(tab.outgrown(download.url, most))
        try:
            await asyncio.wait({file, outgrown}, timeout=self.config.patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            outgrown.cancel()
        over, large, size = file.done(), outgrown.done(), 0
        what = f"The download of {name!r} {'failed' if over else 'took too long and was given up'}."
        with contextlib.suppress(PlaywrightError, OSError):
            if large or not over:
                await download.cancel()
            size = await file
            what = f"Downloaded {name!r}, {size:,} bytes."
        if large or size > most:
            what = f"The download of {name!r} is larger than {most:,} bytes and was given up."
        self.notes.append(what)

    def _failed(self, request: Request) -> None:
        why = request.failure or ""
        if self._of_a_tab(request):
            if "ERR_ABORTED" not in why:
                self._note_failure(request.url, why)
        elif not self.config.hosts.allows(request.url):
            blocked = sum(note.startswith(BLOCKED) for note in self.notes)
            self._note(_blocked(request.url) if blocked < MOST_BLOCKED else f"{BLOCKED} more that the page asked for.")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and self._of_a_tab(response.request):
            self.notes.append(f"The server answered {response.status} {response.status_text}".rstrip() + ".")

    def _note_failure(self, url: str, why: str) -> None:
        allowed = self.config.hosts.allows(url)
        self._note(f"{url} could not be loaded ({why.removeprefix('net::')})." if allowed else _blocked(url))

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _of_a_tab(self, request: Request) -> bool:
        """Whether the request is for the page itself, not for a part of it."""
        try:
            return request.is_navigation_request() and request.frame.parent_frame is None
        except PlaywrightError:
            return False

    async def close(self) -> None:
        """Close the context and all that is in it."""
        if self._turn is not None:
            self._turn.cancel()
        for task in self._arriving:
            task.cancel()
        await self.context.close()


def _blocked(url: str) -> str:
    return f"{BLOCKED} {url.partition('?')[0][:200]} is on a host that is not allowed here."


async def _size(download: Download) -> int:
    path = await download.path()
    size = path.stat().st_size
    await download.delete()
    return size


async def _finished(work: Coroutine[Any, Any, None]) -> bool:
    await work
    return True


async def _ignored(work: Callable[[], Any] | Coroutine[Any, Any, Any]) -> None:
    """Do it; whether it works does not matter."""
    with contextlib.suppress(PlaywrightError):
        await work  # type: ignore[misc]
