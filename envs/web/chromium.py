"""Which Chromium is run, with which arguments, and how all of its processes are ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError

VARIABLE = "KINTSUGI_CHROMIUM"
"""Names the browser's executable where the code does not."""
SHELLS = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
"""Chromium without windows: the same pages, and an episode takes half the time, since no window is made for it."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Where a page is scrolled to, and not somewhere on the way.
    "--disable-smooth-scrolling",
    # All frames of a page in one process: one tree, one set of coordinates, less memory.
    "--disable-site-isolation-trials",
    # The allow-list is kept by a proxy; what would go around it (WebRTC's UDP) must not.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    # What Chromium without windows calls the same.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


@dataclass(frozen=True)
class BrowserConfig:
    """How Chromium is run."""

    headless: bool = True
    """False opens a window, for people to watch."""
    executable: str | None = None
    """Path of Chromium; None is `$KINTSUGI_CHROMIUM`, else Playwright's own, else the first on the PATH."""
    resolver_rules: tuple[str, ...] = ()
    """Chromium's `--host-resolver-rules`, e.g. `MAP *.test 127.0.0.1:8000`."""
    recycle_after: int = 100
    """Episodes after which Chromium and its driver are replaced by new ones, which bounds their memory."""
    frame_limit: bool = True
    """Whether sixty frames are drawn a second at most; without it, pictures come sooner, and animated pages keep a core
    busy."""
    slow_motion: float = 0.0
    """Milliseconds that a person gets to see each action in a window; 0 for everything else."""
    episodes: int = 25
    """Episodes that go on in one session at most: a page that begins again and again keeps what it had before."""
    start_seconds: float = 60.0
    """How long a browser may take to start, and to open a page."""
    ping_seconds: float = 5.0
    """How long a browser may take to say its version before it counts as hung."""
    close_seconds: float = 5.0
    """How long a page, and a browser, may take to close before it is ended by force."""

    def arguments(self) -> list[str]:
        """The command line, without what Playwright adds."""
        found = list(ARGUMENTS)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium's own sandbox refuses to be set up by root, as in most containers.
            found.append("--no-sandbox")
        if not self.frame_limit:
            found.append("--disable-frame-rate-limit")
        if self.resolver_rules:
            found.append(f"--host-resolver-rules={', '.join(self.resolver_rules)}")
        return found


def find_chromium(wanted: str | None, playwrights: str, *, headless: bool = True) -> str:
    """Path of the browser to run; raises `UsageError` when there is none.

    `playwrights` is where Playwright would have put its own; empty where that is not known. What cannot open a window
    is chosen only where none is wanted.
    """
    named = wanted or os.environ.get(VARIABLE)
    if named:
        path = shutil.which(named)
        if path is None:
            raise UsageError(f"there is no program {named!r} to browse with; give the path of Chromium's executable")
        return path
    if playwrights and Path(playwrights).exists():
        return playwrights
    path = next(filter(None, map(shutil.which, (*SHELLS, *NAMES) if headless else NAMES)), None)
    if path is None:
        wanted = "Chromium" if headless else "Chromium that opens windows"
        raise UsageError(
            f"no {wanted} was found: neither Playwright's own nor one of {', '.join(NAMES)} on the PATH; run "
            f"'playwright install chromium', install your system's package, or set ${VARIABLE}"
        )
    return path


VERSION_SECONDS = 2.0
"""How long a program may take to say its version."""


def check_chromium(path: str) -> None:
    """Raise `UsageError` when this program says, asked for its version, that it is another one."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        # One that is broken, or slow, may be Chromium all the same.
        return
    first = (said.stdout.strip().splitlines() or [""])[0]
    if first and not any(name in first.lower() for name in ("chrom", "edge", "brave")):
        raise UsageError(
            f"{path} is no Chromium: asked for its version, it said {first[:80]!r}; "
            "give the path of Chromium's executable"
        )


def end_processes(group: int | None, members: tuple[int, ...] = ()) -> None:
    """Kill a process group and further processes, at once; those that have ended are no error.

    Our own group is never killed.
    """
    if group is not None and group > 1 and group != os.getpgrp():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for process in members:
        if process > 1 and process != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
