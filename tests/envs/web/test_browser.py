"""Tests of the browser process: timeouts, hangs, recycling, forks, and callers with a running event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from bad_site import html, task_at, wait_until
from kintsugi.agents.core import RuleAgent
from kintsugi.agents.experts.web import WebExpert
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.trajectory import Step
from kintsugi.envs.web import WebConfig, WebEnv
from kintsugi.envs.web.browser import Browser
from kintsugi.envs.web.chromium import BrowserConfig, find_chromium, kill_processes
from kintsugi.envs.web.worlds.sites import Sites
from kintsugi.errors import InfraError, UsageError

pytestmark = pytest.mark.requires("chromium")


@pytest.fixture
def browser(chromium):
    opened = Browser(BrowserConfig(recycle_after=2))
    yield opened
    opened.close()


def has_ended(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_hung_browser_is_killed_and_replaced(web_class):
    browser = Browser(BrowserConfig(ping_seconds=0.5, close_seconds=0.5))
    env = web_class(browser=browser)
    env.reset(options={"task": task_at("/")})
    process, group = browser.processes
    assert group != os.getpgrp()
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(InfraError, match="did not answer within 1 s"):
        env.browser.run(env._episode.session, env._episode.step("click [1]"), 1.0)
    assert wait_until(lambda: has_ended(process))
    observation, _ = env.reset(options={"task": task_at("/")})
    assert "Home" in observation
    assert browser.processes[0] != process
    env.close()
    browser.close()


def test_an_attempt_is_repeated_after_the_browser_died(web_class, browser):
    killed: list[int] = []

    class Clicker(RuleAgent):
        name = "clicker"

        async def act(self, episode):
            if not killed:
                killed.append(browser.processes[0])
                kill_processes(browser.processes[1])
            action = "stop [right]" if "Two" in episode.observation.splitlines()[1] else "click [1]"
            return Step(episode.observation, "", action)

    job = Job(task_at("/"), Clicker(), 0)
    (trajectory,) = collect(lambda: web_class(browser=browser), [job], at_once=1)
    assert (trajectory.outcome, len(trajectory.steps)) == ("success", 2)
    assert has_ended(killed[0])


def test_the_browser_is_recycled_and_leaves_no_processes(web_class, browser):
    env = web_class(browser=browser)
    seen = []
    for _ in range(5):
        env.reset(options={"task": task_at("/")})
        seen.append(browser.processes[0])
    assert len(set(seen)) == 3
    browser.close()
    browser.close()
    assert wait_until(lambda: all(map(has_ended, seen)))


def test_environments_work_inside_a_running_event_loop(web_class, browser):
    async def play():
        env = web_class(browser=browser)
        env.reset(options={"task": task_at("/")})
        return env.step("click [1]")[0]

    assert "heading 'Two'" in asyncio.run(play())


def test_two_environments_in_one_browser_are_independent(web_class, browser, site):
    body = "<button onclick='localStorage.n = +(localStorage.n ?? 0) + 1; p.textContent = localStorage.n'>Add</button>"
    site.pages["/count"] = html("Count", body + "<p id=p>0")
    one, two = web_class(browser=browser), web_class(browser=browser)
    for env in (one, two):
        env.reset(options={"task": task_at("/count")})
    for _ in range(2):
        assert one.step("click [1]")[0] == two.step("click [1]")[0]
    one.close()
    assert "text '3'" in two.step("click [1]")[0]


@pytest.mark.requires("headless_shell")
def test_observations_are_the_same_with_and_without_windows():
    def observations(executable: str) -> list[str]:
        browser = Browser(BrowserConfig(executable=executable, resolver_rules=Sites.resolver_rules()))
        env = WebEnv(browser=browser)
        found: list[str] = []
        for task in WebEnv.tasks("train", 5, 5):
            observation, info = env.reset(options={"task": task})
            found, expert, ended = [*found, observation], WebExpert(info["goal"]), False
            while not ended:
                observation, reward, ended, truncated, _ = env.step(expert.think_and_act(observation)[1])
                assert not truncated
                found.append(observation)
            assert reward == 1.0
        env.close()
        browser.close()
        return found

    assert observations("chromium") == observations("chromium-headless-shell")


WINDOWS = """
const blank = (in_) => { const f = in_.createElement("iframe"); in_.body.append(f); return f };
const ways = {
  "the page": () => window,
  "a blank frame": () => blank(document).contentWindow,
  "a frame in a blank frame": () => blank(blank(document).contentDocument).contentWindow,
  "a frame of HTML": () => { box.innerHTML = "<iframe></iframe>"; return window[window.length - 1] },
  "a frame of a document": () => { const f = blank(document); f.srcdoc = "<p>"; return f.contentWindow },
  "a frame of a script": () => { const f = blank(document); f.src = "javascript:0"; return f.contentWindow },
  "a frame that is written": () => {
    const f = blank(document);
    f.contentDocument.open(); f.contentDocument.write("<script>1</" + "script>"); f.contentDocument.close();
    return f.contentWindow;
  },
  "an object": () => {
    const o = document.createElement("object");
    o.data = "about:blank"; o.type = "text/html"; document.body.append(o); o.offsetTop;
    return o.contentWindow;
  },
  "a window": () => (window.opened = window.open("")),
  "a frame in a window": () => blank(opened.document).contentWindow,
};
go.onclick = () => {
  const found = [];
  for (const [name, way] of Object.entries(ways)) {
    const view = way();
    for (const kind of ["RTCPeerConnection", "webkitRTCPeerConnection"]) if (view?.[kind]) found.push(name);
    if (!view) found.push("no " + name);
  }
  location.hash = encodeURIComponent(found.join(", ") || "none");
};
"""


@pytest.mark.parametrize(
    "executable", ["chromium", pytest.param("chromium-headless-shell", marks=pytest.mark.requires("headless_shell"))]
)
def test_no_window_has_webrtc(executable, web_class, site):
    """WebRTC looks for addresses with UDP sockets as soon as a connection exists, whatever its policy is."""
    browser = Browser(BrowserConfig(executable=executable))
    site.pages["/calls"] = html("Calls", f"<button id=go>Go</button><p id=box><script>{WINDOWS}</script>")
    env = web_class(browser=browser)
    env.reset(options={"task": task_at("/calls")})
    env.step("click [1]")
    assert env.step("switch_tab [0]")[0].splitlines()[0] == "URL: http://site.test/calls#none"
    env.close()
    browser.close()


def test_a_browser_that_does_not_start_leaves_no_processes(web_class, tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    browser = Browser(BrowserConfig(executable=str(sleeper), start_seconds=0.5))
    children = Path(f"/proc/self/task/{browser._browser_thread._thread.native_id}/children")
    for _ in range(2):
        with pytest.raises(InfraError, match=r"Chromium .*did not start: .*Timeout 500ms"):
            browser.version  # noqa: B018
    browser.config = BrowserConfig(executable="nothing-such")
    with pytest.raises(UsageError, match="no program"):
        web_class(browser=browser).reset(options={"task": task_at("/")})
    assert wait_until(lambda: not children.read_text())
    browser.close()


@pytest.mark.parametrize(
    ("driver", "seconds", "message"),
    [
        ("cat > /dev/null", 0.3, "Chromium did not start: the browser did not answer within 0.4 s"),
        ("exit 1", 20.0, "Playwright's driver did not start: "),
    ],
    ids=["silent", "dead"],
)
def test_a_driver_that_does_not_start_is_an_infra_error(driver, seconds, message, monkeypatch, tmp_path):
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\n{driver}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", str(program))
    browser = Browser(BrowserConfig(start_seconds=seconds, close_seconds=0.1))
    with pytest.raises(InfraError, match=message):
        browser.version  # noqa: B018
    browser.close()


def test_a_forked_child_does_not_touch_the_browser_of_its_parent(web_class, browser):
    env = web_class(browser=browser)
    env.reset(options={"task": task_at("/")})
    child = os.fork()
    if not child:
        code = 1
        try:
            env.step("click [1]")
        except InfraError as error:
            env.close()
            code = 0 if "parent of this forked process" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "heading 'Two'" in env.step("click [1]")[0]
    env.close()


@pytest.mark.requires("miniwob")
def test_reused_sessions_and_browsers_are_replaced_after_their_maximum_of_episodes():
    browser = Browser(BrowserConfig(recycle_after=5, episodes_per_session=3))
    env = WebEnv(browser=browser)
    (task,) = WebEnv.tasks("train", 1, world="miniwob", page="click-dialog")
    sessions, processes, observations = [], [], []
    for _ in range(9):
        observations.append(env.reset(options={"task": task})[0])
        assert env._episode
        sessions.append(env._episode.session)
        processes.append(browser.processes[0])
    assert [sessions.index(session) for session in sessions] == [0, 0, 0, 3, 3, 5, 5, 5, 8]
    assert [processes.index(process) for process in processes] == [0] * 5 + [5] * 4
    assert len(set(observations)) == 1
    env.close()
    browser.close()


def test_a_missing_executable_is_an_error(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="no program 'nothing-such'"):
        find_chromium("nothing-such", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("KINTSUGI_CHROMIUM", raising=False)
    with pytest.raises(UsageError, match="no Chromium was found"):
        find_chromium(None, str(tmp_path / "none"))


def test_a_given_browser_without_resolver_rules_is_an_error():
    browser = Browser()
    task = WebEnv.tasks("train", 1).tasks[0]
    with pytest.raises(UsageError, match=r"cannot resolve the hosts of the world 'sites'; .*resolver_rules=\('MAP"):
        WebEnv(browser=browser).reset(options={"task": task})
    browser.close()


def test_a_window_without_a_display_is_an_error(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    browser = Browser(BrowserConfig(headless=False))
    with pytest.raises(UsageError, match=r"no display to open its window on .*':77'"):
        _ = browser.version
    browser.close()


def test_an_executable_that_is_not_chromium_is_an_error(monkeypatch):
    monkeypatch.setenv("KINTSUGI_CHROMIUM", "true")
    browser = Browser()
    with pytest.raises(UsageError, match=r"true is not Chromium: '--version' printed '"):
        _ = browser.version
    browser.close()


def test_the_headless_shell_is_preferred_if_no_window_is_needed(monkeypatch, tmp_path):
    monkeypatch.delenv("KINTSUGI_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = {}
    for name in ("chromium", "chromium-headless-shell", "own"):
        paths[name] = tmp_path / name
        paths[name].write_text("#!/bin/sh\n")
        paths[name].chmod(0o755)
        assert find_chromium(None, "", headless=False) == str(paths["chromium"])
    assert find_chromium(None, "") == str(paths["chromium-headless-shell"])
    assert find_chromium(None, str(paths["own"])) == str(paths["own"])
    assert find_chromium("chromium", "") == str(paths["chromium"])
    paths["chromium-headless-shell"].unlink()
    assert find_chromium(None, "") == str(paths["chromium"])


def test_pictures_do_not_change_the_episode(web_class, browser):
    env = web_class(browser=browser)
    assert (env.picture(), env.versions()) == (None, {})
    plain = env.reset(options={"task": task_at("/")})[0], env.step("click [1]")[0]
    pictured, pictures = [env.reset(options={"task": task_at("/")})[0]], [env.picture()]
    pictured.append(env.step("click [1]")[0])
    pictures.append(env.picture())
    assert tuple(pictured) == plain
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in pictures)
    assert pictures[0] != pictures[1]
    assert env.versions() == {"Chromium": browser.version}
    env.close()


def test_screenshots_match_their_observations_and_do_not_change_them(web_class, site):
    buttons = "<button onclick='alert(1)'>Ask</button><button onclick='n.hidden = 1'>Hide</button>"
    site.pages["/ask"] = html("Ask", f"{buttons}<p id=n>There</p>")
    plain, pictured = web_class(), web_class(config=WebConfig(screenshots=True))
    actions = ("click [2]", "no action", "click [1]", "click [1]", "stop")
    played = {}
    for env in (plain, pictured):
        observation, info = env.reset(options={"task": task_at("/ask")})
        played[env] = [(observation, info)]
        for action in actions:
            observation, *_, info = env.step(action)
            played[env].append((observation, info))
            if env is pictured:
                assert info["screenshot"] == env.screenshot()
        assert [info.pop("screenshot", None) for _, info in played[plain]] == [None] * 6
    pictures = [info.pop("screenshot") for _, info in played[pictured]]
    assert played[pictured] == played[plain]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    first, hidden, refused, asked, answered, over = pictures
    assert (hidden, answered) == (refused, over)
    assert len({first, hidden, asked, answered}) == 4
    for env in (plain, pictured):
        env.close()


def test_the_frame_limit_is_disabled_only_for_screenshots(web_class):
    plain, pictured = web_class(), web_class(config=WebConfig(screenshots=True))
    assert plain.browser.config.frame_limit
    assert not pictured.browser.config.frame_limit
    assert "--disable-frame-rate-limit" in pictured.browser.config.arguments()
    assert "--disable-frame-rate-limit" not in plain.browser.config.arguments()
