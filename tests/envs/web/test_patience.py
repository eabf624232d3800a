"""What takes its time, in the real browser: servers, scripts that arrive later, and people who are asked something."""

from __future__ import annotations

import time

import pytest
from bad_site import html

pytestmark = pytest.mark.requires("chromium")


def test_a_dialog_waits_as_long_as_the_agent_thinks(shown):
    env, _ = shown("<button onclick=\"p.textContent = confirm('Sure?')\">Ask</button><p id=p></p>")
    assert "confirm dialog 'Sure?'" in env.step("click [1]")[0]
    time.sleep(2.5)
    observation, *_ = env.step("click [1]")
    assert "text 'true'" in observation
    assert "Note" not in observation


def test_a_dialog_of_a_page_that_loads_waits_as_long(shown):
    env, seen = shown("<p>Before</p><script>alert('Hello')</script><p>After</p>")
    assert "alert dialog 'Hello'" in seen
    time.sleep(2.5)
    observation, *_ = env.step("click [1]")
    assert "text 'After'" in observation
    assert "Note" not in observation


def test_what_follows_a_dialog_is_waited_for_and_stopped_as_ever(shown, site):
    site.pages["/a"], site.pages["/b"] = b"one", b"two"
    env, _ = shown(
        "<button onclick='go()'>Go</button><button onclick='alert(1); for (;;) ;'>Stay</button><p id=p>Old</p><script>"
        "async function go() { await (await fetch('/a')).text();"
        " if (confirm('Sure?')) p.textContent = await (await fetch('/b?slow=0.4')).text() }</script>"
    )
    env.step("click [1]")
    time.sleep(1.5)
    observation, *_ = env.step("click [1]")
    assert "text 'two'" in observation
    assert "Note" not in observation
    assert "alert dialog '1'" in env.step("click [2]")[0]
    assert "Note: A script of the page ran without end and was stopped." in env.step("click [1]")[0]


def test_a_dialog_is_in_the_picture_of_it(shown):
    env, _ = shown("<button onclick=\"alert('Hello')\">Ask</button>")
    before = env.screenshot()
    env.step("click [1]")
    during = env.screenshot()
    assert during.startswith(b"\x89PNG")
    assert during != before
    assert env.picture().startswith(b"\xff\xd8")
    assert env.marked_screenshot().startswith(b"\x89PNG")
    env.step("click [1]")
    assert env.screenshot() not in (during,)


def test_a_script_without_end_that_runs_while_the_page_loads_is_stopped(shown):
    env, seen = shown("<p>Before</p><script>for (;;) ;</script><p>After</p><a href=/two>Two</a>")
    assert "Note: A script of the page ran without end and was stopped." in seen
    assert "text 'Before'" in seen
    assert "heading 'Home'" in env.step("goto [http://site.test/]")[0]


LATER = {
    "a module": "import('/chunk.js?slow=0.4')",
    "a script": "document.head.append(Object.assign(document.createElement('script'), {src: '/chunk.js?slow=0.4'}))",
    "a picture": "Object.assign(new Image(), {onerror: () => (p.textContent = 'Came'), src: '/none?slow=0.4'})",
    "an answer": "fetch('/chunk.js?slow=0.4').then((r) => r.text()).then(() => (p.textContent = 'Came'))",
}


@pytest.mark.parametrize("what", LATER)
def test_what_a_script_loads_is_waited_for(shown, site, what):
    site.pages["/chunk.js"] = b"document.querySelector('p').textContent = 'Came'"
    env, _ = shown(f'<button onclick="{LATER[what]}">Go</button><p id=p>Old</p>')
    assert "text 'Came'" in env.step("click [1]")[0]


def test_the_page_s_time_stands_still_while_it_waits_for_a_server(shown, site):
    site.pages["/data"] = b"Came"
    env, _ = shown(
        "<button onclick='go()'>Go</button><p id=p>Old</p><script>async function go() {"
        " const control = new AbortController(); setTimeout(() => control.abort(), 800);"
        " try { p.textContent = await (await fetch('/data?slow=0.3', {signal: control.signal})).text() }"
        " catch (error) { p.textContent = error.name } }</script>"
    )
    assert "text 'Came'" in env.step("click [1]")[0]


def test_a_request_without_end_is_waited_for_once(shown):
    env, _ = shown("<button onclick=\"fetch('/hangs')\">Go</button><p>Old</p>")
    assert "Note: The page was still busy after 1 s." in env.step("click [1]")[0]
    start = time.perf_counter()
    assert "Note" not in env.step("wait")[0]
    assert time.perf_counter() - start < 0.9


HELD = {
    "a poll": "fetch('/hangs'); setTimeout(() => (p.textContent = 'Done'), 300)",
    "a document left open": "document.write('<p id=p>Old</p>'); setTimeout(() => (p.textContent = 'Done'), 300)",
}


@pytest.mark.parametrize("what", HELD)
def test_timers_go_on_when_the_page_is_waited_for_no_more(shown, what):
    env, _ = shown(f'<button onclick="{HELD[what]}">Go</button><p id=p>Old</p>')
    observation, *_ = env.step("click [1]")
    assert "text 'Done'" in observation
    assert "Note: The page was still busy after 1 s." in observation


def test_a_window_that_does_not_come_is_told_once_and_takes_no_time_of_the_page(shown):
    env, _ = shown(
        "<a href=/hangs target=_blank onclick=\"setTimeout(() => (p.textContent = 'Done'), 900)\">Out</a>"
        "<p id=p>Old</p>"
    )
    observation, *_ = env.step("click [1]")
    assert observation.startswith("Note: A window that the page opened did not load in time.\nURL: ")
    assert "text 'Done'" in observation


@pytest.mark.parametrize(
    "link", ["<a href='/two?slow=1.4' target=_blank>", "<a href='#' onclick=\"window.open('/two?slow=1.4')\">"]
)
def test_a_window_whose_server_is_slow_is_waited_for(shown, link):
    env, _ = shown(f"{link}Out</a>", patience=4.0)
    assert env.step("click [1]")[0].startswith("URL: http://site.test/two")


def test_going_back_to_a_slow_page_waits_for_it(shown, site):
    site.pages["/slow"] = html("Slow", "<a href=/two>On</a>")
    env, _ = shown("<a href='/slow?slow=0.4'>Slow</a>")
    assert "Title: Slow" in env.step("click [1]")[0]
    assert "Title: Two" in env.step("click [1]")[0]
    assert "Title: Slow" in env.step("back")[0]
    assert "Title: Two" in env.step("forward")[0]
    env.step("back")
    assert "Title: Page" in env.step("back")[0]
    assert "Title: Slow" in env.step("forward")[0]


STAYS = {
    "a fragment": "location.hash = 'here'",
    "an address of its own": "history.pushState(null, '', '/two')",
    "a program of another kind": "location.href = 'mailto:a@b.test'",
    "an empty frame": "document.body.append(document.createElement('iframe'))",
    "a picture in itself": "new Image().src = 'data:image/gif;base64,R0lGOD'",
    "what is given up": "const c = new AbortController(); fetch('/hangs', c).catch(() => 0); c.abort()",
    "an answer that nobody reads": "fetch('/two').then((r) => r.ok)",
    "a worker": "new Worker('/worker.js')",
    "a stream of events": "new EventSource('/trickles')",
    "a frame that goes": "p.append(f); f.contentDocument.body.innerHTML = '<img src=/hangs>'; f.remove()",
}


@pytest.mark.parametrize("what", STAYS)
def test_what_brings_nothing_is_not_waited_for(shown, site, what):
    site.pages["/worker.js"] = b"fetch('/hangs')"
    env, _ = shown(
        f'<button onclick="go()">Go</button><p id=p>Old</p><script>const f = document.createElement("iframe");'
        f"function go() {{ {STAYS[what]}; p.textContent = 'Done'; }}</script>",
        download_seconds=30.0,
    )
    observation, *_ = env.step("click [1]")
    assert "text 'Done'" in observation
    assert "Note" not in observation
