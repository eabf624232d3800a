"""Settings of a browser session."""

from __future__ import annotations

from dataclasses import dataclass, field

from .hosts import AllowedHosts
from .view import View


@dataclass(frozen=True)
class SessionConfig:
    """Settings of a browser session. Equal settings give equal pages on every machine."""

    hosts: AllowedHosts = field(default_factory=AllowedHosts)
    view: View = field(default_factory=View)
    locale: str = "en-US"
    time_zone: str = "UTC"
    start_time: str = "2026-05-14T09:30:00+00:00"
    """Initial time of the clock of every page, in ISO 8601; the clock moves only with the steps."""
    step_time: int = 1000
    """Page time that passes with each step, in milliseconds; timers of the page run accordingly."""
    seed: int = 0
    """Seed of `Math.random` and `crypto` on every page."""
    settle_timeout: float = 5.0
    """Time limit in real seconds for a page to become idle after an action."""
    download_seconds: float = 1.0
    """Seconds to wait for a download after a navigation that ended without a document; part of `settle_timeout`."""
    max_tabs: int = 8
    """Maximum number of tabs; further windows are closed at once."""
    max_download_bytes: int = 50_000_000
    """Maximum size of a download; a larger one is cancelled."""
