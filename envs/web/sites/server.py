"""HTTP server for all embedded sites, on loopback. Each episode has its own database.

The browser uses host names that end in `.test`, which `Server.resolver_rule` maps to the server. A cookie identifies
the episode. Addresses and pages contain neither the port nor the order of episodes, so they are reproducible.
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
from .content import get_kind, get_site, open_dump
from .core import Site
from .pages import FOLDER, HEADERS, Routes, SiteRequest, respond
from .tasks import SiteTask, Verdict, grade, initial_database

COOKIE = "visit"
STATIC = {"site.css": "text/css", "site.js": "text/javascript"}
IDLE_TIMEOUT = 120.0
"""Seconds without a request after which a connection is closed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SiteSession:
    """One episode on the server, and how a browser opens it."""

    url: str
    """First page, such as `http://larch-loom.test/`."""
    host: str
    """The only host that the pages of the episode request."""
    cookie: tuple[str, str]
    """Name and value of the cookie that every request needs. Set it for `url` with `HttpOnly`."""


@dataclass
class _SessionState:
    task: Task
    site: Site
    db: sqlite3.Connection
    failure: str = ""
    """The last request whose view raised an exception, with the exception; empty if there is none."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server:
    """Serves the sites until it is closed. `Server.shared()` is the server of this process.

    All methods are thread-safe. Requests of one episode are answered one at a time, so its pages depend only on the
    sequence of requests.
    """

    _shared: Server | None = None
    _sharing = threading.Lock()

    def __init__(self, get_routes: Callable[[Site], Routes] | None = None) -> None:
        """Start the server.

        Args:
            get_routes: Returns the views of a site; None for the views of its kind.
        """
        self._get_routes = get_routes or load_routes
        self._session_states: dict[str, _SessionState] = {}
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
        """Return the server of this process; start it on first use. A forked process gets its own server."""
        with cls._sharing:
            if cls._shared is None or cls._shared._pid != os.getpid():
                cls._shared = cls()
            return cls._shared

    @property
    def resolver_rule(self) -> str:
        """Value for Chromium's `--host-resolver-rules`."""
        return f"MAP *.test 127.0.0.1:{self.port}"

    def start_session(self, task: Task) -> SiteSession:
        """Start an episode with its own copy of the site's content.

        Raises:
            UsageError: If the task is not a task of an embedded site.
        """
        site_task = SiteTask.from_task(task)
        site = get_site(site_task.site)
        state = _SessionState(task, site, initial_database(site_task))
        with self._lock:
            self._count += 1
            token = f"{self._count}-{os.urandom(8).hex()}"
            self._session_states[token] = state
        return SiteSession(f"http://{site.host}{site_task.start}", site.host, (COOKIE, token))

    def end_session(self, session: SiteSession) -> None:
        """Delete the state of an episode. Repeated calls have no effect."""
        with self._lock:
            state = self._session_states.pop(session.cookie[1], None)
        if state is not None:
            with state.lock:
                state.db.close()

    def dump(self, session: SiteSession) -> bytes:
        """Return the complete state of an episode, including sign-in and cart."""
        state = self._session_state(session)
        with state.lock:
            return state.db.serialize()

    def load(self, session: SiteSession, state: bytes) -> None:
        """Restore the state that `dump` returned.

        Raises:
            UsageError: If the bytes are not a dumped state, or the episode has ended.
        """
        current = self._session_state(session)
        fresh = open_dump(state)
        with current.lock:
            current.db, old = fresh, current.db
            old.close()

    def check(self, session: SiteSession, answer: str | None) -> Verdict:
        """Score the current state of an episode and the agent's answer. Changes nothing.

        Raises:
            InfraError: If a view raised an exception during the episode, which is not the agent's fault.
        """
        state = self._session_state(session)
        with state.lock:
            if state.failure:
                raise InfraError(f"task {state.task.id!r}: {state.failure}; report it with the task's id and seed")
            return grade(state.task, state.db, answer)

    def close(self) -> None:
        """Stop the server and delete all episodes. Repeated calls have no effect."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._lock:
            session_states, self._session_states = list(self._session_states.values()), {}
        for state in session_states:
            state.db.close()

    def _session_state(self, session: SiteSession) -> _SessionState:
        with self._lock:
            state = self._session_states.get(session.cookie[1])
        if state is None:
            raise UsageError(
                f"the episode at {session.url} has ended or belongs to another server; call Server.start_session"
            )
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
            state = self._session_states.get(request.cookies.get(COOKIE, ""))
        if state is None or request.host.partition(":")[0] != state.site.host:
            return _plain_page(404, "There is no such site.")
        try:
            with state.lock:
                return respond(self._get_routes(state.site), request, state.site, state.db)
        except HTTPException as error:
            return _plain_page(error.code or 500, error.name)
        except Exception as error:
            logger.exception("%s %s of task %s failed", request.method, request.path, state.task.id)
            state.failure = f"the site failed at {request.method} {request.path} ({type(error).__name__}: {error})"
            return _plain_page(500, "Something went wrong on our side.")


def _plain_page(status: int, text: str) -> Response:
    html = f"<!doctype html><html lang=en><title>{status}</title><main><h1>{status}</h1><p>{text}</p></main></html>"
    return Response(html, status, content_type="text/html; charset=utf-8", headers=HEADERS)


def load_routes(site: Site) -> Routes:
    """Return the views of a site's kind."""
    module = importlib.import_module(f".{get_kind(site).views_module}", __package__)
    routes: Routes = module.routes
    return routes


class _Handler(WSGIRequestHandler):
    """Keeps connections open, sends without delay, and sends constant `Date` and `Server` headers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_TIMEOUT

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.debug(message, *args)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Thu, 14 May 2026 09:30:00 GMT"

    def version_string(self) -> str:
        return "kintsugi"
