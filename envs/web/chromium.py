"""Finds the Chromium executable, builds its command line and kills its processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError

EXECUTABLE_VARIABLE = "KINTSUGI_CHROMIUM"
"""Environment variable with the path of Chromium's executable."""
HEADLESS_NAMES = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
"""Executables of Chromium without windows. Pages are the same, and an episode takes half the time."""
BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Executables of Chromium with windows."""
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Observations show the final scroll position, not one on the way to it.
    "--disable-smooth-scrolling",
    # One process for all frames of a page: one tree, one coordinate system, less memory.
    "--disable-site-isolation-trials",
    # `page.js` removes WebRTC. If a page had it all the same, it could not send past the proxy of the allow-list.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    # The same option under the name that headless shells use.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


@dataclass(frozen=True)
class BrowserConfig:
    """Settings of the browser process."""

    headless: bool = True
    """Run without a window; False opens one to watch."""
    executable: str | None = None
    """Path of Chromium; None takes `$KINTSUGI_CHROMIUM`, then Playwright's Chromium, then the first on the PATH."""
    resolver_rules: tuple[str, ...] = ()
    """Rules for Chromium's `--host-resolver-rules`, e.g. `MAP *.test 127.0.0.1:8000`."""
    recycle_after: int = 100
    """Number of episodes after which Chromium and its driver are restarted, to limit memory."""
    frame_limit: bool = True
    """Draw at most 60 frames per second; False makes screenshots faster, but animated pages keep a core busy."""
    slow_motion: float = 0.0
    """Delay in milliseconds before each browser operation, to watch it in a window."""
    episodes_per_session: int = 25
    """Maximum number of episodes in one session, because a restarted page keeps memory of earlier episodes."""
    start_seconds: float = 60.0
    """Time limit in seconds to start the browser, and to open a page."""
    ping_seconds: float = 5.0
    """Time limit in seconds for the reply to a ping; a slower browser counts as hung."""
    close_seconds: float = 5.0
    """Time limit in seconds to close a page or the browser; afterwards the browser is killed."""

    def arguments(self) -> list[str]:
        """Return the command-line arguments, without those that Playwright adds."""
        found = list(ARGUMENTS)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium's sandbox does not start as root, the usual user in containers.
            found.append("--no-sandbox")
        if not self.frame_limit:
            found.append("--disable-frame-rate-limit")
        if self.resolver_rules:
            found.append(f"--host-resolver-rules={', '.join(self.resolver_rules)}")
        return found


def find_chromium(wanted: str | None, playwright_path: str, *, headless: bool = True) -> str:
    """Return the path of the browser to run.

    Args:
        wanted: Path or name of the executable; None searches for one.
        playwright_path: Where Playwright installs its Chromium; empty if unknown.
        headless: Whether an executable that cannot open windows is acceptable.

    Raises:
        UsageError: If no browser is found.
    """
    named = wanted or os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        path = shutil.which(named)
        if path is None:
            raise UsageError(f"no program {named!r} was found; expected the path of Chromium's executable")
        return path
    if playwright_path and Path(playwright_path).exists():
        return playwright_path
    path = next(filter(None, map(shutil.which, (*HEADLESS_NAMES, *BROWSER_NAMES) if headless else BROWSER_NAMES)), None)
    if path is None:
        kind = "Chromium" if headless else "Chromium that opens windows"
        raise UsageError(
            f"no {kind} was found: neither Playwright's Chromium nor one of {', '.join(BROWSER_NAMES)} on the PATH; "
            f"run 'playwright install chromium', install your system's package, or set ${EXECUTABLE_VARIABLE}"
        )
    return path


VERSION_SECONDS = 2.0
"""Time limit in seconds for `--version`."""


def check_chromium(path: str) -> None:
    """Raise `UsageError` if the program's `--version` output names another program than Chromium."""
    try:
        result = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        # A broken or slow program may still be Chromium.
        return
    first = (result.stdout.strip().splitlines() or [""])[0]
    if first and not any(name in first.lower() for name in ("chrom", "edge", "brave")):
        raise UsageError(
            f"{path} is not Chromium: '--version' printed {first[:80]!r}; expected the path of Chromium's executable"
        )


def kill_processes(group: int | None, members: tuple[int, ...] = ()) -> None:
    """Kill a process group and further processes; those that have already ended are ignored.

    The process and the group of the caller are never killed.
    """
    if group is not None and group > 1 and group != os.getpgrp():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for process in members:
        if process > 1 and process != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
