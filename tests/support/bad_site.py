"""A loopback site that misbehaves in the ways that web pages do, and a web environment that uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kintsugi.envs.core import Task, TaskSet
from kintsugi.envs.web import WebEnv
from kintsugi.envs.web.hosts import LOOPBACK, AllowedHosts
from kintsugi.envs.web.session import Session
from kintsugi.envs.web.worlds import Scenario, Status

HEAD = "<!doctype html><html lang=en><meta charset=utf-8><title>{0}</title><body>"
DOWNLOAD: Mapping[str, Any] = {"Content-Disposition": "attachment; filename=t.csv"}
PLAIN = "text/html; charset=utf-8"


def html(title: str, body: str) -> bytes:
    return (HEAD.format(title) + body).encode()


class BadSite:
    """Serves `pages` (path to body) and the misbehaviours; `requests` lists the requested paths.

    A query like `?slow=1` delays any response by this number of seconds.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {"/": html("Home", "<h1>Home</h1><a href=/two>Two</a>")}
        self.pages["/two"] = html("Two", "<h1>Two</h1><a href=/>Home</a>")
        self.requests: list[str] = []
        self.closing = threading.Event()
        self.sent: int | None = None
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *values: Any) -> None:
                pass

            def do_GET(self) -> None:
                site.requests.append(self.path)
                site.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        if query.startswith("slow="):
            self.closing.wait(float(query.removeprefix("slow=")))
        misbehaviours: dict[str, Callable[[], None]] = {
            "/hangs": self._hang,
            "/trickles": lambda: self._trickle(handler),
            "/500": lambda: self._send(handler, html("Broken", "<h1>Internal error</h1>"), status=500),
            "/204": lambda: self._send(handler, b"", status=204),
            "/loop": lambda: self._send(handler, b"", status=302, Location=f"/loop?{len(self.requests)}"),
            "/file": lambda: self._send(handler, b"a,b\n1,2\n", "text/csv", **DOWNLOAD),
            "/endless-file": lambda: self._send_endless_file(handler),
            "/away": lambda: self._send(handler, b"", status=302, Location="http://elsewhere.example/page"),
        }
        if path in misbehaviours:
            misbehaviours[path]()
        elif path in self.pages:
            self._send(handler, self.pages[path], "text/javascript" if path.endswith(".js") else PLAIN)
        else:
            self._send(handler, html("Nowhere", "Nothing here"), status=404)

    def _send(
        self, handler: BaseHTTPRequestHandler, body: bytes, kind: str = PLAIN, status: int = 200, **more: str
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _send_endless_file(self, handler: BaseHTTPRequestHandler) -> None:
        """Send an endless download; `sent` is the number of bytes that the client accepted."""
        sent, handler.close_connection = 0, True
        handler.send_response(200)
        for name, value in {"Content-Type": "text/csv", **DOWNLOAD}.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            while not self.closing.wait(0.005):
                sent += handler.wfile.write(b"1,2\n" * 250_000)
        except OSError:
            pass
        finally:
            self.sent = sent

    def _hang(self) -> None:
        self.closing.wait(30)

    def _trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """Send a page that never ends."""
        handler.send_response(200)
        handler.send_header("Content-Type", PLAIN)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        start = html("Slow", "<h1>The beginning</h1><button>Go</button>")
        handler.wfile.write(f"{len(start):x}\r\n".encode() + start + b"\r\n")
        while not self.closing.wait(0.2):
            try:
                handler.wfile.write(b"1\r\n \r\n")
            except OSError:
                return


class BadScenario(Scenario):
    """An episode on the site; the answer `right` is a success."""

    def __init__(self, site: BadSite, start: str, hosts: AllowedHosts) -> None:
        self.goal, self.hosts = "see what happens", hosts
        self.url_prefix = site.url, "http://site.test"
        self._start = site.url + start

    async def start(self, session: Session) -> None:
        await session.navigate(self._start)

    async def status(self, session: Session, answer: str | None, action_log: Sequence[tuple[str, str]]) -> Status:
        return Status(float(answer == "right"), answer == "right")


def world_on(site: BadSite, allowed: tuple[str, ...] = LOOPBACK) -> type:
    class World:
        @classmethod
        def resolver_rules(cls) -> tuple[str, ...]:
            return ()

        @classmethod
        def scenario(cls, task: Task, hosts: Sequence[str], judge: Any) -> Scenario:
            return BadScenario(site, str(task.params["start"]), AllowedHosts(allowed))

    return World


class BadWeb(WebEnv):
    """The web environment on a misbehaving site. Subclasses set `site`."""

    site: BadSite
    allowed = LOOPBACK

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, world: str = "", **params: Any) -> TaskSet:
        return TaskSet([task_at("/")])

    def world(self, task: Task) -> Any:
        return world_on(self.site, self.allowed)


def task_at(start: str) -> Task:
    """Return the task that starts at a path."""
    return Task(f"bad{start}", WebEnv.env_id, "train", 0, {"start": start})


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for a condition to become true; return whether it did."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


class ClickTest(WebEnv):
    """One page of MiniWoB++, whose episodes restart without a reload."""

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, world: str = "", **params: Any) -> TaskSet:
        return WebEnv.tasks(split, 20 if n is None else n, seed, world="miniwob", page="click-checkboxes")


def page_lines(observation: str) -> list[str]:
    """Return the lines of the page, without URL, title and notes."""
    found = observation.splitlines()
    first = next(i for i, line in enumerate(found) if line.startswith("Title:") or " dialog " in line)
    return found[first + found[first].startswith("Title:") :]


def play(env: WebEnv, *actions: str) -> list[str]:
    """Play actions, none of which may be refused, and return the lines of the page after the last one."""
    for action in actions:
        observation, _, _, _, info = env.step(action)
        assert "invalid" not in info, f"{action}: {info['invalid']}"
    return page_lines(observation)
