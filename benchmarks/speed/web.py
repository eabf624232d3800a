"""Speed of the web environment: `python -m kintsugi.benchmarks.speed.web --peers PYTHON`.

Our environment and the peers play the same MiniWoB++ pages, seeds and clicks (at the centre of the page's first
element) in alternation and in the same Chromium, so that other load slows all of them. Observations have the same
parts: accessibility tree and DOM, with or without a screenshot. Our browser is configured for each of the two cases.
The `miniwob` package reads the DOM with its own script. PYTHON is an interpreter with `browsergym-miniwob` and
`miniwob`, possibly of another virtual environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...envs.web import WebConfig, WebEnv
from ...envs.web.browser import Browser
from ...envs.web.chromium import BrowserConfig, find_chromium
from ...envs.web.view import View
from ...errors import UsageError
from ..scripts import positive, run

PAGES = ("click-test-2", "click-checkboxes", "login-user", "email-inbox", "click-tab-2", "enter-text")
VIEW = View(width=332, height=214)
"""The viewport that BrowserGym gives these pages."""
Times = dict[str, list[float]]


class Peer:
    """A process that runs a peer environment and times its calls."""

    def __init__(self, python: str, name: str, delays: bool, images: bool, chromium: str) -> None:
        script = Path(__file__).with_name("web_peers.py")
        flags = [str(int(delays)), str(int(images)), chromium]
        self._name = name
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(script), name, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def ask(self, *words: object) -> float:
        """Return the milliseconds taken; raise `UsageError` if the peer fails, usually because it is not installed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._stderr.seek(0)
            last = (self._stderr.read().strip().splitlines() or ["it printed no error"])[-1]
            raise UsageError(f"the peer {self._name!r} cannot be measured: {last}; check the interpreter in --peers")
        return float(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)
        self._stderr.close()


class Ours:
    """Our environment, with the interface of `Peer`."""

    def __init__(self, chromium: str, images: bool) -> None:
        self._browser = Browser(BrowserConfig(executable=chromium, frame_limit=not images))
        config = WebConfig(view=VIEW, screenshots=images)
        self._env = WebEnv(config=config, browser=self._browser, max_steps=10**6)

    def ask(self, verb: str, page: str = "", seed: int = 0) -> float:
        """Return the milliseconds taken."""
        tasks = WebEnv.tasks("train", 50, world="miniwob", page=page).tasks
        start = time.perf_counter()
        if verb == "reset":
            self._env.reset(options={"task": tasks[seed]})
        else:
            self._env.step("click [1]")
        return 1000 * (time.perf_counter() - start)

    def centre(self) -> tuple[float, float]:
        """Return the centre of the page's first element, in pixels."""
        box = self._env.elements()[1].box
        return box.centre if box else (80.0, 100.0)

    def close(self) -> None:
        """End the browser."""
        self._env.close()
        self._browser.close()


def compare(python: str, rounds: int, chromium: str) -> tuple[Times, Times]:
    """Return the milliseconds of resets and of clicks by program; all use the same `chromium`."""
    ours = {"ours": Ours(chromium, False), "ours, with screenshots": Ours(chromium, True)}
    settings = {
        "browsergym, no delays, no screenshots": ("browsergym", False, False),
        "browsergym, no delays": ("browsergym", False, True),
        "browsergym, default settings": ("browsergym", True, True),
        "miniwob (Selenium)": ("selenium", False, True),
    }
    peers = {name: Peer(python, *setting, chromium) for name, setting in settings.items()}
    resets: Times = {name: [] for name in (*ours, *peers)}
    clicks: Times = {name: [] for name in (*ours, *peers)}
    for page in PAGES:
        # The first reset loads the page and is not timed.
        for mine in ours.values():
            mine.ask("reset", page, 0)
        for peer in peers.values():
            peer.ask("reset", page, 0)
        for seed in range(1, rounds + 1):
            for name, mine in ours.items():
                resets[name].append(mine.ask("reset", page, seed))
                x, y = mine.centre()
                clicks[name].append(mine.ask("click"))
            for name, peer in peers.items():
                if name != "browsergym, default settings" or seed == 1:
                    resets[name].append(peer.ask("reset", page, seed))
                    clicks[name].append(peer.ask("click", x, y))
    for mine in ours.values():
        mine.close()
    for peer in peers.values():
        peer.close()
    return resets, clicks


def episodes_per_second(browser: Browser, contexts: int, episodes: int) -> float:
    """Return episodes (one reset, one click) per second, played by threads with one browser context each."""
    tasks = WebEnv.tasks("train", episodes, world="miniwob", page="click-test-2").tasks

    def play(part: int) -> None:
        env = WebEnv(config=WebConfig(view=VIEW), browser=browser)
        for task in tasks[part::contexts]:
            env.reset(options={"task": task})
            env.step("click [1]")
        env.close()

    with ThreadPoolExecutor(contexts) as threads:
        start = time.perf_counter()
        list(threads.map(play, range(contexts)))
        return episodes / (time.perf_counter() - start)


def memory() -> float:
    """Return the memory of this process, Playwright's driver and the browser, in megabytes (proportional set size)."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    todo, total = [os.getpid()], 0.0
    while todo:
        process = todo.pop()
        todo += children.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def settled_memory() -> float:
    """Return the minimum memory within one second, since processes of closed pages take a moment to end."""
    samples = []
    for _ in range(6):
        samples.append(memory())
        time.sleep(0.2)
    return min(samples)


def memory_over(episodes: int, fresh: bool, first: int = 50) -> tuple[float, float]:
    """Return the memory in megabytes after `first` episodes and after all; `fresh` opens a context per episode."""
    browser, after = Browser(), 0.0
    env = WebEnv(config=WebConfig(view=VIEW), browser=browser)
    for number, task in enumerate(WebEnv.tasks("train", episodes, world="miniwob").tasks, start=1):
        env.reset(options={"task": task})
        env.step("click [1]")
        if fresh or number == first:
            env.close()
        if number == first:
            after = settled_memory()
    env.close()
    last = settled_memory()
    browser.close()
    return after, last


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--peers", default=sys.executable, help="Python interpreter with browsergym-miniwob and miniwob"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="number of resets and clicks on each page")
    parser.add_argument("--episodes", type=positive, default=500, help="number of episodes of the memory measurement")
    config = parser.parse_args()
    chromium = find_chromium(None, "")
    browser = Browser(BrowserConfig(executable=chromium))
    print(f"{Path(chromium).name} {browser.version}; medians in milliseconds")
    print(f"{len(PAGES)} MiniWoB++ pages, {config.rounds} rounds")
    resets, clicks = compare(config.peers, config.rounds, chromium)
    print(f"{'':40}{'reset':>9}{'step':>9}{'reset':>12}{'step':>9}")
    for name in resets:
        like = "ours" if name.endswith("no screenshots") else "ours, with screenshots"
        reset, click = statistics.median(resets[name]), statistics.median(clicks[name])
        ratio = reset / statistics.median(resets[like]), click / statistics.median(clicks[like])
        shown = "" if name.startswith("ours") else f"{ratio[0]:10.1f} x{ratio[1]:7.1f} x"
        print(f"{name:40}{reset:9.1f}{click:9.1f}{shown}")
    for contexts in (1, 2, 4):
        print(
            f"{contexts} contexts: {episodes_per_second(browser, contexts, 80):.1f} episodes (reset, click) per second"
        )
    browser.close()
    for fresh, where in ((True, "in one context each"), (False, "in one page")):
        first, last = memory_over(config.episodes, fresh)
        change = f"{last / first - 1:+.1%}"
        print(f"memory after 50 episodes {where} {first:.0f} MB, after {config.episodes} {last:.0f} MB ({change})")


if __name__ == "__main__":
    run(main)
