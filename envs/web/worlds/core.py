"""What the web environment wants of a world: its tasks, and for each episode a `Place` to be in and to be judged by."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import UsageError, unknown
from ...core import Task, TaskSet
from ..actions import VERBS
from ..hosts import Hosts
from ..session import Session

Deed = tuple[str, str]
"""What was seen, and what was done then."""
Judge = Callable[[Task, Sequence[Deed], str], float]
"""Task, what was seen and done, answer: the score in [0, 1]."""


@dataclass(frozen=True)
class Standing:
    """How an episode stands."""

    score: float = 0.0
    """In [0, 1]."""
    success: bool = False
    over: bool = False
    """Whether the world itself has ended the episode."""
    reward: float | None = None
    """Of the last step, where the world has its own; None is the score at the end of the episode."""


class Place(ABC):
    """One episode in a world. Async methods run on the browser's thread, with the episode's session."""

    goal: str
    """The task in words."""
    hosts: Hosts
    """What pages may ask for."""
    verbs: Sequence[str] = tuple(VERBS)
    """Kinds of actions that there are."""
    prefix: tuple[str, str] | None = None
    """How addresses begin here, and how they are shown: for what differs from one machine to the next."""

    @abstractmethod
    async def enter(self, session: Session) -> None:
        """Bring the session's tab to where the episode begins. Settling is the caller's."""

    @abstractmethod
    async def standing(self, session: Session, answer: str | None, deeds: Sequence[Deed]) -> Standing:
        """How the episode stands after a step; `answer` is None until the agent stops."""

    def judged(self, answer: str, deeds: Sequence[Deed]) -> Standing | None:
        """What a judge says once the agent has stopped, on the caller's thread; None where `standing` says it all."""
        return None

    def continues(self, session: Session) -> bool:
        """Whether a session that an earlier place of this world was entered in can be entered again."""
        return False

    def dump(self) -> bytes | None:
        """The state outside the browser, exactly; None where there is none."""
        return None

    def load(self, state: bytes) -> None:
        """Make the state outside the browser what it was when `dump` returned `state`."""
        raise UsageError(f"{type(self).__name__} keeps no state outside the browser")

    def leave(self) -> None:  # noqa: B027 (most places hold nothing)
        """Let go of what the episode held; can be called again."""

    def shown(self, url: str) -> str:
        """An address as the agent sees it."""
        if self.prefix and url.startswith(self.prefix[0]):
            return self.prefix[1] + url[len(self.prefix[0]) :]
        return url

    def meant(self, url: str) -> str:
        """The address that one as shown stands for."""
        if self.prefix and url.startswith(self.prefix[1]):
            return self.prefix[0] + url[len(self.prefix[1]) :]
        return url


class World(ABC):
    """A family of web tasks."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def tasks(cls, split: str, n: int | None, seed: int, **params: Any) -> TaskSet:
        """See `AgentEnv.tasks`."""

    @classmethod
    def resolver_rules(cls) -> tuple[str, ...]:
        """Names that this world's pages are reached by, for Chromium."""
        return ()

    @classmethod
    @abstractmethod
    def place(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Place:
        """A place for one episode; the live web is bounded by `hosts`, and its tasks are scored by `judge`."""


WORLDS = {"sites": "sites:Sites", "miniwob": "miniwob:MiniWob", "live": "live:Live"}


def world_named(name: str) -> type[World]:
    """The world of this name; raises `UsageError` with the names there are."""
    if name not in WORLDS:
        raise unknown("web world", name, WORLDS)
    module, _, attribute = WORLDS[name].partition(":")
    found: type[World] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return found


def world_of(task: Task) -> type[World]:
    """The world of a task: its parameter `world`, by default the embedded sites."""
    return world_named(str(task.params.get("world", "sites")))
