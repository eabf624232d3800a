"""Single steps on the embedded sites: each is a thought, which quotes what it is about, and the action."""

from __future__ import annotations

from collections.abc import Iterable

from ...envs.web.sites.catalogue import SITES
from .web_page import FIELDS, Line, Lost, Page

Act = tuple[str, str]
"""A thought and an action."""


def words(kind: str, key: str) -> set[str]:
    """All that sites of a kind may call something."""
    return {site.words[key] for site in SITES.values() if site.kind == kind}


def follow(page: Page, names: Iterable[str]) -> Act:
    """Click a link."""
    return click("open", page.find("link", names))


def push(page: Page, names: Iterable[str]) -> Act:
    """Click a button."""
    return click("press", page.find("button", names))


def click(verb: str, line: Line) -> Act:
    """Click a line of any role; the verb says what for."""
    return f"I {verb} {_quoted(line)}.", f"click [{line.id}]"


def _quoted(line: Line) -> str:
    """As pages are told in short, number last: who begins to quote a name comes to the number by going on."""
    return f"'{line.name}' [{line.id}]"


def fill(page: Page, names: Iterable[str], text: str) -> Act:
    """Type into a field."""
    line = page.find(FIELDS, names)
    return f"I fill {_quoted(line)} with '{text}'.", f"type [{line.id}] [{text}]"


def choose(page: Page, names: Iterable[str], option: str) -> Act:
    """Choose from a list."""
    line = page.find("combobox", names)
    if option not in line.options:
        raise Lost(f"the option {option}")
    return f"I set {_quoted(line)} to '{option}'.", f"select [{line.id}] [{option}]"


def search(page: Page, text: str) -> Act:
    """Look for something in the site's search."""
    line = page.first("searchbox")
    return f"I search {_quoted(line)} for '{text}'.", f"type [{line.id}] [{text}] [submit]"


def answer(what: str, value: str) -> Act:
    """Say it and stop."""
    return f"'{what}' is '{value}'.", f"stop [{value}]"


def done() -> Act:
    """Stop without an answer."""
    return "It is done.", "stop"
