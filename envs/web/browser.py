"""Chromium, shared by all episodes of a process: started on demand, replaced if it hangs and after many episodes."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import InfraError, MissingExtraError, UsageError
from .browser_thread import BrowserThread, CallTimeout
from .chromium import BrowserConfig, check_chromium, find_chromium, kill_processes
from .hosts import BlockingProxy

if TYPE_CHECKING:
    from playwright.async_api import Browser as PlaywrightBrowser
    from playwright.async_api import Playwright

    from .session import Session
    from .session_config import SessionConfig

T = TypeVar("T")
NO_DISPLAY = "Missing X server"
"""Part of Chromium's error message when there is no display to open a window on."""

logger = logging.getLogger(__name__)


class Chromium:
    """A running browser with its processes and sessions. All methods run on the browser thread."""

    def __init__(self, playwright: Playwright, browser: PlaywrightBrowser, config: BrowserConfig) -> None:
        self.playwright = playwright
        self.browser = browser
        self.config = config
        self.sessions: set[Session] = set()
        self.episodes_started = 0
        """Number of episodes started in this browser; limited by `recycle_after`."""
        self.group: int | None = None
        """Process group of the browser, to kill it when it no longer responds."""
        self.process: int | None = None

    @classmethod
    async def launch(cls, config: BrowserConfig) -> Chromium:
        """Start Playwright's driver and a browser.

        Raises:
            InfraError: If the browser does not start, though a retry may succeed.
            UsageError: If the browser cannot start in this setup: no display, or not a Chromium executable.
            MissingExtraError: If Playwright is not installed.
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
                # Pop-ups without a user gesture stay blocked, as in an ordinary browser.
                ignore_default_args=["--disable-popup-blocking"],
                timeout=1000 * config.start_seconds,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
            found = cls(playwright, browser, config)
            await found._find_processes()
        except BaseException as error:
            # Stopping the driver also ends a browser that already runs.
            await playwright.stop()
            if isinstance(error, Error) and NO_DISPLAY in str(error):
                display = os.environ.get("DISPLAY")
                raise UsageError(
                    f"Chromium found no display to open its window on ($DISPLAY is {display!r}); "
                    "pass headless=True, or use a virtual display such as xvfb-run"
                ) from None
            if isinstance(error, Error):
                if not isinstance(error, TimeoutError):
                    check_chromium(path)
                raise InfraError(f"Chromium ({path}) did not start: {_first_line(error)}") from None
            raise
        return found

    async def _find_processes(self) -> None:
        cdp = await self.browser.new_browser_cdp_session()
        reply = await cdp.send("SystemInfo.getProcessInfo")
        await cdp.detach()
        self.process = next(int(p["id"]) for p in reply["processInfo"] if p["type"] == "browser")
        with contextlib.suppress(ProcessLookupError, AttributeError):
            self.group = os.getpgid(self.process)

    @property
    def alive(self) -> bool:
        """Whether Playwright is connected to the browser. A hung browser may still be connected."""
        return bool(self.browser.is_connected())

    async def session(self, config: SessionConfig, blocking_proxy: BlockingProxy) -> Session:
        """Open a session whose pages behave the same on every machine."""
        from .session import Session

        view, clock_start = config.view, datetime.fromisoformat(config.start_time).timestamp()
        context = await self.browser.new_context(
            viewport={"width": view.width, "height": view.height},
            locale=config.locale,
            timezone_id=config.time_zone,
            reduced_motion="reduce",
            color_scheme="light",
            device_scale_factor=1,
            accept_downloads=True,
            service_workers="block",
            proxy=config.hosts.proxy_settings(blocking_proxy),  # type: ignore[arg-type]
        )
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        # Pages must not know the name of the events that ask whether they are idle.
        channel = f"kintsugi-{secrets.token_hex(8)}"
        for name, value in {"START": int(1000 * clock_start), "SEED": config.seed, "CHANNEL": channel}.items():
            script = script.replace(f"__{name}__", str(value))
        await context.add_init_script(script)
        await config.hosts.guard(context)
        session = await Session.open(context, config, channel)
        self.sessions.add(session)
        self.episodes_started += 1
        return session

    async def ping(self) -> bool:
        """Return whether the browser answers within `ping_seconds`."""
        seconds = self.config.ping_seconds
        try:
            cdp = await asyncio.wait_for(self.browser.new_browser_cdp_session(), seconds)
            await asyncio.wait_for(cdp.send("Browser.getVersion"), seconds)
            await asyncio.wait_for(cdp.detach(), seconds)
        except Exception:
            return False
        return True

    async def close(self) -> None:
        """Close the browser and its driver; kill the processes if closing fails or takes too long."""
        self.sessions.clear()
        for end in (self.browser.close, self.playwright.stop):
            try:
                await asyncio.wait_for(end(), self.config.close_seconds)
            except Exception as error:
                logger.debug("closing Chromium failed: %s", error)
            # This has no effect on a closed browser. A hung browser is killed before its driver is stopped.
            self.kill()

    def kill(self) -> None:
        """Kill all processes of the browser."""
        kill_processes(self.group, (self.process,) if self.process else ())
        self.group = self.process = None


class Browser:
    """Synchronous interface to Chromium. Works from any thread, with or without a running event loop.

    A call that exceeds its time limit, a lost browser and a crashed page all raise `InfraError` and close the session.
    If the browser then does not answer a ping, its process group is killed and the next session starts a new
    browser. The remaining sessions of a killed browser raise `InfraError` at their next call.
    """

    def __init__(self, config: BrowserConfig | None = None) -> None:
        self.config = config or BrowserConfig()
        self._browser_thread = BrowserThread("kintsugi-browser")
        self._blocking_proxy = BlockingProxy()
        self._lock = threading.Lock()
        self._current: Chromium | None = None
        self._chromium_by_session: dict[Session, Chromium] = {}
        self._pid = os.getpid()
        self._version = ""

    @property
    def version(self) -> str:
        """Version of Chromium, e.g. `156.0.8078.79`; stored with every result. Starts the browser if necessary."""
        if not self._version:
            with self._lock:
                self._chromium()
        return self._version

    @property
    def processes(self) -> tuple[int | None, int | None]:
        """Process id and process group of the running browser; `(None, None)` without one."""
        current = self._current
        return (current.process, current.group) if current else (None, None)

    def open(self, config: SessionConfig) -> Session:
        """Open a session for an episode.

        Raises:
            InfraError: If the browser does not start or cannot open a page, or if the process was forked.
        """
        if self._is_forked:
            raise InfraError(
                "this browser belongs to the parent of this forked process; create a new Browser in the child"
            )
        with self._lock:
            for attempt in (0, 1):
                chromium = self._chromium()
                try:
                    session = self._browser_thread.call(
                        chromium.session(config, self._blocking_proxy), self.config.start_seconds
                    )
                except Exception as error:
                    # The browser may have died between two episodes, so try once more with a new one.
                    self._discard(chromium)
                    if attempt:
                        raise InfraError(f"Chromium cannot open a page: {_first_line(error)}") from None
                else:
                    self._chromium_by_session[session] = chromium
                    return session
        raise AssertionError

    def reuse_session(self, session: Session) -> bool:
        """Count one more episode in this session if it is open and below its limits; return whether it was counted."""
        chromium = self._chromium_by_session.get(session)
        if self._is_forked or chromium is None or not chromium.alive:
            return False
        if (
            session.episodes_started >= self.config.episodes_per_session
            or chromium.episodes_started >= self.config.recycle_after
        ):
            return False
        session.episodes_started += 1
        chromium.episodes_started += 1
        return True

    def run(self, session: Session, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine in a session.

        Args:
            session: A session of this browser.
            work: The coroutine; it runs on the browser thread.
            seconds: Time limit in seconds.

        Raises:
            InfraError: If the browser fails or exceeds the limit. The session is then closed.
        """
        chromium = self._chromium_by_session.get(session)
        if chromium is None:
            work.close()
            raise InfraError("the browser of this episode is gone; reset the environment")
        if self._is_forked:
            work.close()
            raise InfraError(
                "the browser of this episode belongs to the parent of this forked process; reset the environment"
            )
        try:
            return self._browser_thread.call(work, seconds)
        except InfraError:
            self.close_session(session)
            raise
        except CallTimeout as error:
            self._replace_if_hung(chromium)
            self.close_session(session)
            raise InfraError(str(error)) from None
        except Exception as error:
            if not _is_playwright_error(error):
                raise
            self._replace_if_hung(chromium)
            self.close_session(session)
            raise InfraError(f"the browser failed: {_first_line(error)}") from None

    def close_session(self, session: Session) -> None:
        """Close a session. Does nothing if the session or its browser is already closed."""
        chromium = self._chromium_by_session.pop(session, None)
        if chromium is None or self._is_forked:
            return
        chromium.sessions.discard(session)
        try:
            self._browser_thread.call(session.close(), self.config.close_seconds)
        except Exception as error:
            logger.debug("closing a session failed: %s", error)
            self._replace_if_hung(chromium)
        if not chromium.sessions and chromium is not self._current:
            self._stop(chromium)

    def close(self) -> None:
        """Close the browser and its thread. Can be called repeatedly; in a forked child it does nothing."""
        if self._is_forked:
            return
        with self._lock:
            for chromium in {*self._chromium_by_session.values(), *([self._current] if self._current else [])}:
                self._stop(chromium)
            self._chromium_by_session.clear()
            self._current = None
            self._browser_thread.stop()
            self._blocking_proxy.close()

    @property
    def _is_forked(self) -> bool:
        """Whether this is the copy in a forked child, which has neither the browser thread nor the processes."""
        return os.getpid() != self._pid

    def _chromium(self) -> Chromium:
        current = self._current
        if current is not None and (not current.alive or current.episodes_started >= self.config.recycle_after):
            self._current = None
            if not current.alive or not current.sessions:
                self._discard(current)
        if self._current is None:
            try:
                seconds = self.config.start_seconds + self.config.close_seconds
                self._current = self._browser_thread.call(Chromium.launch(self.config), seconds)
            except CallTimeout as error:
                raise InfraError(f"Chromium did not start: {error}") from None
            self._version = self._current.browser.version
        return self._current

    def _replace_if_hung(self, chromium: Chromium) -> None:
        """Kill and discard the browser if it does not answer a ping."""
        try:
            answers = chromium.alive and self._browser_thread.call(chromium.ping(), 4 * self.config.ping_seconds)
        except CallTimeout:
            answers = False
        if not answers:
            logger.warning("Chromium does not answer; a new browser replaces it")
            self._discard(chromium)

    def _discard(self, chromium: Chromium) -> None:
        if chromium is self._current:
            self._current = None
        # Copy: other threads may close their sessions during the loop.
        for session in [session for session, owner in list(self._chromium_by_session.items()) if owner is chromium]:
            self._chromium_by_session.pop(session, None)
        self._stop(chromium)

    def _stop(self, chromium: Chromium) -> None:
        if not chromium.alive:
            chromium.kill()
        try:
            self._browser_thread.call(chromium.close(), 4 * self.config.close_seconds)
        except Exception as error:
            logger.debug("closing Chromium failed: %s", error)
            chromium.kill()


_shared: dict[tuple[int, BrowserConfig], Browser] = {}
_shared_lock = threading.Lock()


def shared_browser(config: BrowserConfig | None = None) -> Browser:
    """Return the browser that this process shares for a configuration. It is closed when the process ends."""
    key = os.getpid(), config or BrowserConfig()
    with _shared_lock:
        if key not in _shared:
            _shared[key] = browser = Browser(key[1])
            atexit.register(browser.close)
        return _shared[key]


def _is_playwright_error(error: Exception) -> bool:
    return type(error).__module__.startswith("playwright.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
