"""Tests of each kind of site over HTTP, and of the scores of correct and partly correct attempts."""

from __future__ import annotations

from typing import Any

import pytest
from kintsugi.envs.web.sites.forum.content import account_password
from kintsugi.envs.web.sites.passwords import hash_password, verify_password
from kintsugi.envs.web.sites.tasks import SiteTask
from site_client import Document, SiteClient


def task_args(client: SiteClient) -> dict[str, Any]:
    return SiteTask.from_task(client.task).args


def fetch_rows(client: SiteClient, sql: str, *values: object) -> list[tuple[Any, ...]]:
    return client.server._session_state(client.session).db.execute(sql, values).fetchall()


def fetch_value(client: SiteClient, sql: str, *values: object):
    return fetch_rows(client, sql, *values)[0][0]


def verdict_of(client: SiteClient, answer: str | None = None) -> tuple[float, bool]:
    verdict = client.verdict(answer)
    return round(verdict.score, 3), verdict.success


# -- Shops --------------------------------------------------------------------------------------------------------


def buy(client: SiteClient, **changes: object) -> None:
    wanted = {**task_args(client), **changes}
    product = fetch_value(client, "SELECT id FROM product WHERE name = ?", wanted["product"])
    client.post("/cart", product=product, colour=wanted["colour"], quantity=wanted["quantity"])
    client.post("/checkout", **{name: wanted[name] for name in ("name", "street", "city", "delivery")})


@pytest.mark.parametrize("split", ["train", "valid", "valid_unseen"])
def test_purchase_succeeds(new_client, split):
    client = new_client("shop_buy", split)
    before = fetch_value(client, "SELECT sum(stock) FROM product")
    buy(client)
    assert verdict_of(client) == (1.0, True)
    assert fetch_rows(client, "SELECT * FROM cart_item") == []
    assert fetch_value(client, "SELECT sum(stock) FROM product") == before - task_args(client)["quantity"]
    items = fetch_rows(client, "SELECT sum(price * quantity) FROM order_item WHERE order_id = 1008")[0][0]
    shipping = {"Standard": 490, "Express": 1290, "Pick-up": 0}[task_args(client)["delivery"]]
    assert fetch_value(client, "SELECT total FROM orders WHERE id = 1008") == items + shipping


def test_wrong_purchase_scores_partly(new_client):
    for changes, score in (
        ({"quantity": 1}, 5 / 6),
        ({"city": "Elsewhere"}, 5 / 6),
        ({"name": "X", "quantity": 1}, 4 / 6),
    ):
        client = new_client("shop_buy")
        buy(client, **changes)
        assert verdict_of(client) == (round(score, 3), False)
    client = new_client("shop_buy")
    buy(client)
    buy(client)
    assert verdict_of(client) == (0.0, False)
    client = new_client("shop_buy")
    buy(client)
    client.post("/orders/1006/cancel")
    assert verdict_of(client) == (0.5, False)


def test_empty_cart_cannot_be_ordered(new_client):
    client = new_client("shop_buy")
    page = client.post("/checkout", name="A", street="B", city="C", delivery="Express")
    assert "There is nothing here yet." in page.text
    assert len(fetch_rows(client, "SELECT * FROM orders")) == 7


def test_filters_sorting_and_pages_agree_with_the_database(new_client):
    client = new_client("shop_count")
    number = fetch_value(client, "SELECT id FROM category WHERE name = ?", task_args(client)["category"])
    most = task_args(client)["most"]
    page = client.get(f"/products?category={number}&most={most}&sort=price")
    wanted = fetch_rows(
        client, "SELECT name FROM product WHERE category_id = ? AND price <= ? ORDER BY price", number, most * 100
    )
    assert [h.text for h in Document(page.text).all("h3")] == [name for (name,) in wanted]
    assert verdict_of(client, f"There are {len(wanted)}.") == (1.0, True)
    assert verdict_of(client, str(len(wanted) + 1)) == (0.0, False)
    names = []
    for page_number in range(1, 5):
        found = Document(client.get(f"/products?page={page_number}").text)
        assert f"Page {page_number} of 4" in found.all("nav")[-1].text
        names += [h.text for h in found.all("h3")]
    assert sorted(names) == sorted(name for (name,) in fetch_rows(client, "SELECT name FROM product"))


def test_only_processing_orders_can_be_cancelled_and_stock_is_restored(new_client):
    client = new_client("shop_cancel")
    before = fetch_value(client, "SELECT sum(stock) FROM product")
    sent = fetch_rows(client, "SELECT id FROM orders WHERE status = 'Delivered' OR status = 'Shipped'")
    for (number,) in sent[:1]:
        assert "cannot be cancelled" in client.post(f"/orders/{number}/cancel").text
    assert verdict_of(client) == (0.0, False)
    client.post(f"/orders/{task_args(client)['order']}/cancel")
    assert verdict_of(client) == (1.0, True)
    assert fetch_value(client, "SELECT sum(stock) FROM product") > before
    other = next(n for (n,) in fetch_rows(client, "SELECT id FROM orders WHERE status = 'Processing'"))
    client.post(f"/orders/{other}/cancel")
    assert verdict_of(client) == (0.0, False)


def test_cart_quantity_is_limited(new_client):
    client = new_client("shop_change")
    assert client.post("/cart/1", quantity=10).status == 422
    assert client.post("/cart/99", quantity=1).status == 404
    for _ in range(3):
        client.post(
            "/cart", product=1, colour=fetch_value(client, "SELECT name FROM colour WHERE product_id = 1"), quantity=9
        )
    assert fetch_value(client, "SELECT max(quantity) FROM cart_item WHERE product_id = 1") == 9


def test_quantity_over_all_colours_is_limited_by_stock(new_client):
    client = new_client("shop_change")
    client.post("/cart/1", action="remove")
    stock = fetch_value(client, "SELECT stock FROM product WHERE id = 1")
    colours = [name for (name,) in fetch_rows(client, "SELECT name FROM colour WHERE product_id = 1")]
    for _ in range(9):
        for colour in colours:
            assert client.post("/cart", product=1, colour=colour, quantity=9).status < 500
        assert fetch_value(client, "SELECT coalesce(sum(quantity), 0) FROM cart_item WHERE product_id = 1") <= stock
        order = client.post("/checkout", name="A", street="B", city="C", delivery="Express")
        assert order.status < 500
        stock = fetch_value(client, "SELECT stock FROM product WHERE id = 1")
    assert stock == 0
    assert "no more" in client.post("/cart", product=1, colour=colours[0], quantity=1).text
    assert fetch_rows(client, "SELECT * FROM cart_item WHERE product_id = 1") == []


# -- Wikis --------------------------------------------------------------------------------------------------------


def test_fact_answer_must_contain_only_the_correct_value(new_client):
    client = new_client("wiki_fact")
    goal_args = task_args(client)
    query = "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id WHERE f.name = ?"
    right = fetch_rows(client, query + " AND a.title = ?", goal_args["fact"], goal_args["title"])[0][0]
    wrong = next(value for (value,) in fetch_rows(client, query, goal_args["fact"]) if value != right)
    assert verdict_of(client, f"It is {right}.") == (1.0, True)
    assert verdict_of(client, f"{right} or {wrong}") == (0.0, False)
    assert verdict_of(client, wrong) == (0.0, False)


def test_edit_changes_one_fact_and_adds_a_revision(new_client):
    client = new_client("wiki_edit")
    goal_args = task_args(client)
    path = f"/wiki/{goal_args['title'].replace(' ', '%20')}"
    form = {
        str(field.attributes["name"]): field.attributes.get("value") or field.text
        for field in Document(client.get(f"{path}/edit").text).all("input", "textarea")
        if field.attributes["name"] != "q"
    }
    number = fetch_rows(
        client,
        "SELECT f.id FROM fact f JOIN article a ON a.id = f.article_id WHERE a.title = ? AND f.name = ?",
        goal_args["title"],
        goal_args["fact"],
    )[0][0]
    page = client.post(f"{path}/edit", **{**form, f"fact-{number}": goal_args["value"], "summary": "As asked"})
    assert "Your change is saved." in page.text
    assert verdict_of(client) == (1.0, True)
    history = Document(client.get(f"{path}/history").text)
    assert [cell.text for cell in history.all("td")][:3] == ["14 May 2026", "Visitor", "As asked"]
    client.post(f"{path}/edit", **{**form, f"fact-{number}": goal_args["value"], "text": "Gone."})
    assert verdict_of(client) == (0.5, False)


def test_article_titles_are_unique(new_client):
    client = new_client("wiki_write")
    goal_args = task_args(client)
    taken = fetch_value(client, "SELECT title FROM article")
    for title in (taken, taken.lower(), "a/b", "", "."):
        assert client.post("/new", title=title, text="x").status == 422
    assert client.post("/new", title=goal_args["title"], text="Something else").status == 200
    assert verdict_of(client) == (0.5, False)


# -- Forums -------------------------------------------------------------------------------------------------------


def sign_in(client: SiteClient, user: str, password: str):
    return client.post("/sign-in", user=user, password=password)


def test_sign_in_needs_the_correct_password(new_client):
    client = new_client("forum_reply")
    user = task_args(client)["user"]
    for name, password in ((user, "wrong"), (user, ""), ("nobody", "x"), (user, account_password(user).upper())):
        assert sign_in(client, name, password).status == 422
        assert client.get("/profile").status == 403
    assert f"Welcome, {user}." in sign_in(client, user.upper(), account_password(user)).text
    assert client.get("/profile").status == 200
    client.post("/sign-out")
    assert client.get("/profile").status == 403


def test_passwords_are_hashed():
    assert hash_password("river", "a") == hash_password("river", "a") != hash_password("river", "b")
    assert verify_password("river", "a", hash_password("river", "a"))
    assert "river" not in hash_password("river", "a")


def test_reply_needs_the_requested_account_and_thread(new_client):
    client = new_client("forum_reply")
    goal_args = task_args(client)
    assert client.post("/threads/1", text=goal_args["text"]).status == 403
    sign_in(client, goal_args["user"], goal_args["password"])
    number = fetch_value(client, "SELECT id FROM thread WHERE title = ?", goal_args["thread"])
    other = fetch_value(client, "SELECT id FROM thread WHERE title <> ?", goal_args["thread"])
    client.post(f"/threads/{other}", text=goal_args["text"])
    assert verdict_of(client) == (0.667, False)
    right = new_client("forum_reply")
    sign_in(right, goal_args["user"], goal_args["password"])
    assert verdict_of(right) == (0.333, False)
    right.post(f"/threads/{number}", text=goal_args["text"])
    assert verdict_of(right) == (1.0, True)
    right.post(f"/threads/{number}", text=goal_args["text"])
    assert not right.verdict().success


def test_like_is_toggled(new_client):
    client = new_client("forum_like")
    goal_args = task_args(client)
    sign_in(client, goal_args["user"], goal_args["password"])
    number = fetch_rows(
        client,
        "SELECT p.id FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE t.title = ? AND a.user = ?",
        goal_args["thread"],
        goal_args["author"],
    )[0][0]
    response = client.request("POST", f"/posts/{number}/like", {}, Accept="application/json")
    likes = fetch_value(client, "SELECT count(*) FROM likes WHERE post_id = ?", number)
    assert response.text == f'{{"likes": {likes}, "mine": true}}'
    assert verdict_of(client) == (1.0, True)
    client.post(f"/posts/{number}/like")
    assert verdict_of(client) == (0.5, False)


# -- Booking sites --------------------------------------------------------------------------------------------------


def test_booking_rejects_invalid_stays(new_client):
    client = new_client("booking_book")
    goal_args = task_args(client)
    room = fetch_rows(
        client,
        "SELECT r.id FROM room r JOIN place p ON p.id = r.place_id WHERE p.name = ? AND r.name = ?",
        goal_args["place"],
        goal_args["room"],
    )[0][0]
    stay = {name: goal_args[name] for name in ("arrival", "departure", "guests", "name")}
    for wrong, message in (
        ({"arrival": "2026-05-13"}, "cannot begin in the past"),
        ({"departure": stay["arrival"]}, "must end after it begins"),
        ({"guests": 0}, "must be a whole number"),
    ):
        response = client.post(f"/rooms/{room}", **{**stay, **wrong})
        assert (response.status, message in response.text) == (422, True)
    assert "Your booking is confirmed." in client.post(f"/rooms/{room}", **stay).text
    assert verdict_of(client) == (1.0, True)
    again = client.post(f"/rooms/{room}", **stay)
    assert (again.status, "is taken on these days" in again.text) == (422, True)
    assert verdict_of(client) == (1.0, True)


def test_finding_a_booking_needs_code_and_name(new_client):
    client = new_client("booking_cancel")
    goal_args = task_args(client)
    assert client.get("/booking").status == 404
    assert client.post("/booking/cancel").status == 404
    for code, name in ((goal_args["code"], "Nobody"), ("XX000", goal_args["name"]), (goal_args["code"], " ")):
        assert client.post("/find", code=code, name=name).status == 422
    assert client.post("/find", code=goal_args["code"].lower(), name=goal_args["name"].upper()).status == 200
    client.post("/booking/cancel")
    assert verdict_of(client) == (1.0, True)


# -- Admin consoles --------------------------------------------------------------------------------------------------


def test_person_is_added_once(new_client):
    client = new_client("admin_add")
    goal_args = task_args(client)
    assert client.post("/people/new", **{**goal_args, "role": "King"}).status == 422
    assert client.post("/people/new", **{**goal_args, "email": "x"}).status == 422
    client.post("/people/new", **goal_args)
    assert verdict_of(client) == (1.0, True)
    assert "is in use already" in client.post("/people/new", **goal_args).text
    client.post("/people/1/suspend")
    assert verdict_of(client) == (0.5, False)


def test_partial_assignment_scores_half(new_client):
    client = new_client("admin_assign")
    goal_args = task_args(client)
    status, agent = fetch_rows(
        client,
        "SELECT t.status, p.name FROM ticket t JOIN person p ON p.id = t.agent_id WHERE t.id = ?",
        goal_args["ticket"],
    )[0]
    path = f"/tickets/{goal_args['ticket']}"
    client.post(path, agent=agent, priority=goal_args["priority"], status=status)
    assert verdict_of(client) == (0.5, False)
    client.post(path, agent=goal_args["agent"], priority=goal_args["priority"], status=status)
    assert verdict_of(client) == (1.0, True)
    client.post("/settings", **{"setting-1": "x"})
    assert client.verdict().success
    client.post("/settings", **{"setting-1": "x", "setting-2": "9", "setting-3": "9"})
    assert verdict_of(client) == (0.5, False)


def test_settings_are_validated(new_client):
    client = new_client("admin_switch")
    values = dict(fetch_rows(client, "SELECT 'setting-' || id, value FROM setting"))
    number = "setting-{}".format(
        fetch_value(client, "SELECT id FROM setting WHERE name = ?", task_args(client)["setting"])
    )
    form = {name: value for name, value in values.items() if value != "off"}
    assert client.post("/settings", **{**form, "setting-2": "many"}).status == 422
    form.pop(number, None)
    if task_args(client)["value"] == "on":
        form[number] = "on"
    client.post("/settings", **form)
    assert verdict_of(client) == (1.0, True)
