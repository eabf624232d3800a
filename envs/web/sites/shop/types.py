"""What one can be asked to do in a shop."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import words
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import DELIVERY, STATUSES


def _buy(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    product, name = rng.choice(db.execute("SELECT id, name FROM product ORDER BY id").fetchall())
    colours = [row[0] for row in db.execute("SELECT name FROM colour WHERE product_id = ? ORDER BY id", (product,))]
    return {
        "product": name,
        "colour": rng.choice(colours),
        "quantity": rng.between(2, 6),
        "name": words.person(rng),
        "street": words.street(rng),
        "city": rng.choice(words.CITIES),
        "delivery": rng.choice(sorted(DELIVERY)),
    }


def _empty_cart(db: sqlite3.Connection, args: Args) -> None:
    db.execute("DELETE FROM cart_item")


def _bought(e: Evidence, args: Args) -> Iterator[bool]:
    orders = e.added("orders")
    order: Row = orders[0] if len(orders) == 1 else {}
    items = e.rows(
        "SELECT p.name, i.colour, i.quantity FROM order_item i JOIN product p ON p.id = i.product_id "
        "WHERE i.order_id = ?",
        order.get("id"),
    )
    item = items[0] if len(items) == 1 else {}
    yield bool(order)
    yield item.get("name") == args["product"]
    yield item.get("colour") == args["colour"]
    yield item.get("quantity") == args["quantity"]
    yield (order.get("name"), order.get("street"), order.get("city")) == (args["name"], args["street"], args["city"])
    yield order.get("delivery") == args["delivery"]


def _cheapest(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"category": rng.choice([name for (name,) in db.execute("SELECT name FROM category ORDER BY id")])}


def _cheapest_in_cart(e: Evidence, args: Args) -> Iterator[bool]:
    [best] = e.was(
        "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? ORDER BY p.price LIMIT 1",
        args["category"],
    )
    count = "SELECT product_id, sum(quantity) AS n FROM cart_item GROUP BY product_id"
    before = {row["product_id"]: row["n"] for row in e.was(count)}
    wanted = {**before, best["id"]: before.get(best["id"], 0) + 1}
    yield {row["product_id"]: row["n"] for row in e.rows(count)} == wanted


def _count(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    category = _cheapest(rng, db, site)["category"]
    prices = [
        price
        for (price,) in db.execute(
            "SELECT p.price FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? ORDER BY p.price",
            (category,),
        )
    ]
    dollars = prices[rng.between(1, len(prices) - 2)] // 100 + 1
    return {"category": category, "most": dollars}


def _counted(e: Evidence, args: Args) -> Iterator[bool]:
    [row] = e.was(
        "SELECT count(*) AS n FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? AND p.price <= ?",
        args["category"],
        args["most"] * 100,
    )
    yield e.says(row["n"])


def _order(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"order": rng.choice([number for (number,) in db.execute("SELECT id FROM orders ORDER BY id")])}


def _status(e: Evidence, args: Args) -> Iterator[bool]:
    [row] = e.was("SELECT status FROM orders WHERE id = ?", args["order"])
    yield e.says(row["status"], STATUSES)


def _open_order(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT id FROM orders WHERE status = 'Processing' ORDER BY id").fetchall()
    return {"order": rng.choice([number for (number,) in found])}


def _cancelled(e: Evidence, args: Args) -> Iterator[bool]:
    statuses = {row["id"]: row["status"] for row in e.was("SELECT id, status FROM orders")}
    now = {row["id"]: row["status"] for row in e.rows("SELECT id, status FROM orders")}
    yield now == {**statuses, args["order"]: "Cancelled"}


def _cart_item(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    query = "SELECT p.name FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
    return {"product": rng.choice([name for (name,) in db.execute(query)])}


def _cart_number(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    args = _cart_item(rng, db, site)
    query = "SELECT i.quantity FROM cart_item i JOIN product p ON p.id = i.product_id WHERE p.name = ?"
    [(quantity,)] = db.execute(query, (args["product"],)).fetchall()
    return {**args, "quantity": rng.choice([n for n in range(1, 8) if n != quantity])}


def _cart(e: Evidence, args: Args, quantity: int | None) -> Iterator[bool]:
    query = "SELECT p.name, i.colour, i.quantity FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
    wanted = [{**row, "quantity": quantity} if row["name"] == args["product"] else row for row in e.was(query)]
    yield e.rows(query) == [row for row in wanted if row["quantity"] is not None]


TYPES = (
    TaskType(
        "shop_buy",
        (
            "Buy '{quantity}' of the '{product}' in '{colour}'. Deliver to '{name}', '{street}', '{city}'. "
            "Delivery: '{delivery}'.",
            "Order the '{product}', '{quantity}' pieces in '{colour}', for '{name}', '{street}', '{city}'. "
            "Delivery: '{delivery}'.",
        ),
        _buy,
        _bought,
        frozenset({"cart_item", "product"}),
        frozenset({"orders", "order_item"}),
        prepare=_empty_cart,
    ),
    TaskType(
        "shop_cheapest",
        (
            "Put one piece of the cheapest product in '{category}' into the cart.",
            "Find the cheapest product in '{category}' and add one to the cart.",
        ),
        _cheapest,
        _cheapest_in_cart,
        frozenset({"cart_item"}),
    ),
    TaskType(
        "shop_count",
        (
            "How many products in '{category}' cost at most '{most}' dollars?",
            "Tell me how many products in '{category}' are priced at '{most}' dollars or less.",
        ),
        _count,
        _counted,
    ),
    TaskType(
        "shop_status",
        ("What is the status of order '{order}'?", "Look up order '{order}' and tell me its status."),
        _order,
        _status,
    ),
    TaskType(
        "shop_cancel",
        ("Cancel order '{order}'.", "Please cancel my order '{order}'."),
        _open_order,
        _cancelled,
        frozenset({"orders", "product"}),
    ),
    TaskType(
        "shop_change",
        (
            "Change the number of the '{product}' in the cart to '{quantity}'.",
            "I want '{quantity}' of the '{product}' that is in the cart; update it.",
        ),
        _cart_number,
        lambda e, args: _cart(e, args, args["quantity"]),
        frozenset({"cart_item"}),
    ),
    TaskType(
        "shop_remove",
        ("Remove the '{product}' from the cart.", "Take the '{product}' out of the cart."),
        _cart_item,
        lambda e, args: _cart(e, args, None),
        frozenset({"cart_item"}),
    ),
)
