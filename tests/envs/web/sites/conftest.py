"""A server, and visitors who are seen off when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("werkzeug")

from kintsugi.envs.core import Task
from kintsugi.envs.web.sites.server import Server
from site_client import Visitor, task_of


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def visit(server: Server) -> Iterator[Callable[..., Visitor]]:
    """A visitor who has a task, or one of a type."""
    visitors = []

    def begin(task: Task | str, split: str = "train", number: int = 0) -> Visitor:
        visitors.append(Visitor(server, task_of(task, split, number) if isinstance(task, str) else task))
        return visitors[-1]

    yield begin
    for visitor in visitors:
        server.end(visitor.visit)
