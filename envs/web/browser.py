"""One Chromium for all episodes of a process: started when needed, watched, replaced when it hangs or has grown old."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import threading
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import InfraError, MissingExtraError, UsageError
from .chromium import BrowserConfig, check_chromium, end_processes, find_chromium
from .hosts import Wall
from .worker import Overdue, Worker

if TYPE_CHECKING:
    from playwright.async_api import Browser as PlaywrightBrowser
    from playwright.async_api import Playwright

    from .session import Session, SessionConfig

T = TypeVar("T")
NO_DISPLAY = "Missing X server"
"""What Chromium says when it cannot open a window at all."""

logger = logging.getLogger(__name__)


class Chromium:
    """One running browser: its processes and the sessions in it. Lives on the browser's thread."""

    def __init__(self, playwright: Playwright, browser: PlaywrightBrowser, config: BrowserConfig) -> None:
        self.playwright = playwright
        self.browser = browser
        self.config = config
        self.sessions: set[Session] = set()
        self.begun = 0
        """Episodes so far, for recycling."""
        self.group: int | None = None
        """Process group of the browser, for the time when it does not listen any more."""
        self.process: int | None = None

    @classmethod
    async def launch(cls, config: BrowserConfig) -> Chromium:
        """Start Playwright's driver and a browser.

        Raises `InfraError` when it does not start, and `UsageError` where that cannot be otherwise.
        """
        try:
            from playwright.async_api import Error, TimeoutError, async_playwright
        except ImportError:
            raise MissingExtraError("playwright", "web") from None
        try:
            playwright = await async_playwright().start()
        except Exception as error:
            raise InfraError(f"Playwright's driver did not start: {_first_line(error)}") from None
        path = ""
        try:
            path = find_chromium(config.executable, playwright.chromium.executable_path, headless=config.headless)
            browser = await playwright.chromium.launch(
                executable_path=path,
                headless=config.headless,
                args=config.arguments(),
                slow_mo=config.slow_motion,
                # Windows that no click asked for stay shut, as in every browser of people.
                ignore_default_args=["--disable-popup-blocking"],
                timeout=1000 * config.start_seconds,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
            found = cls(playwright, browser, config)
            await found._find_processes()
        except BaseException as error:
            # Ends the browser with it, where there is one.
            await playwright.stop()
            if isinstance(error, Error) and NO_DISPLAY in str(error):
                shown = os.environ.get("DISPLAY")
                raise UsageError(
                    f"Chromium found no display to open its window on ($DISPLAY is {shown!r}); "
                    "browse without a window, or on a virtual display, e.g. by xvfb-run"
                ) from None
            if isinstance(error, Error):
                if not isinstance(error, TimeoutError):
                    check_chromium(path)
                raise InfraError(f"Chromium ({path}) did not start: {_first_line(error)}") from None
            raise
        return found

    async def _find_processes(self) -> None:
        cdp = await self.browser.new_browser_cdp_session()
        said = await cdp.send("SystemInfo.getProcessInfo")
        await cdp.detach()
        self.process = next(int(p["id"]) for p in said["processInfo"] if p["type"] == "browser")
        with contextlib.suppress(ProcessLookupError, AttributeError):
            self.group = os.getpgid(self.process)

    @property
    def alive(self) -> bool:
        """Whether the browser is connected, as far as is known."""
        return bool(self.browser.is_connected())

    async def session(self, config: SessionConfig, wall: Wall) -> Session:
        """A new context, set up so that every page of it is the same on every machine."""
        from .session import Session

        view, start = config.view, datetime.fromisoformat(config.now).timestamp()
        context = await self.browser.new_context(
            viewport={"width": view.width, "height": view.height},
            locale=config.locale,
            timezone_id=config.time_zone,
            reduced_motion="reduce",
            color_scheme="light",
            device_scale_factor=1,
            accept_downloads=True,
            service_workers="block",
            proxy=config.hosts.proxy(wall),  # type: ignore[arg-type]
        )
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        filled = script.replace("__START__", json.dumps(int(1000 * start))).replace("__SEED__", str(config.seed))
        await context.add_init_script(filled)
        session = await Session.open(context, config)
        self.sessions.add(session)
        self.begun += 1
        return session

    async def ping(self) -> bool:
        """Whether the browser still answers."""
        seconds = self.config.ping_seconds
        try:
            cdp = await asyncio.wait_for(self.browser.new_browser_cdp_session(), seconds)
            await asyncio.wait_for(cdp.send("Browser.getVersion"), seconds)
            await asyncio.wait_for(cdp.detach(), seconds)
        except Exception:
            return False
        return True

    async def close(self) -> None:
        """End the browser and its driver, by force where asking does not help."""
        self.sessions.clear()
        for end in (self.browser.close, self.playwright.stop):
            try:
                await asyncio.wait_for(end(), self.config.close_seconds)
            except Exception as error:
                logger.debug("ending Chromium: %s", error)
            # A browser that closed has no processes left; one that hangs is not asked again.
            self.kill()

    def kill(self) -> None:
        """End all processes of the browser at once."""
        end_processes(self.group, (self.process,) if self.process else ())
        self.group = self.process = None


class Browser:
    """The synchronous face: works with and without a running event loop, from any thread.

    A call that outlives its deadline, a browser that went away, a page that crashed: all are `InfraError`, and the
    session they happened in is closed. A browser that does not answer even then is killed, by its process group, and
    the next session starts another; sessions that were in it end with `InfraError` at their next call.
    """

    def __init__(self, config: BrowserConfig | None = None) -> None:
        self.config = config or BrowserConfig()
        self._worker = Worker("kintsugi-browser")
        self._wall = Wall()
        self._lock = threading.Lock()
        self._current: Chromium | None = None
        self._homes: dict[Session, Chromium] = {}
        self._pid = os.getpid()
        self._version = ""

    @property
    def version(self) -> str:
        """Of Chromium, e.g. `156.0.8078.79`; recorded beside every result. Starts the browser when there is none."""
        if not self._version:
            with self._lock:
                self._chromium()
        return self._version

    @property
    def processes(self) -> tuple[int | None, int | None]:
        """Process id and group of the running browser."""
        current = self._current
        return (current.process, current.group) if current else (None, None)

    def open(self, config: SessionConfig) -> Session:
        """A session for one episode, in a browser that is not too old."""
        if self._forked:
            raise InfraError("this browser is that of the process which this one is a fork of; make another one here")
        with self._lock:
            for attempt in (0, 1):
                chromium = self._chromium()
                try:
                    session = self._worker.call(chromium.session(config, self._wall), self.config.start_seconds)
                except Exception as error:
                    # Between two episodes a browser may have died without anybody noticing.
                    self._drop(chromium)
                    if attempt:
                        raise InfraError(f"Chromium cannot open a page: {_first_line(error)}") from None
                else:
                    self._homes[session] = chromium
                    return session
        raise AssertionError

    def goes_on(self, session: Session) -> bool:
        """Whether one more episode can be played in this session: it is open, and not too old."""
        chromium = self._homes.get(session)
        if self._forked or chromium is None or not chromium.alive:
            return False
        if session.episodes >= self.config.episodes or chromium.begun >= self.config.recycle_after:
            return False
        session.episodes += 1
        chromium.begun += 1
        return True

    def run(self, session: Session, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Do something in a session; raises `InfraError`, and closes the session, when that breaks or takes longer."""
        chromium = self._homes.get(session)
        if chromium is None:
            work.close()
            raise InfraError("the browser that this episode ran in is gone")
        if self._forked:
            work.close()
            raise InfraError("the browser that this episode ran in is that of the process which this one is a fork of")
        try:
            return self._worker.call(work, seconds)
        except InfraError:
            self.close_session(session)
            raise
        except Overdue as error:
            self._check(chromium)
            self.close_session(session)
            raise InfraError(str(error)) from None
        except Exception as error:
            if not _is_playwrights(error):
                raise
            self._check(chromium)
            self.close_session(session)
            raise InfraError(f"the browser failed: {_first_line(error)}") from None

    def close_session(self, session: Session) -> None:
        """Close a session; again, or in a browser that is gone, is no error."""
        chromium = self._homes.pop(session, None)
        if chromium is None or self._forked:
            return
        chromium.sessions.discard(session)
        try:
            self._worker.call(session.close(), self.config.close_seconds)
        except Exception as error:
            logger.debug("closing a session: %s", error)
            self._check(chromium)
        if not chromium.sessions and chromium is not self._current:
            self._end(chromium)

    def close(self) -> None:
        """End the browser and its thread; can be called again. A forked child leaves its parent's alone."""
        if self._forked:
            return
        with self._lock:
            for chromium in {*self._homes.values(), *([self._current] if self._current else [])}:
                self._end(chromium)
            self._homes.clear()
            self._current = None
            self._worker.stop()
            self._wall.close()

    @property
    def _forked(self) -> bool:
        """Whether this is a copy in a forked child, which has neither the browser's thread nor its processes."""
        return os.getpid() != self._pid

    def _chromium(self) -> Chromium:
        current = self._current
        if current is not None and (not current.alive or current.begun >= self.config.recycle_after):
            self._current = None
            if not current.alive or not current.sessions:
                self._drop(current)
        if self._current is None:
            try:
                seconds = self.config.start_seconds + self.config.close_seconds
                self._current = self._worker.call(Chromium.launch(self.config), seconds)
            except Overdue as error:
                raise InfraError(f"Chromium did not start: {error}") from None
            self._version = self._current.browser.version
        return self._current

    def _check(self, chromium: Chromium) -> None:
        """Kill and forget a browser that does not answer."""
        try:
            answers = chromium.alive and self._worker.call(chromium.ping(), 4 * self.config.ping_seconds)
        except Overdue:
            answers = False
        if not answers:
            logger.warning("Chromium does not answer; it is replaced")
            self._drop(chromium)

    def _drop(self, chromium: Chromium) -> None:
        if chromium is self._current:
            self._current = None
        # Other threads close their sessions meanwhile.
        for session in [session for session, home in list(self._homes.items()) if home is chromium]:
            self._homes.pop(session, None)
        self._end(chromium)

    def _end(self, chromium: Chromium) -> None:
        if not chromium.alive:
            chromium.kill()
        try:
            self._worker.call(chromium.close(), 4 * self.config.close_seconds)
        except Exception as error:
            logger.debug("ending Chromium: %s", error)
            chromium.kill()


_shared: dict[tuple[int, BrowserConfig], Browser] = {}
_sharing = threading.Lock()


def shared_browser(config: BrowserConfig | None = None) -> Browser:
    """The browser of this configuration that this process shares; it is closed when the process ends."""
    key = os.getpid(), config or BrowserConfig()
    with _sharing:
        if key not in _shared:
            _shared[key] = browser = Browser(key[1])
            atexit.register(browser.close)
        return _shared[key]


def _is_playwrights(error: Exception) -> bool:
    return type(error).__module__.startswith("playwright.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
