"""What the views of all kinds of site share: routing, forms, and a `Page` that reads and writes one episode's database.

A view is a function from `Page` to a response. It never builds SQL or HTML from text: values go in as parameters, and
templates escape what they are given.
"""

from __future__ import annotations

import functools
import sqlite3
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter, Map, Rule
from werkzeug.wrappers import Request, Response

from .core import NOW, TODAY, Site

FOLDER = Path(__file__).parent
LONGEST_TEXT = 2000
"""Characters that a form field may have unless the view says otherwise."""
LARGEST_FORM = 200_000
"""Bytes of a request's body."""

Row = dict[str, Any]
View = Callable[..., Response]


class SiteRequest(Request):
    """A request whose body is bounded."""

    max_content_length = LARGEST_FORM
    max_form_memory_size = LARGEST_FORM
    max_form_parts = 200


class Key(IntegerConverter):
    """A number in a path that SQLite can hold; longer ones are no page."""

    regex = r"\d{1,12}"


class Routes:
    """The pages of a kind, by path and method."""

    def __init__(self) -> None:
        self.map = Map(strict_slashes=False, converters={"int": Key})
        self.views: dict[str, View] = {}

    def get(self, path: str) -> Callable[[View], View]:
        """Decorates the view of GET (and HEAD) at `path`, in Werkzeug's notation."""
        return self._add(path, ["GET"])

    def post(self, path: str) -> Callable[[View], View]:
        """Decorates the view of POST at `path`."""
        return self._add(path, ["POST"])

    def _add(self, path: str, methods: list[str]) -> Callable[[View], View]:
        def register(view: View) -> View:
            endpoint = f"{methods[0]} {path}"
            self.map.add(Rule(path, methods=methods, endpoint=endpoint))
            self.views[endpoint] = view
            return view

        return register


class Form:
    """Reads a submitted form field by field and collects what is wrong with it, by field."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.errors: dict[str, str] = {}

    def text(self, name: str, label: str, *, most: int = LONGEST_TEXT, least: int = 1, lines: bool = False) -> str:
        """A text without control characters, of `least` to `most` characters; one line unless `lines`."""
        value = clean(self.values.get(name, ""), lines=lines)
        if len(value) < least:
            self.errors[name] = f"{label} is missing." if not value else f"{label} needs at least {least} characters."
        elif len(value) > most:
            self.errors[name] = f"{label} may have at most {most} characters, not {len(value)}."
        return value

    def number(self, name: str, label: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        value = clean(self.values.get(name, ""))
        if value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high:
            return int(value)
        self.errors[name] = f"{label} must be a whole number from {low} to {high}."
        return low

    def choice(self, name: str, label: str, options: Any) -> str:
        """One of `options`."""
        value = self.values.get(name, "")
        if value not in options:
            self.errors[name] = f"{label}: choose one of the options."
        return value


class Page:
    """One request to one site, and what its view needs to answer it."""

    def __init__(self, request: SiteRequest, site: Site, db: sqlite3.Connection) -> None:
        self.request = request
        self.site = site
        self.db = db

    # -- The database -------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """All rows that a query finds."""
        cursor = self.db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row that a query finds."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row; None where there is none."""
        found = self.db.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def run(self, sql: str, *values: Any) -> int:
        """Carry out a statement; returns the id of the last row that was put in."""
        return int(self.db.execute(sql, values).lastrowid or 0)

    # -- The visit ----------------------------------------------------------------------------------------------

    def remembered(self, key: str) -> str | None:
        """What this visit keeps under `key`."""
        value: str | None = self.value("SELECT value FROM session WHERE key = ?", key)
        return value

    def remember(self, key: str, value: str) -> None:
        """Keep a value for this visit."""
        self.run("INSERT INTO session VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)

    def forget(self, key: str) -> None:
        """No longer keep it."""
        self.run("DELETE FROM session WHERE key = ?", key)

    @functools.cached_property
    def user(self) -> Row | None:
        """The account that is signed in, of sites that have accounts."""
        number = self.remembered("account")
        return None if number is None else self.row("SELECT * FROM account WHERE id = ?", int(number))

    # -- What came in and what goes out -------------------------------------------------------------------------

    def form(self) -> Form:
        """The submitted form."""
        return Form(self.request.form)

    def query(self, name: str, default: str = "") -> str:
        """A value from the address, cleaned."""
        return clean(self.request.args.get(name, default))[:200]

    def number(self, name: str, default: int, most: int = 1_000_000) -> int:
        """A whole number of 0 or more from the address; `default` for all else."""
        value = self.query(name)
        return min(int(value), most) if value.isascii() and value.isdigit() and len(value) < 10 else default

    def link(self, **changes: Any) -> str:
        """This address with some values of its query changed, or left out where None."""
        values = {**self.request.args, **changes}
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        return self.request.path + ("?" + urlencode(kept) if kept else "")

    def notice(self, text: str) -> None:
        """Shown once, at the top of the next page."""
        self.remember("notice", text)

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page of this site's kind."""
        notice = self.remembered("notice")
        if notice is not None:
            self.forget("notice")
        html = (
            _templates()
            .get_template(template)
            .render(site=self.site, word=self.site.words, layout=self.site.layout, page=self, notice=notice, **values)
        )
        return Response(html, status, content_type="text/html; charset=utf-8", headers=HEADERS)

    def go(self, path: str) -> Response:
        """On to another page of this site, by GET."""
        return Response("", 303, headers={"Location": path, **HEADERS})

    def json(self, value: Any) -> Response:
        """For the pages' scripts."""
        import json

        return Response(json.dumps(value), content_type="application/json", headers=HEADERS)

    @property
    def wants_json(self) -> bool:
        """Whether a script asks, and not a person."""
        return self.request.headers.get("Accept", "").startswith("application/json")


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def answer(routes: Routes, request: SiteRequest, site: Site, db: sqlite3.Connection) -> Response:
    """The response to one request; what it wrote is kept only when it did not fail."""
    page = Page(request, site, db)
    try:
        adapter = routes.map.bind_to_environ(request.environ)
        endpoint, values = adapter.match()
        response = routes.views[endpoint](page, **values)
        db.commit()
        return response
    except HTTPException as error:
        db.rollback()
        if error.response is not None or error.code is None or error.code < 400:
            return Response.force_type(error.get_response(request.environ))
        return page.show("error.html", status=error.code, title=error.name, text=error.description)
    except BaseException:
        db.rollback()
        raise


def clean(text: str, *, lines: bool = False) -> str:
    """`text` without control characters and outer spaces; line breaks are kept with `lines`, else made spaces."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not lines:
        text = text.replace("\n", " ").replace("\t", " ")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cf"))
    return "".join(kept).strip()


def like(text: str) -> str:
    """A pattern for SQL's `LIKE ... ESCAPE '!'` that finds `text` anywhere, whatever characters it has."""
    escaped = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(now=NOW, today=TODAY)
    environment.filters.update(money=lambda cents: f"${cents / 100:,.2f}", date=_date, day=lambda when: when[:10])
    return environment


def _date(when: str) -> str:
    """`2026-05-14T09:30:00` as `14 May 2026`."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return f"{int(when[8:10])} {months[int(when[5:7]) - 1]} {when[:4]}"
