"""Tests of waiting in the real browser: for servers, for scripts that load later, and for answers to dialogs."""

from __future__ import annotations

import time

import pytest
from bad_site import html

pytestmark = pytest.mark.requires("chromium")


def test_a_dialog_waits_for_the_agent_beyond_the_timeout(shown):
    env, _ = shown("<button onclick=\"p.textContent = confirm('Sure?')\">Ask</button><p id=p></p>")
    assert "confirm dialog 'Sure?'" in env.step("click [1]")[0]
    time.sleep(2.5)
    observation, *_ = env.step("click [1]")
    assert "text 'true'" in observation
    assert "Note" not in observation


def test_a_dialog_of_a_loading_page_waits_for_the_agent(shown):
    env, start = shown("<p>Before</p><script>alert('Hello')</script><p>After</p>")
    assert "alert dialog 'Hello'" in start
    time.sleep(2.5)
    observation, *_ = env.step("click [1]")
    assert "text 'After'" in observation
    assert "Note" not in observation


def test_work_after_a_dialog_is_waited_for_and_endless_scripts_are_stopped(shown, site):
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


def test_screenshots_show_an_open_dialog(shown):
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


def test_an_endless_script_of_a_loading_page_is_stopped(shown):
    env, start = shown("<p>Before</p><script>for (;;) ;</script><p>After</p><a href=/two>Two</a>")
    assert "Note: A script of the page ran without end and was stopped." in start
    assert "text 'Before'" in start
    assert "heading 'Home'" in env.step("goto [http://site.test/]")[0]


LATER = {
    "a module": "import('/chunk.js?slow=0.4')",
    "a script": "document.head.append(Object.assign(document.createElement('script'), {src: '/chunk.js?slow=0.4'}))",
    "an image": "Object.assign(new Image(), {onerror: () => (p.textContent = 'Came'), src: '/none?slow=0.4'})",
    "a response": "fetch('/chunk.js?slow=0.4').then((r) => r.text()).then(() => (p.textContent = 'Came'))",
}


@pytest.mark.parametrize("kind", LATER)
def test_requests_of_scripts_are_waited_for(shown, site, kind):
    site.pages["/chunk.js"] = b"document.querySelector('p').textContent = 'Came'"
    env, _ = shown(f'<button onclick="{LATER[kind]}">Go</button><p id=p>Old</p>')
    assert "text 'Came'" in env.step("click [1]")[0]


def test_page_time_stops_while_the_page_waits_for_a_server(shown, site):
    site.pages["/data"] = b"Came"
    env, _ = shown(
        "<button onclick='go()'>Go</button><p id=p>Old</p><script>async function go() {"
        " const control = new AbortController(); setTimeout(() => control.abort(), 800);"
        " try { p.textContent = await (await fetch('/data?slow=0.3', {signal: control.signal})).text() }"
        " catch (error) { p.textContent = error.name } }</script>"
    )
    assert "text 'Came'" in env.step("click [1]")[0]


def test_an_endless_request_is_waited_for_only_once(shown):
    env, _ = shown("<button onclick=\"fetch('/hangs')\">Go</button><p>Old</p>")
    assert "Note: The page was still busy after 1 s." in env.step("click [1]")[0]
    start = time.perf_counter()
    assert "Note" not in env.step("wait")[0]
    assert time.perf_counter() - start < 0.9


HELD = {
    "a poll": "fetch('/hangs'); setTimeout(() => (p.textContent = 'Done'), 300)",
    "a document left open": "document.write('<p id=p>Old</p>'); setTimeout(() => (p.textContent = 'Done'), 300)",
}


@pytest.mark.parametrize("kind", HELD)
def test_timers_continue_after_the_timeout(shown, kind):
    env, _ = shown(f'<button onclick="{HELD[kind]}">Go</button><p id=p>Old</p>')
    observation, *_ = env.step("click [1]")
    assert "text 'Done'" in observation
    assert "Note: The page was still busy after 1 s." in observation


def test_a_window_that_never_loads_is_noted_and_takes_no_page_time(shown):
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
def test_a_window_of_a_slow_server_is_waited_for(shown, link):
    env, _ = shown(f"{link}Out</a>", settle_timeout=4.0)
    assert env.step("click [1]")[0].startswith("URL: http://site.test/two")


def test_going_back_waits_for_a_slow_page(shown, site):
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
    "a pushed history entry": "history.pushState(null, '', '/two')",
    "a link to another program": "location.href = 'mailto:a@b.test'",
    "an empty frame": "document.body.append(document.createElement('iframe'))",
    "an image in a data URL": "new Image().src = 'data:image/gif;base64,R0lGOD'",
    "an aborted request": "const c = new AbortController(); fetch('/hangs', c).catch(() => 0); c.abort()",
    "a response that is not read": "fetch('/two').then((r) => r.ok)",
    "a web worker": "new Worker('/worker.js')",
    "a stream of events": "new EventSource('/trickles')",
    "a removed frame": "p.append(f); f.contentDocument.body.innerHTML = '<img src=/hangs>'; f.remove()",
}


@pytest.mark.parametrize("kind", STAYS)
def test_actions_that_load_nothing_to_wait_for_do_not_delay_the_step(shown, site, kind):
    site.pages["/worker.js"] = b"fetch('/hangs')"
    env, _ = shown(
        f'<button onclick="go()">Go</button><p id=p>Old</p><script>const f = document.createElement("iframe");'
        f"function go() {{ {STAYS[kind]}; p.textContent = 'Done'; }}</script>",
        download_seconds=30.0,
    )
    observation, *_ = env.step("click [1]")
    assert "text 'Done'" in observation
    assert "Note" not in observation
