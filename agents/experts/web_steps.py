"""Single turns on the embedded sites. Each thought quotes the element that its action uses."""

from __future__ import annotations

from collections.abc import Iterable

from ...envs.web.sites.catalogue import SITES
from .web_page import FIELD_ROLES, Line, Page, PageMismatch

Turn = tuple[str, str]
"""A thought and an action."""


def labels(kind: str, key: str) -> set[str]:
    """Return the labels for `key` on all sites of a kind."""
    return {site.labels[key] for site in SITES.values() if site.kind == kind}


def follow(page: Page, names: Iterable[str]) -> Turn:
    """Click the first link with one of the names."""
    return click("open", page.find("link", names))


def press(page: Page, names: Iterable[str]) -> Turn:
    """Click the first button with one of the names."""
    return click("press", page.find("button", names))


def click(verb: str, line: Line) -> Turn:
    """Click an element. `verb` describes the click in the thought."""
    return f"I {verb} {_quote_line(line)}.", f"click [{line.id}]"


def _quote_line(line: Line) -> str:
    """Quote an element as condensed pages show it, with the number after the name, so that models can copy both."""
    return f"'{line.name}' [{line.id}]"


def fill(page: Page, names: Iterable[str], text: str) -> Turn:
    """Type into the first text field with one of the names."""
    line = page.find(FIELD_ROLES, names)
    return f"I fill {_quote_line(line)} with '{text}'.", f"type [{line.id}] [{text}]"


def choose(page: Page, names: Iterable[str], option: str) -> Turn:
    """Select an option of the first combobox with one of the names."""
    line = page.find("combobox", names)
    if option not in line.options:
        raise PageMismatch(f"the option {option}")
    return f"I set {_quote_line(line)} to '{option}'.", f"select [{line.id}] [{option}]"


def search(page: Page, text: str) -> Turn:
    """Submit a text to the search field of the site."""
    line = page.first("searchbox")
    return f"I search {_quote_line(line)} for '{text}'.", f"type [{line.id}] [{text}] [submit]"


def answer(what: str, value: str) -> Turn:
    """Stop with an answer. `what` names the value in the thought."""
    return f"'{what}' is '{value}'.", f"stop [{value}]"


def done() -> Turn:
    """Stop without an answer."""
    return "It is done.", "stop"
