"""Routing, forms and rendering for the views of all site kinds.

A view is a function from a `Page` to a response. Views pass values to SQL as parameters, and templates escape all
values, so input never becomes SQL or HTML.
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
MAX_TEXT_LENGTH = 2000
"""Default maximum number of characters in a form field."""
MAX_BODY_BYTES = 200_000
"""Maximum size of a request body, in bytes."""

Row = dict[str, Any]
View = Callable[..., Response]


class SiteRequest(Request):
    """A request with a limited body size."""

    max_content_length = MAX_BODY_BYTES
    max_form_memory_size = MAX_BODY_BYTES
    max_form_parts = 200


class RowIdConverter(IntegerConverter):
    """Matches row ids in paths: up to 12 digits, which fit into an SQLite integer."""

    regex = r"\d{1,12}"


class Routes:
    """The views of a site kind, by path and HTTP method."""

    def __init__(self) -> None:
        self.map = Map(strict_slashes=False, converters={"int": RowIdConverter})
        self.views: dict[str, View] = {}

    def get(self, path: str) -> Callable[[View], View]:
        """Return a decorator for the view that answers GET and HEAD at `path`, a Werkzeug rule."""
        return self._add(path, ["GET"])

    def post(self, path: str) -> Callable[[View], View]:
        """Return a decorator for the view that answers POST at `path`, a Werkzeug rule."""
        return self._add(path, ["POST"])

    def _add(self, path: str, methods: list[str]) -> Callable[[View], View]:
        def register(view: View) -> View:
            endpoint = f"{methods[0]} {path}"
            self.map.add(Rule(path, methods=methods, endpoint=endpoint))
            self.views[endpoint] = view
            return view

        return register


class Form:
    """A submitted form. Reading a field validates it and stores an error message in `errors` if it is invalid."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.errors: dict[str, str] = {}

    def text(
        self, name: str, label: str, *, max_length: int = MAX_TEXT_LENGTH, min_length: int = 1, multiline: bool = False
    ) -> str:
        """Read a text field, without control characters.

        Args:
            name: Field name.
            label: Name of the field in error messages.
            max_length: Maximum number of characters.
            min_length: Minimum number of characters.
            multiline: Keep line breaks. Otherwise they become spaces.
        """
        value = clean_text(self.values.get(name, ""), multiline=multiline)
        if len(value) < min_length:
            self.errors[name] = (
                f"{label} is missing." if not value else f"{label} needs at least {min_length} characters."
            )
        elif len(value) > max_length:
            self.errors[name] = f"{label} may have at most {max_length} characters, not {len(value)}."
        return value

    def number(self, name: str, label: str, low: int, high: int) -> int:
        """Read an integer in [`low`, `high`]; return `low` if the field is invalid."""
        value = clean_text(self.values.get(name, ""))
        if value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high:
            return int(value)
        self.errors[name] = f"{label} must be a whole number from {low} to {high}."
        return low

    def choice(self, name: str, label: str, options: Any) -> str:
        """Read a field whose value must be one of `options`."""
        value = self.values.get(name, "")
        if value not in options:
            self.errors[name] = f"{label}: choose one of the options."
        return value


class Page:
    """One request to a site, with the database of its episode and the means to respond."""

    def __init__(self, request: SiteRequest, site: Site, db: sqlite3.Connection) -> None:
        self.request = request
        self.site = site
        self.db = db

    # -- The database -------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """Return all rows of a query."""
        cursor = self.db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, sql: str, *values: Any) -> Row | None:
        """Return the first row of a query, or None."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    def value(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row of a query, or None."""
        found = self.db.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def execute(self, sql: str, *values: Any) -> int:
        """Execute a statement. Return the id of the last inserted row."""
        return int(self.db.execute(sql, values).lastrowid or 0)

    # -- The session --------------------------------------------------------------------------------------------

    def session_value(self, key: str) -> str | None:
        """Return a value stored in the session, or None."""
        value: str | None = self.value("SELECT value FROM session WHERE key = ?", key)
        return value

    def set_session_value(self, key: str, value: str) -> None:
        """Store a value in the session."""
        self.execute(
            "INSERT INTO session VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value
        )

    def delete_session_value(self, key: str) -> None:
        """Delete a value from the session."""
        self.execute("DELETE FROM session WHERE key = ?", key)

    @functools.cached_property
    def user(self) -> Row | None:
        """The signed-in account, or None. Only for sites with accounts."""
        number = self.session_value("account")
        return None if number is None else self.row("SELECT * FROM account WHERE id = ?", int(number))

    # -- Request and response -----------------------------------------------------------------------------------

    def form(self) -> Form:
        """Return the submitted form."""
        return Form(self.request.form)

    def query(self, name: str, default: str = "") -> str:
        """Return a value of the query string, cleaned and cut to 200 characters."""
        return clean_text(self.request.args.get(name, default))[:200]

    def query_number(self, name: str, default: int, maximum: int = 1_000_000) -> int:
        """Return a non-negative integer of the query string, clipped to `maximum`; `default` if it is invalid."""
        value = self.query(name)
        return min(int(value), maximum) if value.isascii() and value.isdigit() and len(value) < 10 else default

    def link(self, **changes: Any) -> str:
        """Return the path and query of this request with changed query values. None removes a value."""
        values = {**self.request.args, **changes}
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        return self.request.path + ("?" + urlencode(kept) if kept else "")

    def set_notice(self, text: str) -> None:
        """Show a message once, at the top of the next page."""
        self.set_session_value("notice", text)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a template of this site kind."""
        notice = self.session_value("notice")
        if notice is not None:
            self.delete_session_value("notice")
        html = (
            _templates()
            .get_template(template)
            .render(site=self.site, word=self.site.labels, layout=self.site.layout, page=self, notice=notice, **values)
        )
        return Response(html, status, content_type="text/html; charset=utf-8", headers=HEADERS)

    def redirect(self, path: str) -> Response:
        """Redirect to another page of this site (303, so the browser uses GET)."""
        return Response("", 303, headers={"Location": path, **HEADERS})

    def json_response(self, value: Any) -> Response:
        """Respond with JSON, for scripts of the pages."""
        import json

        return Response(json.dumps(value), content_type="application/json", headers=HEADERS)

    @property
    def wants_json(self) -> bool:
        """Whether a script sent the request and expects JSON."""
        return self.request.headers.get("Accept", "").startswith("application/json")


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def respond(routes: Routes, request: SiteRequest, site: Site, db: sqlite3.Connection) -> Response:
    """Run the view for a request. Commit its database changes if it succeeds, else roll them back."""
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
        return page.render("error.html", status=error.code, title=error.name, text=error.description)
    except BaseException:
        db.rollback()
        raise


def clean_text(text: str, *, multiline: bool = False) -> str:
    """Remove control characters, and white space at both ends. Line breaks become spaces unless `multiline`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not multiline:
        text = text.replace("\n", " ").replace("\t", " ")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cf"))
    return "".join(kept).strip()


def like_pattern(text: str) -> str:
    """Return a pattern for SQL's `LIKE ... ESCAPE '!'` that matches `text` literally at any position."""
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
    environment.filters.update(
        money=lambda cents: f"${cents / 100:,.2f}", date=_date, day=lambda timestamp: timestamp[:10]
    )
    return environment


def _date(timestamp: str) -> str:
    """Format `2026-05-14T09:30:00` as `14 May 2026`."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return f"{int(timestamp[8:10])} {months[int(timestamp[5:7]) - 1]} {timestamp[:4]}"
