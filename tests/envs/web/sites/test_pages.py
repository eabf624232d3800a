"""All pages of all sites: well-formed, accessible, without dead links; and what people type stays text."""

from __future__ import annotations

import re

import pytest
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.envs.web.sites.tasks import make_tasks
from site_client import Document, Visitor

HOSTILE = "'; DROP TABLE session; -- <script>alert(1)</script><b>\"&amp;{{ 7*7 }}%_!"
LIMIT = 40


def first_task(slug: str):
    site = SITES[slug]
    return next(t for t in make_tasks(site.split, 200, kind=site.kind) if t.params["site"] == slug)


def crawl(visitor: Visitor) -> dict[str, str]:
    """Pages by path, from the front page on, as far as links lead (or `LIMIT` pages)."""
    found: dict[str, str] = {}
    ahead = ["/"]
    while ahead and len(found) < LIMIT:
        path = ahead.pop(0)
        if path not in found:
            answer = visitor.get(path)
            assert answer.status == 200, path
            found[path] = answer.text
            ahead += Document(answer.text).links
    return found


@pytest.mark.parametrize("slug", SITES)
def test_every_page_is_sound(visit, slug):
    for path, text in crawl(visit(first_task(slug))).items():
        page = Document(text)
        assert page.unclosed == [], path
        assert len(page.all("h1")) == 1, path
        assert [e.attributes.get("lang") for e in page.all("html")] == ["en"]
        assert page.all("title")[0].text.endswith(f"· {SITES[slug].name}")
        ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
        assert len(set(ids)) == len(ids), path
        labelled = {e.attributes["for"] for e in page.all("label") if "for" in e.attributes}
        assert labelled <= set(ids), path
        for field in page.all("input", "select", "textarea"):
            hidden = field.attributes.get("type") == "hidden"
            named = field.attributes.get("aria-label") or field.attributes.get("id") in labelled
            assert hidden or named or "label" in field.inside, (path, field)
        for button in page.all("button", "a"):
            assert button.text.strip() or button.attributes.get("aria-label"), (path, button)
        for image in page.all("svg", "img"):
            assert image.attributes.get("aria-hidden") == "true" or image.attributes.get("alt"), path


def test_pages_say_nothing_of_the_machine(visit):
    visitor = visit(first_task("paper-kite"))
    for path in ("/", "/nowhere"):
        answer = visitor.get(path)
        told = f"{answer.headers} {answer.text}"
        assert str(visitor.server.port) not in told
        assert visitor.visit.cookie[1] not in told
        assert not re.search(r"Python|Werkzeug|127\.0\.0\.1|localhost", told)
        assert "script-src" in told or "default-src 'self'" in told


FORMS = {
    "paper-kite": ["/cart", "/cart/1", "/checkout", "/products?q={}", "/products?category={}&sort={}&page={}&most={}"],
    "railpedia": ["/new", "/wiki/{}", "/wiki/{}/edit", "/search?q={}", "/articles?sort={}"],
    "two-wheels-talk": ["/sign-in", "/join", "/profile", "/threads/1", "/boards/1/new", "/posts/1/like",
                        "/search?q={}"],
    "lodgement": ["/rooms/1", "/find", "/booking", "/booking/cancel", "/places?city={}&extra={}&sort={}"],
    "clinic-console": ["/people/new", "/people/1", "/people/1/suspend", "/tickets/201", "/settings",
                       "/tickets?agent={}&status={}"],
}  # fmt: skip
FIELDS = (
    "product colour quantity action name street city delivery title text summary user password place about arrival "
    "departure guests code email role agent priority status setting-1 setting-2 setting-3 setting-4 setting-5 fact-1"
).split()


@pytest.mark.parametrize("slug", FORMS)
@pytest.mark.parametrize("value", [HOSTILE, "", "x" * 5000, "\x00\x1b[2J\r\n\t", "ход→手🙂", "-1", "1e9", "٣"])
def test_hostile_input_is_text_or_an_error_and_never_more(visit, caplog, slug, value):
    from urllib.parse import quote

    visitor = visit(first_task(slug))
    for path in FORMS[slug]:
        there = path.replace("{}", quote(value or " ", safe=""))
        answers = [visitor.ask("POST", there, dict.fromkeys(FIELDS, value)), visitor.get(there)]
        for answer in answers:
            assert answer.status in (200, 303, 403, 404, 405, 422), (path, answer.status)
            if answer.status in (200, 422):
                page = Document(answer.text)
                assert page.unclosed == []
                assert all("alert(1)" not in e.text for e in page.all("script", "b"))
                assert "<script>alert" not in answer.text
    assert visitor.get("/").status == 200
    assert visitor.server.dump(visitor.visit)
    assert not caplog.records


def test_what_was_typed_comes_back_as_it_was(visit):
    visitor = visit("wiki_write")
    page = visitor.post("/new", title="A & <b>B", text=HOSTILE + "\n\n[[No such]] and [[" + "x" * 50)
    assert Document(page.text).all("h1")[0].text == "A & <b>B"
    assert HOSTILE in Document(page.text).all("main")[0].text
    assert "No such" not in [a.text for a in Document(page.text).all("a")]
    assert visitor.get("/search?q=%25").text.count("<li>") == 1
    assert visitor.get("/search?q=_").text.count("<li>") == 1


def test_errors_name_the_field_and_keep_what_was_typed(visit):
    visitor = visit("booking_book")
    page = visitor.post("/rooms/1", arrival="31.07.2026", departure="2026-08-02", guests="99", name="  ")
    assert page.status == 422
    alert = next(e for e in Document(page.text).elements if e.attributes.get("role") == "alert")
    assert alert.text.count("\n") > 3
    for said in ("write the day as 2026-07-31", "must be a whole number from 1 to", "Full name is missing"):
        assert said in alert.text
    fields = {e.attributes.get("id"): e for e in Document(page.text).all("input")}
    assert fields["arrival"].attributes["value"] == "31.07.2026"
    assert fields["arrival"].attributes["aria-invalid"] == "true"
    assert "aria-invalid" not in fields["departure"].attributes
