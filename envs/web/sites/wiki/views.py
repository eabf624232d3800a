"""Pages of wikis."""

from __future__ import annotations

import re
from urllib.parse import quote

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ..core import NOW
from ..pages import Form, Page, Routes, Row, like_pattern

routes = Routes()
VISITOR = "Visitor"


@routes.get("/")
def home(page: Page) -> Response:
    """Front page: article kinds and the latest changes."""
    recent = page.rows(
        "SELECT a.title, max(r.changed) AS changed FROM revision r JOIN article a ON a.id = r.article_id "
        "GROUP BY a.id ORDER BY changed DESC, a.id LIMIT 5"
    )
    sorts = page.rows("SELECT sort, count(*) AS n FROM article WHERE sort <> '' GROUP BY sort ORDER BY min(id)")
    return page.render("wiki/home.html", recent=recent, sorts=sorts)


@routes.get("/articles")
def index(page: Page) -> Response:
    """List of all articles, or of one kind."""
    sort = page.query("sort")
    where, values = ("WHERE sort = ?", (sort,)) if sort else ("", ())
    found = page.rows(f"SELECT title FROM article {where} ORDER BY title", *values)
    return page.render("wiki/list.html", heading=sort or page.site.labels["all"], found=found, words="")


@routes.get("/search")
def search(page: Page) -> Response:
    """Articles that contain all words. With the layout `go`, an exact title leads directly to its article."""
    words = page.query("q")
    exact = page.value("SELECT title FROM article WHERE title = ? COLLATE NOCASE", words)
    if exact is not None and page.site.layout["search"] == "go":
        return page.redirect(article_path(exact))
    terms = words.split()[:10]
    where = " AND ".join("(title LIKE ? ESCAPE '!' OR text LIKE ? ESCAPE '!')" for _ in terms) or "0"
    values = [like_pattern(term) for term in terms for _ in range(2)]
    found = page.rows(
        f"SELECT title FROM article WHERE {where} ORDER BY title <> ? COLLATE NOCASE, title", *values, words
    )
    return page.render("wiki/list.html", heading=f"Results for “{words}”", found=found, words=words)


@routes.get("/wiki/<title>")
def article(page: Page, title: str) -> Response:
    """Article page."""
    row = _get_article(page, title)
    titles = {found["title"] for found in page.rows("SELECT title FROM article")}
    paragraphs = [_split_links(text, titles) for text in row["text"].split("\n\n")]
    return page.render(
        "wiki/article.html", article=row, paragraphs=paragraphs, facts=_get_facts(page, row), titles=titles, tab="read"
    )


@routes.get("/wiki/<title>/history")
def history(page: Page, title: str) -> Response:
    """Revisions of an article, latest first."""
    row = _get_article(page, title)
    changes = page.rows("SELECT * FROM revision WHERE article_id = ? ORDER BY id DESC", row["id"])
    return page.render("wiki/history.html", article=row, changes=changes, tab="history")


@routes.get("/wiki/<title>/edit")
def edit(page: Page, title: str, form: Form | None = None) -> Response:
    """Form to edit an article."""
    row = _get_article(page, title)
    status = 422 if form and form.errors else 200
    return page.render("wiki/edit.html", article=row, facts=_get_facts(page, row), form=form, tab="edit", status=status)


@routes.post("/wiki/<title>/edit")
def save_edit(page: Page, title: str) -> Response:
    """Save an edited article."""
    row = _get_article(page, title)
    form = page.form()
    text = form.text("text", "Text", multiline=True, max_length=20_000)
    values = {
        fact["id"]: form.text(f"fact-{fact['id']}", fact["name"], max_length=120) for fact in _get_facts(page, row)
    }
    summary = form.text("summary", "Summary", max_length=120, min_length=0)
    if form.errors:
        return edit(page, title, form)
    page.execute("UPDATE article SET text = ? WHERE id = ?", text, row["id"])
    for number, value in values.items():
        page.execute("UPDATE fact SET value = ? WHERE id = ?", value, number)
    _add_revision(page, row["id"], summary)
    page.set_notice("Your change is saved.")
    return page.redirect(article_path(row["title"]))


@routes.get("/new")
def new(page: Page, form: Form | None = None) -> Response:
    """Form for a new article."""
    return page.render("wiki/new.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/new")
def create(page: Page) -> Response:
    """Save a new article."""
    form = page.form()
    title, text = (
        form.text("title", "Title", max_length=80),
        form.text("text", "Text", multiline=True, max_length=20_000),
    )
    if page.value("SELECT 1 FROM article WHERE title = ? COLLATE NOCASE", title):
        form.errors["title"] = f"There is an article called {title} already."
    elif "/" in title or not any(c.isalnum() for c in title):
        form.errors.setdefault("title", "A title needs a letter or a digit, and cannot contain a slash.")
    if form.errors:
        return new(page, form)
    number = page.execute("INSERT INTO article (title, sort, text) VALUES (?, '', ?)", title, text)
    _add_revision(page, number, "First version")
    page.set_notice("Your article is saved.")
    return page.redirect(article_path(title))


def article_path(title: str) -> str:
    """Return the path of an article."""
    return f"/wiki/{quote(title, safe='')}"


def _add_revision(page: Page, article: int, summary: str) -> None:
    page.execute(
        "INSERT INTO revision (article_id, author, changed, summary) VALUES (?, ?, ?, ?)",
        article,
        VISITOR,
        NOW,
        summary,
    )


def _get_article(page: Page, title: str) -> Row:
    row = page.row("SELECT * FROM article WHERE title = ?", title)
    if row is None:
        raise NotFound("There is no article of that title.")
    return row


def _get_facts(page: Page, article: Row) -> list[Row]:
    return page.rows("SELECT * FROM fact WHERE article_id = ? ORDER BY id", article["id"])


def _split_links(text: str, titles: set[str]) -> list[tuple[str, bool]]:
    """Split a paragraph into pieces, each with whether it is a link. Links to missing articles become plain text."""
    pieces = re.split(r"\[\[(.+?)\]\]", text)
    return [(piece, number % 2 == 1 and piece in titles) for number, piece in enumerate(pieces) if piece]
