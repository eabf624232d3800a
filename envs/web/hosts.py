"""Which hosts a page may ask for: kept by Chromium itself, for every request of every kind, and said to the agent."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import UsageError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"(\*\.)?[a-z0-9_.-]+|\*|\[[0-9a-f:]+\]")


@dataclass(frozen=True)
class Hosts:
    """An allow-list; by default nothing but this machine."""

    allowed: tuple[str, ...] = LOOPBACK
    """Names or addresses without ports; `*.example.org` is all names below, `*` all there are."""
    folders: tuple[str, ...] = ()
    """`file:` addresses, and what lies below, that may be opened; pages from disk are refused otherwise."""

    def __post_init__(self) -> None:
        if isinstance(self.allowed, str):
            raise UsageError(f"hosts is the text {self.allowed!r}; expected a tuple of them, like ({self.allowed!r},)")
        for host in self.allowed:
            if not _HOST.fullmatch(host):
                raise UsageError(
                    f"{host!r} is no host to allow; give names without scheme and port, like 'example.org', "
                    "'*.example.org', or '*' for all"
                )

    def allows(self, url: str) -> bool:
        """Whether an address may be asked for."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
        except ValueError:
            return False
        if parts.scheme == "file":
            return any(url.startswith(folder) for folder in self.folders) and ".." not in url
        if parts.scheme in ("about", "blob", "data"):
            return True
        if parts.scheme not in ("http", "https", "ws", "wss"):
            return False
        host = f"[{host}]" if ":" in host else host
        return any(
            allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))
            for allowed in self.allowed
        )

    def proxy(self, wall: Wall) -> dict[str, str] | None:
        """Playwright's proxy setting that sends all other requests against a wall."""
        if "*" in self.allowed:
            return None
        # Without the first rule Chromium lets loopback and link-local addresses pass, whoever allowed them or not.
        return {"server": f"http://127.0.0.1:{wall.port}", "bypass": ",".join(("<-loopback>", *self.allowed))}


class Wall:
    """A port on loopback that refuses every connection, for as long as it is held."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        # Bound and never listening: nobody else can get the port, and nobody can connect to it.
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()


def address(text: str, names: Iterable[str] = ("http", "https", "file", "about")) -> str:
    """A URL as people type it, with the scheme that they leave out; raises `ValueError` when it is none."""
    url = text.strip()
    if not url or any(c.isspace() for c in url) or not url.isprintable():
        raise ValueError("it is empty or holds spaces")
    # `host:80` has a port where `javascript:f()` has a scheme.
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?![0-9])", url):
        url = f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in names:
        raise ValueError(f"its scheme is {parts.scheme!r}")
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise ValueError("it has no host")
    return url
