"""The embedded sites: served by this process, and scored by the content of their databases."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import MissingExtraError
from ...core import Task, TaskSet
from ..hosts import AllowedHosts
from ..session import Session
from ..sites.tasks import SiteTask, make_tasks
from .core import Judge, LoggedAction, Scenario, Status, World

if TYPE_CHECKING:
    from ..sites.server import Server


class Sites(World):
    """Tasks of 29 types on shops, wikis, forums, booking sites and admin consoles; every split has its own sites."""

    name: ClassVar[str] = "sites"

    @classmethod
    def tasks(cls, split: str, n: int | None, seed: int, **params: Any) -> TaskSet:
        """Return tasks that cycle through the task types. Their number is not limited.

        Args:
            split: `train`, `valid` or `valid_unseen`.
            n: Number of tasks; None for 800 of `train` or 200 of another split.
            seed: Different seeds give different tasks.
            **params: `kind` restricts the tasks to one kind of site: `shop`, `wiki`, `forum`, `booking` or `admin`.
        """
        return make_tasks(split, n, seed, **params)

    @classmethod
    def resolver_rules(cls) -> tuple[str, ...]:
        """Return the resolver rule of this process's server."""
        return (_server().resolver_rule,)

    @classmethod
    def scenario(cls, task: Task, hosts: Sequence[str], judge: Judge | None) -> Scenario:
        """Create the scenario, with its own copy of the site."""
        return SiteScenario(_server(), task)


def _server() -> Server:
    if importlib.util.find_spec("werkzeug") is None:
        raise MissingExtraError("werkzeug", "web")
    from ..sites.server import Server

    return Server.shared()


class SiteScenario(Scenario):
    """An episode on one site."""

    def __init__(self, server: Server, task: Task) -> None:
        self.goal = SiteTask.from_task(task).goal
        self._server = server
        self._site_session = server.start_session(task)
        self.hosts = AllowedHosts((self._site_session.host,))

    async def start(self, session: Session) -> None:
        """Set the cookie that identifies the session to the server, and open the front page."""
        name, value = self._site_session.cookie
        await session.context.add_cookies(
            [{"name": name, "value": value, "url": self._site_session.url, "httpOnly": True}]
        )
        await session.navigate(self._site_session.url)

    async def status(self, session: Session, answer: str | None, action_log: Sequence[LoggedAction]) -> Status:
        """Score the database and the answer. The episode ends when the agent stops."""
        verdict = self._server.check(self._site_session, answer)
        return Status(verdict.score, verdict.success)

    def dump(self) -> bytes | None:
        """Return the whole database of the site."""
        return self._server.dump(self._site_session)

    def load(self, state: bytes) -> None:
        """Restore the database."""
        self._server.load(self._site_session, state)

    def close(self) -> None:
        """End the session on the server."""
        self._server.end_session(self._site_session)
