"""A browser and a misbehaving site for all tests of the web."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kintsugi.envs.web import WebConfig
from webs import BadSite, BadWeb


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
