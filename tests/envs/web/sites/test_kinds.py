"""What each kind of site does, over plain HTTP, and what its checkers say of attempts that are not quite right."""

from __future__ import annotations

from typing import Any

import pytest
from kintsugi.envs.web.sites.forum.content import secret
from kintsugi.envs.web.sites.passwords import fits, hashed
from kintsugi.envs.web.sites.tasks import SiteTask
from site_client import Document, Visitor


def args(visitor: Visitor) -> dict[str, Any]:
    return SiteTask.of(visitor.task).args


def rows(visitor: Visitor, sql: str, *values: object) -> list[tuple[Any, ...]]:
    return visitor.server._state(visitor.visit).db.execute(sql, values).fetchall()


def one(visitor: Visitor, sql: str, *values: object):
    return rows(visitor, sql, *values)[0][0]


def stand(visitor: Visitor, answer: str | None = None) -> tuple[float, bool]:
    verdict = visitor.verdict(answer)
    return round(verdict.score, 3), verdict.success


# -- The shop -----------------------------------------------------------------------------------------------------


def buy(visitor: Visitor, **changes: object) -> None:
    wanted = {**args(visitor), **changes}
    product = one(visitor, "SELECT id FROM product WHERE name = ?", wanted["product"])
    visitor.post("/cart", product=product, colour=wanted["colour"], quantity=wanted["quantity"])
    visitor.post("/checkout", **{name: wanted[name] for name in ("name", "street", "city", "delivery")})


@pytest.mark.parametrize("split", ["train", "valid", "valid_unseen"])
def test_buying(visit, split):
    visitor = visit("shop_buy", split)
    before = one(visitor, "SELECT sum(stock) FROM product")
    buy(visitor)
    assert stand(visitor) == (1.0, True)
    assert rows(visitor, "SELECT * FROM cart_item") == []
    assert one(visitor, "SELECT sum(stock) FROM product") == before - args(visitor)["quantity"]
    items = rows(visitor, "SELECT sum(price * quantity) FROM order_item WHERE order_id = 1008")[0][0]
    shipping = {"Standard": 490, "Express": 1290, "Pick-up": 0}[args(visitor)["delivery"]]
    assert one(visitor, "SELECT total FROM orders WHERE id = 1008") == items + shipping


def test_buying_something_else_is_worth_a_part(visit):
    for changes, score in (
        ({"quantity": 1}, 5 / 6),
        ({"city": "Elsewhere"}, 5 / 6),
        ({"name": "X", "quantity": 1}, 4 / 6),
    ):
        visitor = visit("shop_buy")
        buy(visitor, **changes)
        assert stand(visitor) == (round(score, 3), False)
    visitor = visit("shop_buy")
    buy(visitor)
    buy(visitor)
    assert stand(visitor) == (0.0, False)
    visitor = visit("shop_buy")
    buy(visitor)
    visitor.post("/orders/1006/cancel")
    assert stand(visitor) == (0.5, False)


def test_there_is_nothing_to_pay_for_an_empty_cart(visit):
    visitor = visit("shop_buy")
    page = visitor.post("/checkout", name="A", street="B", city="C", delivery="Express")
    assert "There is nothing here yet." in page.text
    assert len(rows(visitor, "SELECT * FROM orders")) == 7


def test_filters_sorting_and_pages_agree_with_the_database(visit):
    visitor = visit("shop_count")
    number = one(visitor, "SELECT id FROM category WHERE name = ?", args(visitor)["category"])
    most = args(visitor)["most"]
    page = visitor.get(f"/products?category={number}&most={most}&sort=price")
    wanted = rows(
        visitor, "SELECT name FROM product WHERE category_id = ? AND price <= ? ORDER BY price", number, most * 100
    )
    assert [h.text for h in Document(page.text).all("h3")] == [name for (name,) in wanted]
    assert stand(visitor, f"There are {len(wanted)}.") == (1.0, True)
    assert stand(visitor, str(len(wanted) + 1)) == (0.0, False)
    names = []
    for page_number in range(1, 5):
        found = Document(visitor.get(f"/products?page={page_number}").text)
        assert f"Page {page_number} of 4" in found.all("nav")[-1].text
        names += [h.text for h in found.all("h3")]
    assert sorted(names) == sorted(name for (name,) in rows(visitor, "SELECT name FROM product"))


def test_only_what_is_processed_can_be_cancelled_and_stock_comes_back(visit):
    visitor = visit("shop_cancel")
    before = one(visitor, "SELECT sum(stock) FROM product")
    sent = rows(visitor, "SELECT id FROM orders WHERE status = 'Delivered' OR status = 'Shipped'")
    for (number,) in sent[:1]:
        assert "cannot be cancelled" in visitor.post(f"/orders/{number}/cancel").text
    assert stand(visitor) == (0.0, False)
    visitor.post(f"/orders/{args(visitor)['order']}/cancel")
    assert stand(visitor) == (1.0, True)
    assert one(visitor, "SELECT sum(stock) FROM product") > before
    other = next(n for (n,) in rows(visitor, "SELECT id FROM orders WHERE status = 'Processing'"))
    visitor.post(f"/orders/{other}/cancel")
    assert stand(visitor) == (0.0, False)


def test_the_cart_takes_no_more_than_there_is(visit):
    visitor = visit("shop_change")
    assert visitor.post("/cart/1", quantity=10).status == 422
    assert visitor.post("/cart/99", quantity=1).status == 404
    for _ in range(3):
        visitor.post(
            "/cart", product=1, colour=one(visitor, "SELECT name FROM colour WHERE product_id = 1"), quantity=9
        )
    assert one(visitor, "SELECT max(quantity) FROM cart_item WHERE product_id = 1") == 9


def test_all_colours_of_a_product_together_are_no_more_than_there_is(visit):
    visitor = visit("shop_change")
    visitor.post("/cart/1", action="remove")
    stock = one(visitor, "SELECT stock FROM product WHERE id = 1")
    colours = [name for (name,) in rows(visitor, "SELECT name FROM colour WHERE product_id = 1")]
    for _ in range(9):
        for colour in colours:
            assert visitor.post("/cart", product=1, colour=colour, quantity=9).status < 500
        assert one(visitor, "SELECT coalesce(sum(quantity), 0) FROM cart_item WHERE product_id = 1") <= stock
        order = visitor.post("/checkout", name="A", street="B", city="C", delivery="Express")
        assert order.status < 500
        stock = one(visitor, "SELECT stock FROM product WHERE id = 1")
    assert stock == 0
    assert "no more" in visitor.post("/cart", product=1, colour=colours[0], quantity=1).text
    assert rows(visitor, "SELECT * FROM cart_item WHERE product_id = 1") == []


# -- The wiki -----------------------------------------------------------------------------------------------------


def test_looking_up_needs_the_right_fact_and_no_other(visit):
    visitor = visit("wiki_fact")
    about = args(visitor)
    query = "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id WHERE f.name = ?"
    right = rows(visitor, query + " AND a.title = ?", about["fact"], about["title"])[0][0]
    wrong = next(value for (value,) in rows(visitor, query, about["fact"]) if value != right)
    assert stand(visitor, f"It is {right}.") == (1.0, True)
    assert stand(visitor, f"{right} or {wrong}") == (0.0, False)
    assert stand(visitor, wrong) == (0.0, False)


def test_editing_changes_that_fact_alone_and_is_noted(visit):
    visitor = visit("wiki_edit")
    about = args(visitor)
    path = f"/wiki/{about['title'].replace(' ', '%20')}"
    form = {
        str(field.attributes["name"]): field.attributes.get("value") or field.text
        for field in Document(visitor.get(f"{path}/edit").text).all("input", "textarea")
        if field.attributes["name"] != "q"
    }
    number = rows(
        visitor,
        "SELECT f.id FROM fact f JOIN article a ON a.id = f.article_id WHERE a.title = ? AND f.name = ?",
        about["title"],
        about["fact"],
    )[0][0]
    page = visitor.post(f"{path}/edit", **{**form, f"fact-{number}": about["value"], "summary": "As asked"})
    assert "Your change is saved." in page.text
    assert stand(visitor) == (1.0, True)
    history = Document(visitor.get(f"{path}/history").text)
    assert [cell.text for cell in history.all("td")][:3] == ["14 May 2026", "Visitor", "As asked"]
    visitor.post(f"{path}/edit", **{**form, f"fact-{number}": about["value"], "text": "Gone."})
    assert stand(visitor) == (0.5, False)


def test_two_articles_cannot_share_a_title(visit):
    visitor = visit("wiki_write")
    about = args(visitor)
    taken = one(visitor, "SELECT title FROM article")
    for title in (taken, taken.lower(), "a/b", "", "."):
        assert visitor.post("/new", title=title, text="x").status == 422
    assert visitor.post("/new", title=about["title"], text="Something else").status == 200
    assert stand(visitor) == (0.5, False)


# -- The forum ----------------------------------------------------------------------------------------------------


def sign_in(visitor: Visitor, user: str, password: str):
    return visitor.post("/sign-in", user=user, password=password)


def test_only_the_right_password_opens_an_account(visit):
    visitor = visit("forum_reply")
    user = args(visitor)["user"]
    for name, password in ((user, "wrong"), (user, ""), ("nobody", "x"), (user, secret(user).upper())):
        assert sign_in(visitor, name, password).status == 422
        assert visitor.get("/profile").status == 403
    assert f"Welcome, {user}." in sign_in(visitor, user.upper(), secret(user)).text
    assert visitor.get("/profile").status == 200
    visitor.post("/sign-out")
    assert visitor.get("/profile").status == 403


def test_passwords_are_not_kept():
    assert hashed("river", "a") == hashed("river", "a") != hashed("river", "b")
    assert fits("river", "a", hashed("river", "a"))
    assert "river" not in hashed("river", "a")


def test_a_reply_counts_for_the_one_who_wrote_it_where_it_was_asked_for(visit):
    visitor = visit("forum_reply")
    about = args(visitor)
    assert visitor.post("/threads/1", text=about["text"]).status == 403
    sign_in(visitor, about["user"], about["password"])
    number = one(visitor, "SELECT id FROM thread WHERE title = ?", about["thread"])
    other = one(visitor, "SELECT id FROM thread WHERE title <> ?", about["thread"])
    visitor.post(f"/threads/{other}", text=about["text"])
    assert stand(visitor) == (0.667, False)
    right = visit("forum_reply")
    sign_in(right, about["user"], about["password"])
    assert stand(right) == (0.333, False)
    right.post(f"/threads/{number}", text=about["text"])
    assert stand(right) == (1.0, True)
    right.post(f"/threads/{number}", text=about["text"])
    assert not right.verdict().success


def test_a_like_is_given_once_and_taken_back(visit):
    visitor = visit("forum_like")
    about = args(visitor)
    sign_in(visitor, about["user"], about["password"])
    number = rows(
        visitor,
        "SELECT p.id FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE t.title = ? AND a.user = ?",
        about["thread"],
        about["author"],
    )[0][0]
    told = visitor.ask("POST", f"/posts/{number}/like", {}, Accept="application/json")
    likes = one(visitor, "SELECT count(*) FROM likes WHERE post_id = ?", number)
    assert told.text == f'{{"likes": {likes}, "mine": true}}'
    assert stand(visitor) == (1.0, True)
    visitor.post(f"/posts/{number}/like")
    assert stand(visitor) == (0.5, False)


# -- The booking site -----------------------------------------------------------------------------------------------


def test_booking_and_what_is_wrong_with_a_stay(visit):
    visitor = visit("booking_book")
    about = args(visitor)
    room = rows(
        visitor,
        "SELECT r.id FROM room r JOIN place p ON p.id = r.place_id WHERE p.name = ? AND r.name = ?",
        about["place"],
        about["room"],
    )[0][0]
    stay = {name: about[name] for name in ("arrival", "departure", "guests", "name")}
    for wrong, said in (
        ({"arrival": "2026-05-13"}, "cannot begin in the past"),
        ({"departure": stay["arrival"]}, "must end after it begins"),
        ({"guests": 0}, "must be a whole number"),
    ):
        answer = visitor.post(f"/rooms/{room}", **{**stay, **wrong})
        assert (answer.status, said in answer.text) == (422, True)
    assert "Your booking is confirmed." in visitor.post(f"/rooms/{room}", **stay).text
    assert stand(visitor) == (1.0, True)
    again = visitor.post(f"/rooms/{room}", **stay)
    assert (again.status, "is taken on these days" in again.text) == (422, True)
    assert stand(visitor) == (1.0, True)


def test_a_booking_needs_code_and_name(visit):
    visitor = visit("booking_cancel")
    about = args(visitor)
    assert visitor.get("/booking").status == 404
    assert visitor.post("/booking/cancel").status == 404
    for code, name in ((about["code"], "Nobody"), ("XX000", about["name"]), (about["code"], " ")):
        assert visitor.post("/find", code=code, name=name).status == 422
    assert visitor.post("/find", code=about["code"].lower(), name=about["name"].upper()).status == 200
    visitor.post("/booking/cancel")
    assert stand(visitor) == (1.0, True)


# -- The console ----------------------------------------------------------------------------------------------------


def test_a_person_is_added_once(visit):
    visitor = visit("admin_add")
    about = args(visitor)
    assert visitor.post("/people/new", **{**about, "role": "King"}).status == 422
    assert visitor.post("/people/new", **{**about, "email": "x"}).status == 422
    visitor.post("/people/new", **about)
    assert stand(visitor) == (1.0, True)
    assert "is in use already" in visitor.post("/people/new", **about).text
    visitor.post("/people/1/suspend")
    assert stand(visitor) == (0.5, False)


def test_half_an_assignment_is_half_done(visit):
    visitor = visit("admin_assign")
    about = args(visitor)
    status, agent = rows(
        visitor,
        "SELECT t.status, p.name FROM ticket t JOIN person p ON p.id = t.agent_id WHERE t.id = ?",
        about["ticket"],
    )[0]
    path = f"/tickets/{about['ticket']}"
    visitor.post(path, agent=agent, priority=about["priority"], status=status)
    assert stand(visitor) == (0.5, False)
    visitor.post(path, agent=about["agent"], priority=about["priority"], status=status)
    assert stand(visitor) == (1.0, True)
    visitor.post("/settings", **{"setting-1": "x"})
    assert visitor.verdict().success
    visitor.post("/settings", **{"setting-1": "x", "setting-2": "9", "setting-3": "9"})
    assert stand(visitor) == (0.5, False)


def test_switches_and_numbers_are_checked(visit):
    visitor = visit("admin_switch")
    values = dict(rows(visitor, "SELECT 'setting-' || id, value FROM setting"))
    number = "setting-{}".format(one(visitor, "SELECT id FROM setting WHERE name = ?", args(visitor)["setting"]))
    form = {name: value for name, value in values.items() if value != "off"}
    assert visitor.post("/settings", **{**form, "setting-2": "many"}).status == 422
    form.pop(number, None)
    if args(visitor)["value"] == "on":
        form[number] = "on"
    visitor.post("/settings", **form)
    assert stand(visitor) == (1.0, True)
