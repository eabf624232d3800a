"""A browser and a misbehaving site for all tests of the web."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bad_site import BadSite, BadWeb, at, html, lines
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
    """Makes environments with little patience; the browser is the one that all share."""
    made = []

    def make(**options: object) -> BadWeb:
        config = WebConfig(**{"patience": 1.0, "deadline": 20.0, **options})
        made.append(web_class(config=config, max_steps=99))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def shown(web: Callable[..., BadWeb], site: BadSite) -> Callable[..., tuple[BadWeb, str]]:
    """Opens a page with this body; gives the environment and what is seen."""

    def show(body: str, path: str = "/page", **options: object) -> tuple[BadWeb, str]:
        site.pages[path] = html("Page", body)
        env = web(**options)
        return env, env.reset(options={"task": at(path)})[0]

    return show


@pytest.fixture
def opened(shown: Callable[..., tuple[BadWeb, str]]) -> Callable[..., tuple[BadWeb, list[str]]]:
    """The same, with the lines that are shown of the page."""

    def open_(body: str, path: str = "/page", **options: object) -> tuple[BadWeb, list[str]]:
        env, observation = shown(body, path, **options)
        return env, lines(observation)

    return open_
