"""MiniWoB++ (Liu et al., 2018): 130 small pages, played through the HTML that the `miniwob` package ships.

A page is begun as the package's own environment begins it: `Math.seedrandom(seed)`, then `core.startEpisodeReal()`. The
reward is `WOB_RAW_REWARD_GLOBAL`, from -1 to 1, for the other one decays with the wall clock; the page's own time limit
is lifted, for the same reason. Success is a reward above 0. Where `RELOADED` does not name a page, it is begun again
without being loaded again, which is many times faster and shows the same.
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
from ..hosts import Hosts
from ..ids import ElementIds
from ..session import Session
from .core import Deed, Judge, Place, Standing, World

ENV_ID = "kintsugi/Web-v0"
EDITIONS = 1_000_000
"""Every split draws the seeds of its pages from a million of its own."""
SPLITS = ("train", "valid", "valid_unseen")
RELOADED = frozenset(
    {
        "book-flight", "book-flight-nodelay", "chase-circle", "click-menu", "click-menu-2", "click-option", "click-pie",
        "drag-items", "drag-items-grid", "drag-sort-numbers", "focus-text-2", "form-sequence", "moving-items",
        "scroll-text", "scroll-text-2", "search-engine", "simon-says", "social-media", "stock-market",
        "use-autocomplete", "use-autocomplete-nodelay", "use-colorwheel", "use-colorwheel-2", "use-slider",
        "use-slider-2",
    }
)  # fmt: skip
"""Pages that were seen to show something else when they are begun again, after another episode, without a reload."""
BEGIN = """(() => {
  core.EPISODE_MAX_TIME = 1e9;
  document.activeElement?.blur();
  Math.seedrandom(%d);
  core.startEpisodeReal();
  core.hideDisplay();
  document.getElementById("click-canvas").style.display = "none";
  return core.getUtterance();
})()"""
STANDING = "[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"


class MiniWob(World):
    """Tasks are pages with seeds. `valid_unseen` has pages that `train` and `valid` never have: every fifth."""

    name: ClassVar[str] = "miniwob"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, page: str = "", **params: Any) -> TaskSet:
        """Pages in turn, other seeds each time round; one `page` alone when it is named. 3 rounds when `n` is None."""
        if params:
            raise UsageError(f"unknown parameter {min(params)!r} of MiniWoB++ tasks; there is page, e.g. click-test")
        if split not in SPLITS:
            raise unknown("MiniWoB++ split", split, SPLITS)
        if page and page not in pages():
            raise unknown("MiniWoB++ page", page, pages())
        chosen = (page,) if page else pages_of(split)
        count = 3 * len(chosen) if n is None else n
        if count < 0:
            raise UsageError(f"asked for {n} MiniWoB++ tasks; expected 0 or more")
        return TaskSet(_task(split, chosen[i % len(chosen)], i // len(chosen), seed) for i in range(count))

    @classmethod
    def place(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Place:
        """The page of the task."""
        page = task.params.get("type")
        if page not in pages():
            raise unknown("MiniWoB++ page", str(page), pages())
        return MiniWobPage(str(page), task.seed)


def _task(split: str, page: str, number: int, seed: int) -> Task:
    # The draws of splits, and of sets with other seeds, share no page seed.
    world = (seed * len(SPLITS) + SPLITS.index(split)) * EDITIONS + number
    name = f"{number:04d}" if seed == 0 else f"{seed}-{number:04d}"
    return Task(f"miniwob/{split}/{page}/{name}", ENV_ID, split, world, {"world": "miniwob", "type": page})


@functools.cache
def folder() -> Path:
    """Where the package's HTML is; raises `MissingExtraError` without the package."""
    found = importlib.util.find_spec("miniwob")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("miniwob", "miniwob")
    return Path(found.submodule_search_locations[0]).resolve() / "html"


@functools.cache
def pages() -> tuple[str, ...]:
    """Names of all pages, sorted."""
    return tuple(sorted(path.stem for path in (folder() / "miniwob").glob("*.html")))


def pages_of(split: str) -> tuple[str, ...]:
    """The pages that a split is about."""
    return tuple(page for i, page in enumerate(pages()) if (i % 5 == 4) == (split == "valid_unseen"))


class MiniWobPage(Place):
    """One page, once or again."""

    verbs = PAGE_VERBS

    def __init__(self, page: str, seed: int) -> None:
        base = folder().as_uri()
        self.goal = ""
        self.hosts = Hosts((), (f"{base}/",))
        self.prefix = f"{base}/miniwob/", "miniwob:"
        self._page = page
        self._seed = seed
        self._url = f"{base}/miniwob/{page}.html"

    def continues(self, session: Session) -> bool:
        """Any session in which nothing but pages of this world was shown."""
        return len(session.tabs) == 1 and session.dialog is None

    async def enter(self, session: Session) -> None:
        """Load the page, or begin it again where that is the same."""
        tab = session.active
        if tab.page.url != self._url or self._page in RELOADED:
            await session.navigate(self._url)
            await session.rest(0)
        tab.ids = ElementIds()
        # The mouse of the episode before rests somewhere on the page.
        away = {"type": "mouseMoved", "x": 0, "y": 0}
        _, goal = await asyncio.gather(tab.cdp.send("Input.dispatchMouseEvent", away), tab.evaluate(BEGIN % self._seed))
        self.goal = str(goal)

    async def standing(self, session: Session, answer: str | None, deeds: Sequence[Deed]) -> Standing:
        """What the page itself says; stopping before it says anything is a failure."""
        over, reward = await session.active.evaluate(STANDING)
        reward = float(reward) if over else 0.0
        return Standing(min(1.0, max(0.0, reward)), bool(over) and reward > 0, bool(over), reward)
