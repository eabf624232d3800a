"""Fixtures of the site tests: a site server, and clients whose sessions end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("werkzeug")

from kintsugi.envs.core import Task
from kintsugi.envs.web.sites.server import Server
from site_client import SiteClient, task_of


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    site_server = Server()
    yield site_server
    site_server.close()


@pytest.fixture
def new_client(server: Server) -> Iterator[Callable[..., SiteClient]]:
    """Create clients for a task, or for a task of the given type."""
    clients = []

    def create(task: Task | str, split: str = "train", number: int = 0) -> SiteClient:
        clients.append(SiteClient(server, task_of(task, split, number) if isinstance(task, str) else task))
        return clients[-1]

    yield create
    for client in clients:
        server.end_session(client.session)
