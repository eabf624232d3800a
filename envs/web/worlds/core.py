"""Interface of a world: its tasks, and for each episode a `Scenario` that starts and scores it."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import UsageError, unknown
from ...core import Task, TaskSet
from ..actions import VERBS
from ..hosts import AllowedHosts
from ..session import Session

LoggedAction = tuple[str, str]
"""An observation and the action that followed it."""
Judge = Callable[[Task, Sequence[LoggedAction], str], float]
"""Function of task, action log and answer that returns the score in [0, 1]."""


@dataclass(frozen=True)
class Status:
    """Score of an episode after a step."""

    score: float = 0.0
    """Score so far, in [0, 1]."""
    success: bool = False
    """Whether the task is solved."""
    over: bool = False
    """Whether the world has ended the episode."""
    reward: float | None = None
    """Reward of the last step; None means 0 during the episode and the score at its end."""


class Scenario(ABC):
    """One episode in a world. Async methods run on the browser thread, with the session of the episode."""

    goal: str
    """The task in words, as the agent reads it."""
    hosts: AllowedHosts
    """Hosts that pages may request."""
    verbs: Sequence[str] = tuple(VERBS)
    """Verbs of the actions that the agent may use."""
    url_prefix: tuple[str, str] | None = None
    """Real start of the URLs, and the start shown to the agent instead, to hide what differs between machines."""

    @abstractmethod
    async def start(self, session: Session) -> None:
        """Open the first page in the session's tab. The caller waits until the page is idle.

        Args:
            session: The session of the episode: a new one, or an earlier one if `can_reuse` allowed it.
        """

    @abstractmethod
    async def status(self, session: Session, answer: str | None, action_log: Sequence[LoggedAction]) -> Status:
        """Return the status after a step.

        Args:
            session: The session of the episode.
            answer: The agent's answer; None until it stops.
            action_log: All observations and actions so far.
        """

    def judge(self, answer: str, action_log: Sequence[LoggedAction]) -> Status | None:
        """Return the final status of an episode that the agent has ended; None (the default) keeps that of `status`.

        Runs on the caller's thread.

        Args:
            answer: The agent's answer.
            action_log: All observations and actions.
        """
        return None

    def can_reuse(self, session: Session) -> bool:
        """Return whether this episode can start in the session of an earlier episode of the world; False by default.

        Args:
            session: The session as the earlier episode left it.
        """
        return False

    def dump(self) -> bytes | None:
        """Return the exact state outside the browser; None if there is none."""
        return None

    def load(self, state: bytes) -> None:
        """Restore the state outside the browser.

        Args:
            state: Result of `dump`.

        Raises:
            UsageError: If the scenario has no state outside the browser, which is the default.
        """
        raise UsageError(f"{type(self).__name__} has no state outside the browser to restore")

    def close(self) -> None:  # noqa: B027 (most scenarios hold no resources)
        """Release the resources of the episode. Can be called repeatedly."""

    def display_url(self, url: str) -> str:
        """Return a URL as it is shown to the agent; see `url_prefix`.

        Args:
            url: The real URL.
        """
        if self.url_prefix and url.startswith(self.url_prefix[0]):
            return self.url_prefix[1] + url[len(self.url_prefix[0]) :]
        return url

    def real_url(self, url: str) -> str:
        """Return the real URL of one that was shown to the agent.

        Args:
            url: A result of `display_url`, or any other URL, which is returned unchanged.
        """
        if self.url_prefix and url.startswith(self.url_prefix[1]):
            return self.url_prefix[0] + url[len(self.url_prefix[1]) :]
        return url


class World(ABC):
    """A source of web tasks. Subclass it and return it from `WebEnv.world` to add one."""

    name: ClassVar[str]
    """Name in `WebEnv.tasks(world=...)`."""

    @classmethod
    @abstractmethod
    def tasks(cls, split: str, n: int | None, seed: int, **params: Any) -> TaskSet:
        """See `AgentEnv.tasks`."""

    @classmethod
    def resolver_rules(cls) -> tuple[str, ...]:
        """Return Chromium's resolver rules for the host names of this world."""
        return ()

    @classmethod
    @abstractmethod
    def scenario(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Scenario:
        """Return the scenario of a new episode.

        Args:
            task: A task of this world.
            hosts: Hosts allowed for tasks of the live web; other worlds ignore them.
            judge: Scores attempts on the live web; other worlds ignore it.
        """


WORLDS = {"sites": "sites:Sites", "miniwob": "miniwob:MiniWob", "live": "live:Live"}


def world_named(name: str) -> type[World]:
    """Return a world by name.

    Args:
        name: `sites`, `miniwob` or `live`.

    Raises:
        UsageError: If there is no such world.
    """
    if name not in WORLDS:
        raise unknown("web world", name, WORLDS)
    module, _, attribute = WORLDS[name].partition(":")
    found: type[World] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return found


def world_of(task: Task) -> type[World]:
    """Return the world of a task.

    Args:
        task: A web task. Its parameter `world` names the world; the default is `sites`.

    Raises:
        UsageError: If there is no such world.
    """
    return world_named(str(task.params.get("world", "sites")))
