"""MiniWoB++ (Liu et al., 2018): 130 small pages, read from the HTML files of the `miniwob` package.

A page starts as in the package's own environment: `Math.seedrandom(seed)`, then `core.startEpisodeReal()`. The reward
is `WOB_RAW_REWARD_GLOBAL`, from -1 to 1, because the page's other reward decays with the wall clock. For the same
reason, the page's time limit is disabled. A reward above 0 is a success. Pages outside `RELOADED_PAGES` restart without
a reload, which is many times faster and gives the same page.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ....errors import MissingExtraError, UsageError, unknown
from ...core import Task, TaskSet
from ..actions import PAGE_VERBS
from ..hosts import AllowedHosts
from ..ids import ElementIds
from ..session import Session
from .core import Judge, LoggedAction, Scenario, Status, World

ENV_ID = "kintsugi/Web-v0"
SEEDS_PER_SPLIT = 1_000_000
"""Size of the range of page seeds of each split. The ranges do not overlap."""
SPLITS = ("train", "valid", "valid_unseen")
RELOADED_PAGES = frozenset(
    {
        "book-flight", "book-flight-nodelay", "chase-circle", "click-menu", "click-menu-2", "click-option", "click-pie",
        "drag-items", "drag-items-grid", "drag-sort-numbers", "focus-text-2", "form-sequence", "moving-items",
        "scroll-text", "scroll-text-2", "search-engine", "simon-says", "social-media", "stock-market",
        "use-autocomplete", "use-autocomplete-nodelay", "use-colorwheel", "use-colorwheel-2", "use-slider",
        "use-slider-2",
    }
)  # fmt: skip
"""Pages that must be reloaded, because a restart without a reload differs from the first start."""
START_SCRIPT = """(() => {
  core.EPISODE_MAX_TIME = 1e9;
  document.activeElement?.blur();
  Math.seedrandom(%d);
  core.startEpisodeReal();
  core.hideDisplay();
  document.getElementById("click-canvas").style.display = "none";
  return core.getUtterance();
})()"""
STATUS_SCRIPT = 'typeof WOB_DONE_GLOBAL === "boolean" ? [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL] : null'


class MiniWob(World):
    """Tasks are pages with seeds. Every fifth page is only in `valid_unseen`, the others in `train` and `valid`."""

    name: ClassVar[str] = "miniwob"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, page: str = "", **params: Any) -> TaskSet:
        """Return tasks that cycle through the pages of a split, with new seeds in each cycle.

        Args:
            split: `train`, `valid` or `valid_unseen`.
            n: Number of tasks; None for three cycles.
            seed: Seed of the task set. Sets with different seeds share no page seed.
            page: Name of a page, for tasks of this page alone.
            **params: None are accepted.

        Raises:
            UsageError: If the split, the page or a parameter is unknown, or `n` is negative.
            MissingExtraError: If the `miniwob` package is not installed.
        """
        if params:
            raise UsageError(
                f"unknown parameter {min(params)!r}; MiniWoB++ tasks take only page, such as page=click-test"
            )
        if split not in SPLITS:
            raise unknown("MiniWoB++ split", split, SPLITS)
        if page and page not in pages():
            raise unknown("MiniWoB++ page", page, pages())
        chosen = (page,) if page else pages_in_split(split)
        count = 3 * len(chosen) if n is None else n
        if count < 0:
            raise UsageError(f"n is {n}; expected the number of MiniWoB++ tasks, at least 0")
        return TaskSet(_task(split, chosen[i % len(chosen)], i // len(chosen), seed) for i in range(count))

    @classmethod
    def scenario(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Scenario:
        """Create the scenario; raise `UsageError` if the page of the task is unknown."""
        page = task.params.get("type")
        if page not in pages():
            raise unknown("MiniWoB++ page", str(page), pages())
        return MiniWobScenario(str(page), task.seed)


def _task(split: str, page: str, number: int, seed: int) -> Task:
    # Different splits, and task sets with different seeds, share no page seed.
    page_seed = (seed * len(SPLITS) + SPLITS.index(split)) * SEEDS_PER_SPLIT + number
    name = f"{number:04d}" if seed == 0 else f"{seed}-{number:04d}"
    return Task(f"miniwob/{split}/{page}/{name}", ENV_ID, split, page_seed, {"world": "miniwob", "type": page})


@functools.cache
def html_folder() -> Path:
    """Return the folder of the package's HTML files; raise `MissingExtraError` if the package is missing."""
    found = importlib.util.find_spec("miniwob")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("miniwob", "miniwob")
    return Path(found.submodule_search_locations[0]).resolve() / "html"


@functools.cache
def pages() -> tuple[str, ...]:
    """Return the sorted names of all pages."""
    return tuple(sorted(path.stem for path in (html_folder() / "miniwob").glob("*.html")))


def pages_in_split(split: str) -> tuple[str, ...]:
    """Return the pages of a split."""
    return tuple(page for i, page in enumerate(pages()) if (i % 5 == 4) == (split == "valid_unseen"))


class MiniWobScenario(Scenario):
    """An episode on one page."""

    verbs = PAGE_VERBS

    def __init__(self, page: str, seed: int) -> None:
        base = html_folder().as_uri()
        self.goal = ""
        self.hosts = AllowedHosts((), (f"{base}/",))
        self.url_prefix = f"{base}/miniwob/", "miniwob:"
        self._page = page
        self._seed = seed
        self._url = f"{base}/miniwob/{page}.html"

    def can_reuse(self, session: Session) -> bool:
        """Return whether the session has a single tab and no open dialog."""
        return len(session.tabs) == 1 and session.dialog is None

    async def start(self, session: Session) -> None:
        """Restart the page if it is loaded and shows the same after a restart; load it otherwise."""
        tab = session.active
        if tab.page.url != self._url or self._page in RELOADED_PAGES:
            await session.navigate(self._url)
            await session.settle(0)
        tab.ids = ElementIds()
        # Move the mouse away from where the previous episode left it.
        away = {"type": "mouseMoved", "x": 0, "y": 0}
        _, goal = await asyncio.gather(
            tab.cdp.send("Input.dispatchMouseEvent", away), tab.evaluate(START_SCRIPT % self._seed)
        )
        self.goal = str(goal)

    async def status(self, session: Session, answer: str | None, action_log: Sequence[LoggedAction]) -> Status:
        """Return the page's own result. Stopping before the page ends the episode is a failure; so is leaving it."""
        found = await session.active.evaluate(STATUS_SCRIPT)
        if found is None:
            return Status(over=True)
        over, reward = found
        reward = float(reward) if over else 0.0
        return Status(min(1.0, max(0.0, reward)), bool(over) and reward > 0, bool(over), reward)
