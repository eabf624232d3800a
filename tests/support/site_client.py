"""HTTP client for the embedded sites, and an HTML parser for their pages."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urlencode

from kintsugi.envs.core import Task
from kintsugi.envs.web.sites.server import Server, SiteSession
from kintsugi.envs.web.sites.tasks import Verdict, make_tasks

VOID = {"area", "base", "br", "circle", "hr", "img", "input", "link", "meta", "path", "rect", "source"}


class HttpResponse(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class SiteClient:
    """Client of one episode on a server."""

    def __init__(self, server: Server, task: Task) -> None:
        self.server = server
        self.task = task
        self.session: SiteSession = server.start_session(task)

    def request(self, method: str, path: str, form: dict[str, object] | None = None, **headers: str) -> HttpResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        sent = {"Host": self.session.host, "Cookie": "{}={}".format(*self.session.cookie)}
        body = None
        if form is not None:
            body = urlencode(form)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, {**sent, **{k.replace("_", "-"): v for k, v in headers.items()}})
            response = connection.getresponse()
            return HttpResponse(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> HttpResponse:
        return self.request("GET", path)

    def post(self, path: str, **form: object) -> HttpResponse:
        """Submit a form and follow the redirect."""
        response = self.request("POST", path, form)
        return self.get(response.headers["Location"]) if response.status == 303 else response

    def verdict(self, answer: str | None = None) -> Verdict:
        return self.server.check(self.session, answer)


def task_of(type_: str, split: str = "train", number: int = 0) -> Task:
    """Return a task of a type. Deterministic."""
    found = [task for task in make_tasks(split, 29 * 7 * (number + 1)) if task.params["type"] == type_]
    return found[number]


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    parents: list[str] = field(default_factory=list)
    """Tags of the enclosing elements."""


class Document(HTMLParser):
    """Elements of a page. Fails if an end tag does not match its start tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        self.unclosed = [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), parents=[each.tag for each in self._open])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            closed = self._open.pop()
            assert closed.tag == tag, f"<{closed.tag}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    @property
    def links(self) -> list[str]:
        return [str(a.attributes["href"]) for a in self.all("a")]
