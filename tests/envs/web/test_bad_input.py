"""Tests of failing pages and servers in the real browser: the agent reads a note, or `InfraError` is raised."""

from __future__ import annotations

import socket

import pytest
from bad_site import html, task_at, wait_until
from kintsugi.errors import InfraError

pytestmark = pytest.mark.requires("chromium")


def open_page(web, start="/", **options):
    env = web(**options)
    return env, env.reset(options={"task": task_at(start)})[0]


def assert_still_works(env):
    """Check that the same environment can play another episode."""
    observation, _ = env.reset(options={"task": task_at("/")})
    assert "heading 'Home' level 1" in observation
    assert env.step("click [1]")[0].splitlines()[0] == "URL: http://site.test/two"


REFUSED = {
    "click [99]": "there is no element [99] on this page, which has 1",
    "click [one]": "'one' is no number of an element, like the 12 of [12]: click [id]",
    "click": "click takes 1 argument, not 0: click [id]",
    "clik [1]": "unknown action 'clik'; did you mean 'click'",
    "type [1] [x]": "[1] is a link, which takes no text; click it, or type into a field",
    "select [1] [x]": "[1]: it is no drop-down list; click it instead",
    "press [Entre]": "there is no key 'Entre'",
    "scroll [sideways]": "'sideways' is no direction",
    "goto [not an address]": "'not an address' is no address to go to",
    "goto [chrome://crash]": "'chrome://crash' is no address to go to: its scheme is 'chrome'",
    "goto [file:///etc/passwd]": "'file:///etc/passwd' is not allowed here",
    "goto [javascript:alert(1)]": "'javascript:alert(1)' is no address to go to",
    "goto [http://elsewhere.example/]": "'http://elsewhere.example/' is not allowed here; allowed hosts: 127.0.0.1",
    "back": "there is no page to go back to in this tab",
    "switch_tab [4]": "there is no tab '4'",
    "close_tab": "this is the only tab",
    "click [1": "a ']' is missing at the end",
}


def test_impossible_actions_are_refused_with_the_reason(web):
    env, _ = open_page(web)
    for action, reason in REFUSED.items():
        observation, reward, over, _, info = env.step(action)
        assert info["invalid"].startswith(reason)
        assert observation.startswith(f"Refused: {reason}")
        assert observation.endswith("[1] link 'Two'")
        assert (reward, over) == (0.0, False)


def test_a_removed_element_is_refused(web, site):
    site.pages["/leaves"] = html("Leaves", "<button onclick='b.remove()'>A</button><button id=b>B</button>")
    env, _ = open_page(web, "/leaves")
    assert env.step("click [1]")[0].splitlines()[-1] == "[1] button 'A' focused"
    assert env.step("click [2]")[4]["invalid"] == "there is no element [2] on this page, which has 1"


def test_a_hanging_server_is_noted(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://site.test/hangs]")
    assert observation.startswith("Note: http://site.test/hangs did not answer within 1 s.\nURL: http://site.test/\n")
    assert_still_works(env)


def test_a_page_that_never_finishes_loading_can_be_used(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://site.test/trickles]")
    assert "Note: The page did not finish loading within 1 s." in observation
    assert "heading 'The beginning' level 1" in observation
    assert "invalid" not in env.step("click [1]")[4]
    assert_still_works(env)


def test_a_server_error_is_noted(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://site.test/500]")
    assert observation.startswith("Note: The server answered 500 Internal Server Error.\n")
    assert "heading 'Internal error'" in observation
    assert_still_works(env)


def test_an_address_that_the_browser_refuses_is_noted(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://127.0.0.1:99999999/]")
    assert observation.startswith("Note: http://127.0.0.1:99999999/ is no valid address.\nURL: ")
    assert_still_works(env)


def test_an_endless_redirect_is_noted(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://site.test/loop]")
    assert "could not be loaded (ERR_TOO_MANY_REDIRECTS)" in observation.splitlines()[0]
    assert_still_works(env)


def test_a_crashed_renderer_is_an_infra_error(web):
    env, _ = open_page(web)
    session = env._episode.session
    with pytest.raises(InfraError, match="crashed"):
        env._run(session.perform(session.navigate("chrome://crash")))
    assert_still_works(env)


def test_an_endless_script_is_stopped(web, site):
    site.pages["/endless"] = html("Endless", "<button onclick='for (;;) ;'>Go</button><p id=p>Fine")
    env, _ = open_page(web, "/endless")
    observation, *_ = env.step("click [1]")
    assert observation.startswith("Note: A script of the page ran without end and was stopped.\n")
    assert "text 'Fine'" in observation
    assert_still_works(env)


def test_endless_timers_and_promises_are_noted(web, site):
    site.pages["/busy"] = html(
        "Busy",
        "<p id=p>0</p><script>function f() { p.textContent++; setTimeout(f, 0); } f();"
        "(async () => { for (;;) await new Promise((r) => setTimeout(r, 1)); })();</script>",
    )
    env, observation = open_page(web, "/busy")
    assert "Note: The page was still busy after 1 s." in observation
    assert_still_works(env)


def test_a_page_of_twenty_megabytes_shows_an_excerpt(web, site):
    row = "<tr><td>some words in a row of a table</td><td><a href=/>home</a></td></tr>"
    site.pages["/large"] = html("Large", "<h1>Large</h1><table>" + row * (20_000_000 // len(row)))
    env, observation = open_page(web, "/large", settle_timeout=10.0, step_timeout=60.0)
    assert "The page is too large to be laid out" in observation
    assert "some words in a row of a table" in observation
    assert len(observation) < 21_000
    assert_still_works(env)


def test_a_download_is_noted(web, site):
    site.pages["/files"] = html("Files", "<a href=/file>Get it</a>")
    env, _ = open_page(web, "/files")
    observation, *_ = env.step("click [1]")
    assert observation.startswith("Note: Downloaded 't.csv', 8 bytes.\nURL: http://site.test/files\n")
    assert_still_works(env)


def test_a_too_large_download_is_cancelled(web, site):
    site.pages["/files"] = html("Files", "<a href=/endless-file>Get it</a>")
    env, _ = open_page(web, "/files", settle_timeout=10.0)
    observation, *_ = env.step("click [1]")
    assert observation.startswith("Note: The download of 't.csv' is larger than 50,000,000 bytes and was given up.\n")
    assert wait_until(lambda: site.sent is not None)
    assert site.sent < 500_000_000
    assert_still_works(env)


def test_one_click_opens_at_most_one_window(web, site):
    site.pages["/windows"] = html(
        "Windows", "<button onclick='for (let i = 0; i < 100; i++) window.open(\"/two?\" + i)'>Go</button>"
    )
    env, _ = open_page(web, "/windows")
    observation, *_ = env.step("click [1]")
    assert "Tabs: 0 'Windows', 1 'Two' (this one)" in observation
    assert len(env._episode.session.tabs) == 2
    assert_still_works(env)


def test_windows_above_the_maximum_are_closed(web, site):
    site.pages["/one"] = html("One", "<button onclick='window.open(\"/two\")'>Go</button>")
    env, _ = open_page(web, "/one")
    for number in range(1, 10):
        observation, *_ = env.step("click [1]")
        session = env._episode.session
        assert len(session.tabs) == min(1 + number, 8)
        assert ("1 window that the page opened was closed: too many are open" in observation) == (number > 7)
        if number < 8:
            env.step("switch_tab [0]")
    assert_still_works(env)


def test_requests_to_other_hosts_are_blocked(web, site):
    site.pages["/leaks"] = html(
        "Leaks",
        "<img src=http://tracker.example/a.png><script src=https://cdn.example/x.js></script>"
        "<script>fetch('http://api.example/data').catch(() => document.body.append('refused'));"
        "try { new WebSocket('ws://socket.example/') } catch {}</script><a href=http://elsewhere.example/>Leave</a>",
    )
    env, observation = open_page(web, "/leaks")
    for host in ("tracker", "cdn", "api"):
        assert f"Note: Blocked: http{'s' * (host == 'cdn')}://{host}.example/" in observation
    assert "refused" in observation
    observation, *_ = env.step("click [1]")
    assert "Note: Blocked: http://elsewhere.example/ is on a host that is not allowed here." in observation
    assert_still_works(env)


def test_loopback_and_link_local_requests_also_need_permission(web, site):
    """By default, Chromium bypasses the proxy for loopback and link-local addresses."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        body = f"<img src=http://other.localhost:{other.getsockname()[1]}/><img src=http://169.254.169.254/latest>"
        site.pages["/near"] = html("Near", body)
        env, observation = open_page(web, "/near")
        assert "Note: Blocked: http://other.localhost:" in observation
        assert "Note: Blocked: http://169.254.169.254/latest is on a host that is not allowed here." in observation
        with pytest.raises(TimeoutError):
            other.accept()
    assert_still_works(env)


def test_a_blocked_page_load_is_noted_even_after_many_blocked_parts(web, site):
    parts = "".join(f"<img src=http://tracker{i}.example/>" for i in range(40))
    site.pages["/many"] = html("Many", f"{parts}<a href=http://elsewhere.example/>Leave</a>")
    env, observation = open_page(web, "/many")
    assert observation.count("Note: Blocked: http://tracker") == 10
    assert observation.count("Note: Blocked: more that the page asked for.") == 1
    observation, *_ = env.step("click [1]")
    assert "Note: Blocked: http://elsewhere.example/ is on a host that is not allowed here." in observation
    assert_still_works(env)


def test_a_redirect_to_another_host_is_blocked(web):
    env, _ = open_page(web)
    observation, *_ = env.step("goto [http://site.test/away]")
    assert "is on a host that is not allowed here" in observation
    assert_still_works(env)
