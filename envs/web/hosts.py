"""Allow-list of hosts. Chromium enforces it for every request of a page; the agent reads which hosts are allowed."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ...errors import UsageError

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Route

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"(\*\.)?[a-z0-9_.-]+|\*|\[[0-9a-f:]+\]")


@dataclass(frozen=True)
class AllowedHosts:
    """An allow-list of hosts; loopback only by default."""

    allowed: tuple[str, ...] = LOOPBACK
    """Host names or addresses without ports; `*.example.org` allows its subdomains, `*` allows every host."""
    folders: tuple[str, ...] = ()
    """`file:` URLs of folders whose files may be opened; other files are blocked, and so are links to them."""

    def __post_init__(self) -> None:
        if isinstance(self.allowed, str):
            raise UsageError(
                f"hosts is the string {self.allowed!r}; expected a tuple of hosts, like ({self.allowed!r},)"
            )
        if isinstance(self.folders, str):
            raise UsageError(
                f"folders is the string {self.folders!r}; expected a tuple of folders, like ({self.folders!r},)"
            )
        for host in self.allowed:
            if not _HOST.fullmatch(host):
                raise UsageError(
                    f"{host!r} is not a valid host; expected a name without scheme and port, like 'example.org', "
                    "'*.example.org', or '*' for every host"
                )
        for folder in self.folders:
            if not isinstance(folder, str) or _file_path(folder) is None:
                raise UsageError(
                    f"{folder!r} is no URL of a folder; expected 'file:' and an absolute path, like 'file:///srv/pages/'"
                )
            if ".." in unquote(folder).replace("\\", "/").split("/"):
                raise UsageError(
                    f"{folder!r} goes up with '..', to {_file_path(folder)!r}; write the path of the folder itself"
                )

    def allows(self, url: str) -> bool:
        """Return whether pages may request a URL."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
        except ValueError:
            return False
        if parts.scheme == "file":
            return any(_is_below(url, folder) for folder in self.folders)
        if parts.scheme in ("about", "blob", "data"):
            return True
        if parts.scheme not in ("http", "https", "ws", "wss"):
            return False
        host = f"[{host}]" if ":" in host else host
        return any(
            allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))
            for allowed in self.allowed
        )

    async def guard(self, context: BrowserContext) -> None:
        """Block every request of a context for a file outside the folders.

        Chromium lets a page of a file open any other file. Nothing is done without folders: such a session has no page
        of a file, and Chromium shows no files to other pages.
        """

        async def answer(route: Route) -> None:
            await (route.continue_() if self.allows(route.request.url) else route.abort("blockedbyclient"))

        if self.folders:
            await context.route(re.compile("^file:", re.IGNORECASE), answer)

    def proxy_settings(self, blocking_proxy: BlockingProxy) -> dict[str, str] | None:
        """Return Playwright's proxy settings: requests to blocked hosts go to `blocking_proxy`. None with host `*`."""
        if "*" in self.allowed:
            return None
        # Without `<-loopback>`, Chromium bypasses the proxy for all loopback and link-local addresses.
        return {"server": f"http://127.0.0.1:{blocking_proxy.port}", "bypass": ",".join(("<-loopback>", *self.allowed))}


def _file_path(url: str) -> str | None:
    """Return the absolute path of a `file:` URL, percent-decoded, without `..`; None if it names no local file."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    path = unquote(parts.path.replace("\\", "/"), errors="surrogateescape")
    # Chromium opens no file for an encoded slash.
    if parts.scheme != "file" or host not in (None, "localhost") or re.search("%(2f|5c|00)", parts.path, re.IGNORECASE):
        return None
    return os.path.normpath("/" + path.lstrip("/")) if path.startswith("/") else None


def _is_below(url: str, folder: str) -> bool:
    """Return whether a `file:` URL names a file in a folder, both as it is written and after following links."""
    path, top = _file_path(url), _file_path(folder)
    if path is None or top is None:
        return False
    try:
        pairs = (path, top), (os.path.realpath(path), os.path.realpath(top))
        return all(os.path.commonpath(pair) == pair[1] for pair in pairs)
    except ValueError:
        return False


class BlockingProxy:
    """A loopback port that refuses every connection, used as proxy for blocked hosts."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        # Bound but not listening: no other program can take the port, and no connection succeeds.
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Release the port."""
        self._socket.close()


def parse_address(text: str, schemes: Iterable[str] = ("http", "https", "file", "about")) -> str:
    """Return the URL that was typed, with `http://` if the scheme is missing.

    Raises:
        ValueError: The text is not a URL, or its scheme is not in `schemes`.
    """
    url = text.strip()
    if not url or any(c.isspace() for c in url) or not url.isprintable():
        raise ValueError("it is empty or holds spaces")
    # `host:80` has a port, `javascript:f()` has a scheme.
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?![0-9])", url):
        url = f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"its scheme is {parts.scheme!r}")
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise ValueError("it has no host")
    return url
