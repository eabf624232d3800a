"""Fixtures of the web tests: a misbehaving site, and environments that browse it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bad_site import BadSite, BadWeb, html, page_lines, task_at
from kintsugi.envs.web import WebConfig


@pytest.fixture(scope="session")
def site() -> Iterator[BadSite]:
    opened = BadSite()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def web_class(site: BadSite) -> type[BadWeb]:
    return type("SiteWeb", (BadWeb,), {"site": site})


@pytest.fixture
def web(chromium: str, web_class: type[BadWeb]) -> Iterator[Callable[..., BadWeb]]:
    """Create environments with short timeouts. All use the shared browser."""
    made = []

    def make(**options: object) -> BadWeb:
        config = WebConfig(**{"settle_timeout": 1.0, "step_timeout": 20.0, **options})
        made.append(web_class(config=config, max_steps=99))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def shown(web: Callable[..., BadWeb], site: BadSite) -> Callable[..., tuple[BadWeb, str]]:
    """Open a page with a given body; return the environment and the observation."""

    def show(body: str, path: str = "/page", **options: object) -> tuple[BadWeb, str]:
        site.pages[path] = html("Page", body)
        env = web(**options)
        return env, env.reset(options={"task": task_at(path)})[0]

    return show


@pytest.fixture
def opened(shown: Callable[..., tuple[BadWeb, str]]) -> Callable[..., tuple[BadWeb, list[str]]]:
    """Open a page with a given body; return the environment and the lines of the page."""

    def open_(body: str, path: str = "/page", **options: object) -> tuple[BadWeb, list[str]]:
        env, observation = shown(body, path, **options)
        return env, page_lines(observation)

    return open_
