"""Tests of worlds of files in the real browser: nothing outside the allowed folders is shown, by any way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kintsugi.envs.core import Task
from kintsugi.envs.web import WebConfig, WebEnv
from kintsugi.envs.web.hosts import AllowedHosts
from kintsugi.envs.web.worlds import Scenario, Status, World

pytestmark = pytest.mark.requires("chromium")
Show = Callable[..., str]


class PageOfFolder(Scenario):
    """Shows one file; only the files of its folder may be opened."""

    goal = "see what is there"

    def __init__(self, folder: str, page: str) -> None:
        self.hosts = AllowedHosts((), (folder,))
        self._url = folder.rstrip("/") + "/" + page

    async def start(self, session: Any) -> None:
        await session.navigate(self._url)

    async def status(self, session: Any, answer: str | None, action_log: Any) -> Status:
        return Status()


class FolderWeb(WebEnv):
    """The web environment on a folder. Subclasses set `folder`."""

    folder: str

    def world(self, task: Task) -> type[World]:
        folder = self.folder

        class Folder(World):
            name = "folder"

            @classmethod
            def scenario(cls, task: Task, hosts: Any, judge: Any) -> Scenario:
                return PageOfFolder(folder, task.params["page"])

            tasks = WebEnv.tasks

        return Folder


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Folder with secrets, and in it the folder `site` of the pages that may be shown."""
    for name in ("site/below", "site-2"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("secret.html", "site-2/secret.html"):
        (tmp_path / name).write_text("SECRET")
    (tmp_path / "secret.js").write_text("document.body.append('SECRET')")
    (tmp_path / "secret.css").write_text("body::before { content: 'SECRET' }")
    (tmp_path / "site/below/inside.html").write_text("<p>Inside")
    (tmp_path / "site/inside.js").write_text("document.body.append('Script')")
    (tmp_path / "site/out.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "site/up").symlink_to(tmp_path)
    (tmp_path / "site/in.html").symlink_to(tmp_path / "site/below/inside.html")
    return tmp_path


@pytest.fixture
def env(chromium: str, top: Path) -> Iterator[FolderWeb]:
    env = type("Web", (FolderWeb,), {"folder": (top / "site").as_uri()})(config=WebConfig(settle_timeout=2.0))
    yield env
    env.close()


@pytest.fixture
def show(env: FolderWeb, top: Path) -> Show:
    """Write a page into the folder, open it, and return what the agent reads after some actions."""

    def show(body: str, *actions: str) -> str:
        (top / "site/page.html").write_text(
            f"<!doctype html><title>Page</title><body>{body}".replace("TOP", top.as_uri())
        )
        task = Task("t", WebEnv.env_id, "test", 0, {"page": "page.html"})
        shown = [env.reset(options={"task": task})[0], *(env.step(action)[0] for action in actions)]
        return "\n".join(shown)

    return show


PARTS = {
    "a frame": "<iframe src='TOP/secret.html'></iframe>",
    "a relative frame": "<iframe src='../secret.html'></iframe>",
    "a frame of localhost": "<iframe src='file://localhost/etc/passwd'></iframe>",
    "an encoded frame": "<iframe src='%2e%2e/%73ecret.html'></iframe>",
    "an encoded slash": "<iframe src='..%2fsecret.html'></iframe>",
    "a backslash": "<iframe src='..\\secret.html'></iframe>",
    "a folder whose name begins alike": "<iframe src='../site-2/secret.html'></iframe>",
    "the folder above": "<iframe src='../'></iframe>",
    "a link of the file system": "<iframe src='out.html'></iframe>",
    "a linked folder": "<iframe src='up/secret.html'></iframe>",
    "a process": "<iframe src='file:///proc/self/environ'></iframe><iframe src='file:///proc/self/cwd/'></iframe>",
    "an object": "<object data='TOP/secret.html' type=text/html></object><embed src='TOP/secret.html' type=text/html>",
    "a frame in a frame": "<iframe srcdoc=\"<iframe src='TOP/secret.html'></iframe>\"></iframe>",
    "a data URL": "<iframe src=\"data:text/html,<iframe src='TOP/secret.html'></iframe>\"></iframe>",
    "a source view": "<iframe src='view-source:TOP/secret.html'></iframe>",
    "a script": "<script src='../secret.js'></script><script type=module>import 'TOP/secret.js'</script>",
    "a style sheet": "<link rel=stylesheet href='../secret.css'><style>@import 'TOP/secret.css'</style>",
    "a request": "<script>fetch('TOP/secret.html').then((r) => r.text()).then((t) => document.body.append(t));"
    " const r = new XMLHttpRequest(); r.open('GET', 'TOP/secret.html'); r.onload = () =>"
    " document.body.append(r.response); r.send()</script>",
    "a worker": "<script>new Worker(URL.createObjectURL(new Blob([`fetch('TOP/secret.html').then((r) => r.text())"
    ".then(postMessage)`]))).onmessage = (e) => document.body.append(e.data)</script>",
    "a reload": "<meta http-equiv=refresh content='0;url=TOP/secret.html'>",
    "a script that leaves": "<script>location = 'TOP/secret.html'</script>",
}


@pytest.mark.parametrize("kind", PARTS)
def test_no_part_of_a_page_comes_from_outside_the_folder(show: Show, kind: str):
    observation = show(PARTS[kind], "wait")
    assert "SECRET" not in observation
    assert "root:" not in observation
    assert "PATH=" not in observation


LINKS = {
    "a link": "<a href='../secret.html'>Go</a>",
    "a link to localhost": "<a href='file://localhost/etc/passwd'>Go</a>",
    "a link to a new tab": "<a href='TOP/secret.html' target=_blank>Go</a>",
    "a download": "<a href='TOP/secret.html' download>Go</a>",
    "a window": "<button onclick=\"window.open('TOP/secret.html')\">Go</button>",
    "a blank window": "<button onclick=\"window.open('').location = 'TOP/secret.html'\">Go</button>",
    "a form": "<form action='TOP/secret.html'><button>Go</button></form>",
}


@pytest.mark.parametrize("kind", LINKS)
def test_no_link_leads_out_of_the_folder(show: Show, kind: str):
    observation = show(LINKS[kind], "click [1]", "wait")
    assert "is outside the folders whose files may be opened here." in observation
    assert "SECRET" not in observation
    assert "root:" not in observation
    assert "Downloaded" not in observation


ADDRESSES = (
    "TOP/secret.html", "TOP/site/%2e%2e/secret.html", "TOP/site/up/secret.html", "TOP/site/out.html",
    "TOP/site-2/secret.html", "TOP/site/..%2fsecret.html", "TOP/site/..\\secret.html", "TOP/site//..//secret.html",
    "TOP/site/./../secret.html", "TOP/", "file:/etc/passwd", "file:////etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd",
    "file:etc/passwd", "file:\\\\\\etc\\passwd", "file:///proc/self/environ", "file://elsewhere/etc/passwd", "file://[/x",
    "view-source:TOP/secret.html", "data:text/html,<iframe src='file:///etc/passwd'>",
)  # fmt: skip


def test_no_address_outside_the_folder_can_be_opened(env: FolderWeb, show: Show, top: Path):
    show("<p>Text")
    for address in ADDRESSES:
        observation, *_, info = env.step(f"goto [{address.replace('TOP', top.as_uri())}]")
        assert "invalid" in info, address
        assert observation.endswith("text 'Text'")


def test_what_is_in_the_folder_is_shown(env: FolderWeb, show: Show, top: Path):
    observation = show("<iframe src='below/inside.html'></iframe><script src=inside.js></script><a href=in.html>Go</a>")
    assert "text 'Inside'" in observation
    assert "text 'Script'" in observation
    assert "text 'Inside'" in env.step("click [1]")[0]
    for address in ("site/below/inside.html", "site/%62elow/inside.html", "site/below/../in.html"):
        assert "text 'Inside'" in env.step(f"goto [{top.as_uri()}/{address}]")[0]
