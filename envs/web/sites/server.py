"""One HTTP server a process, on loopback, for all embedded sites: every episode has a database of its own.

A browser reaches the sites under names that end in `.test`, which `Server.resolver_rule` maps to the server, and tells
episodes apart by a cookie. So an episode sees the same addresses and pages whichever port and place it got.
"""

from __future__ import annotations

import importlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from ....errors import InfraError, UsageError
from ...core import Task
from .content import kind_of, reopened, site_of
from .core import Site
from .pages import FOLDER, HEADERS, Routes, SiteRequest, answer
from .tasks import SiteTask, Verdict, beginning, judge

COOKIE = "visit"
STATIC = {"site.css": "text/css", "site.js": "text/javascript"}
IDLE = 120.0
"""Seconds after which a connection without a request is closed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Visit:
    """One episode at the server, and how a browser comes to it."""

    url: str
    """Where to begin: `http://larch-loom.test/`."""
    host: str
    """The only host that the episode's pages ask for."""
    cookie: tuple[str, str]
    """Name and value of the cookie that every request has to bring; set it for `url`, HTTP only."""


@dataclass
class _State:
    task: Task
    site: Site
    db: sqlite3.Connection
    broken: str = ""
    """The request that a page of ours failed at, and how; empty where none did."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server:
    """Serves the sites until it is closed; `Server.shared()` is the one of this process.

    All methods may be called from any thread. Requests of one episode are answered one at a time, so what its pages
    show is a function of the requests alone.
    """

    _shared: Server | None = None
    _sharing = threading.Lock()

    def __init__(self, views: Callable[[Site], Routes] | None = None) -> None:
        """`views` gives the pages of a site; None is those of its kind."""
        self._views = views or views_of
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._pid = os.getpid()
        self._http: BaseWSGIServer = make_server("127.0.0.1", 0, self._respond, threaded=True, request_handler=_Handler)
        self._http.daemon_threads = True  # type: ignore[attr-defined]
        self.port: int = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, name="kintsugi-sites", daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls) -> Server:
        """The server of this process, started on first use; a forked child gets its own."""
        with cls._sharing:
            if cls._shared is None or cls._shared._pid != os.getpid():
                cls._shared = cls()
            return cls._shared

    @property
    def resolver_rule(self) -> str:
        """For Chromium's `--host-resolver-rules`."""
        return f"MAP *.test 127.0.0.1:{self.port}"

    def begin(self, task: Task) -> Visit:
        """Give `task` a fresh copy of its site's content; raises `UsageError` for a task of no embedded site."""
        about = SiteTask.of(task)
        site = site_of(about.site)
        state = _State(task, site, beginning(about))
        with self._lock:
            self._count += 1
            token = f"{self._count}-{os.urandom(8).hex()}"
            self._states[token] = state
        return Visit(f"http://{site.host}{about.start}", site.host, (COOKIE, token))

    def end(self, visit: Visit) -> None:
        """Forget the episode; again is no error."""
        with self._lock:
            state = self._states.pop(visit.cookie[1], None)
        if state is not None:
            with state.lock:
                state.db.close()

    def dump(self, visit: Visit) -> bytes:
        """The episode's whole state: sign-in, cart and content."""
        state = self._state(visit)
        with state.lock:
            return state.db.serialize()

    def load(self, visit: Visit, state: bytes) -> None:
        """Make the episode's state what it was when `dump` returned `state`; raises `UsageError` for other bytes."""
        here = self._state(visit)
        fresh = reopened(state)
        with here.lock:
            here.db, old = fresh, here.db
            old.close()

    def check(self, visit: Visit, answer: str | None) -> Verdict:
        """How the episode stands, given the agent's answer; changes nothing.

        Raises `InfraError` once a page has failed: that is a fault of the site's and says nothing of the agent.
        """
        state = self._state(visit)
        with state.lock:
            if state.broken:
                raise InfraError(f"task {state.task.id!r}: {state.broken}; report it with the task's id and seed")
            return judge(state.task, state.db, answer)

    def close(self) -> None:
        """Stop serving and forget all episodes; again is no error."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._lock:
            states, self._states = list(self._states.values()), {}
        for state in states:
            state.db.close()

    def _state(self, visit: Visit) -> _State:
        with self._lock:
            state = self._states.get(visit.cookie[1])
        if state is None:
            raise UsageError(f"the episode at {visit.url} has ended or is of another server; call Server.begin")
        return state

    # -- HTTP -----------------------------------------------------------------------------------------------------

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._response(SiteRequest(environ))(environ, start_response)

    def _response(self, request: SiteRequest) -> Response:
        name = request.path.removeprefix("/static/")
        if request.path.startswith("/static/") and name in STATIC:
            headers = {"Cache-Control": "public, max-age=86400, immutable"}
            return Response((FOLDER / "static" / name).read_bytes(), content_type=STATIC[name], headers=headers)
        with self._lock:
            state = self._states.get(request.cookies.get(COOKIE, ""))
        if state is None or request.host.partition(":")[0] != state.site.host:
            return _plain(404, "There is no such site.")
        try:
            with state.lock:
                return answer(self._views(state.site), request, state.site, state.db)
        except HTTPException as error:
            return _plain(error.code or 500, error.name)
        except Exception as error:
            logger.exception("%s %s of task %s failed", request.method, request.path, state.task.id)
            state.broken = f"the site failed at {request.method} {request.path} ({type(error).__name__}: {error})"
            return _plain(500, "Something went wrong on our side.")


def _plain(status: int, text: str) -> Response:
    html = f"<!doctype html><html lang=en><title>{status}</title><main><h1>{status}</h1><p>{text}</p></main></html>"
    return Response(html, status, content_type="text/html; charset=utf-8", headers=HEADERS)


def views_of(site: Site) -> Routes:
    """The pages of a site's kind."""
    module = importlib.import_module(f".{kind_of(site).views}", __package__)
    routes: Routes = module.routes
    return routes


class _Handler(WSGIRequestHandler):
    """Keeps connections open, sends at once, logs nothing, and says nothing of time or of what serves."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.debug(message, *args)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Thu, 14 May 2026 09:30:00 GMT"

    def version_string(self) -> str:
        return "kintsugi"
