"""Tests of the pages of all sites: well-formed, accessible, without dead links, and safe against hostile input."""

from __future__ import annotations

import re

import pytest
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.envs.web.sites.tasks import make_tasks
from site_client import Document, SiteClient

HOSTILE = "'; DROP TABLE session; -- <script>alert(1)</script><b>\"&amp;{{ 7*7 }}%_!"
LIMIT = 40


def first_task(slug: str):
    site = SITES[slug]
    return next(t for t in make_tasks(site.split, 200, kind=site.kind) if t.params["site"] == slug)


def crawl(client: SiteClient) -> dict[str, str]:
    """Return the texts of up to `LIMIT` pages by path, following links breadth-first from the front page."""
    found: dict[str, str] = {}
    ahead = ["/"]
    while ahead and len(found) < LIMIT:
        path = ahead.pop(0)
        if path not in found:
            response = client.get(path)
            assert response.status == 200, path
            found[path] = response.text
            ahead += Document(response.text).links
    return found


@pytest.mark.parametrize("slug", SITES)
def test_pages_are_well_formed_and_accessible(new_client, slug):
    for path, text in crawl(new_client(first_task(slug))).items():
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
            assert hidden or named or "label" in field.parents, (path, field)
        for button in page.all("button", "a"):
            assert button.text.strip() or button.attributes.get("aria-label"), (path, button)
        for image in page.all("svg", "img"):
            assert image.attributes.get("aria-hidden") == "true" or image.attributes.get("alt"), path


def test_pages_do_not_reveal_the_server(new_client):
    client = new_client(first_task("paper-kite"))
    for path in ("/", "/nowhere"):
        response = client.get(path)
        sent = f"{response.headers} {response.text}"
        assert str(client.server.port) not in sent
        assert client.session.cookie[1] not in sent
        assert not re.search(r"Python|Werkzeug|127\.0\.0\.1|localhost", sent)
        assert "script-src" in sent or "default-src 'self'" in sent


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
def test_hostile_input_stays_text_or_is_rejected(new_client, caplog, slug, value):
    from urllib.parse import quote

    client = new_client(first_task(slug))
    for path in FORMS[slug]:
        target = path.replace("{}", quote(value or " ", safe=""))
        responses = [client.request("POST", target, dict.fromkeys(FIELDS, value)), client.get(target)]
        for response in responses:
            assert response.status in (200, 303, 403, 404, 405, 422), (path, response.status)
            if response.status in (200, 422):
                page = Document(response.text)
                assert page.unclosed == []
                assert all("alert(1)" not in e.text for e in page.all("script", "b"))
                assert "<script>alert" not in response.text
    assert client.get("/").status == 200
    assert client.server.dump(client.session)
    assert not caplog.records


def test_input_is_escaped_and_searchable_literally(new_client):
    client = new_client("wiki_write")
    page = client.post("/new", title="A & <b>B", text=HOSTILE + "\n\n[[No such]] and [[" + "x" * 50)
    assert Document(page.text).all("h1")[0].text == "A & <b>B"
    assert HOSTILE in Document(page.text).all("main")[0].text
    assert "No such" not in [a.text for a in Document(page.text).all("a")]
    assert client.get("/search?q=%25").text.count("<li>") == 1
    assert client.get("/search?q=_").text.count("<li>") == 1


def test_form_errors_name_the_field_and_keep_the_input(new_client):
    client = new_client("booking_book")
    page = client.post("/rooms/1", arrival="31.07.2026", departure="2026-08-02", guests="99", name="  ")
    assert page.status == 422
    alert = next(e for e in Document(page.text).elements if e.attributes.get("role") == "alert")
    assert alert.text.count("\n") > 3
    for message in ("write the day as 2026-07-31", "must be a whole number from 1 to", "Full name is missing"):
        assert message in alert.text
    fields = {e.attributes.get("id"): e for e in Document(page.text).all("input")}
    assert fields["arrival"].attributes["value"] == "31.07.2026"
    assert fields["arrival"].attributes["aria-invalid"] == "true"
    assert "aria-invalid" not in fields["departure"].attributes
