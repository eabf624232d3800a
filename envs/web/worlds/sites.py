"""The embedded sites: pages that this process serves itself, judged by what is in their database."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import MissingExtraError
from ...core import Task, TaskSet
from ..hosts import Hosts
from ..session import Session
from ..sites.tasks import SiteTask, make_tasks
from .core import Deed, Judge, Place, Standing, World

if TYPE_CHECKING:
    from ..sites.server import Server


class Sites(World):
    """Tasks of 29 types on shops, wikis, forums, booking sites and consoles; every split has sites of its own."""

    name: ClassVar[str] = "sites"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, **params: Any) -> TaskSet:
        """The first `n` tasks of `train` (800 when None), `valid` or `valid_unseen` (200), the types in turn.

        `kind` names one kind of site: `shop`, `wiki`, `forum`, `booking` or `admin`. There are as many tasks as one
        asks for; `seed` gives other ones.
        """
        return make_tasks(split, n, seed, **params)

    @classmethod
    def resolver_rules(cls) -> tuple[str, ...]:
        """Of this process's server."""
        return (_server().resolver_rule,)

    @classmethod
    def place(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Place:
        """The task's site, with content of its own."""
        return SitePlace(_server(), task)


def _server() -> Server:
    if importlib.util.find_spec("werkzeug") is None:
        raise MissingExtraError("werkzeug", "web")
    from ..sites.server import Server

    return Server.shared()


class SitePlace(Place):
    """One episode at one site."""

    def __init__(self, server: Server, task: Task) -> None:
        self.goal = SiteTask.of(task).goal
        self._server = server
        self._visit = server.begin(task)
        self.hosts = Hosts((self._visit.host,))

    async def enter(self, session: Session) -> None:
        """Open the front page, as the visit that the server knows by its cookie."""
        name, value = self._visit.cookie
        await session.context.add_cookies([{"name": name, "value": value, "url": self._visit.url, "httpOnly": True}])
        await session.navigate(self._visit.url)

    async def standing(self, session: Session, answer: str | None, deeds: Sequence[Deed]) -> Standing:
        """How the database and the answer stand; the episode ends when the agent stops."""
        verdict = self._server.check(self._visit, answer)
        return Standing(verdict.score, verdict.success)

    def dump(self) -> bytes | None:
        """The site's whole database."""
        return self._server.dump(self._visit)

    def load(self, state: bytes) -> None:
        """Put the database back."""
        self._server.load(self._visit, state)

    def leave(self) -> None:
        """Let the server forget the episode."""
        self._server.end(self._visit)
