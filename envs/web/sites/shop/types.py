"""Task types of shops."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import DELIVERY_PRICES, STATUSES


def _draw_purchase(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    product, name = rng.choice(db.execute("SELECT id, name FROM product ORDER BY id").fetchall())
    colours = [row[0] for row in db.execute("SELECT name FROM colour WHERE product_id = ? ORDER BY id", (product,))]
    return {
        "product": name,
        "colour": rng.choice(colours),
        "quantity": rng.between(2, 6),
        "name": vocabulary.full_name(rng),
        "street": vocabulary.street_address(rng),
        "city": rng.choice(vocabulary.CITIES),
        "delivery": rng.choice(sorted(DELIVERY_PRICES)),
    }


def _empty_cart(db: sqlite3.Connection, args: Args) -> None:
    db.execute("DELETE FROM cart_item")


def _check_purchase(evidence: Evidence, args: Args) -> Iterator[bool]:
    orders = evidence.added_rows("orders")
    order: Row = orders[0] if len(orders) == 1 else {}
    items = evidence.rows_after(
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


def _draw_category(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"category": rng.choice([name for (name,) in db.execute("SELECT name FROM category ORDER BY id")])}


def _check_cheapest_in_cart(evidence: Evidence, args: Args) -> Iterator[bool]:
    [cheapest] = evidence.rows_before(
        "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? ORDER BY p.price LIMIT 1",
        args["category"],
    )
    count = "SELECT product_id, sum(quantity) AS n FROM cart_item GROUP BY product_id"
    before = {row["product_id"]: row["n"] for row in evidence.rows_before(count)}
    wanted = {**before, cheapest["id"]: before.get(cheapest["id"], 0) + 1}
    yield {row["product_id"]: row["n"] for row in evidence.rows_after(count)} == wanted


def _draw_price_limit(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    category = _draw_category(rng, db, site)["category"]
    prices = [
        price
        for (price,) in db.execute(
            "SELECT p.price FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? ORDER BY p.price",
            (category,),
        )
    ]
    dollars = prices[rng.between(1, len(prices) - 2)] // 100 + 1
    return {"category": category, "most": dollars}


def _check_count(evidence: Evidence, args: Args) -> Iterator[bool]:
    [row] = evidence.rows_before(
        "SELECT count(*) AS n FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ? AND p.price <= ?",
        args["category"],
        args["most"] * 100,
    )
    yield evidence.answer_is(row["n"])


def _draw_order(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"order": rng.choice([number for (number,) in db.execute("SELECT id FROM orders ORDER BY id")])}


def _check_status(evidence: Evidence, args: Args) -> Iterator[bool]:
    [row] = evidence.rows_before("SELECT status FROM orders WHERE id = ?", args["order"])
    yield evidence.answer_is(row["status"], STATUSES)


def _draw_open_order(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT id FROM orders WHERE status = 'Processing' ORDER BY id").fetchall()
    return {"order": rng.choice([number for (number,) in found])}


def _check_cancelled(evidence: Evidence, args: Args) -> Iterator[bool]:
    before = {row["id"]: row["status"] for row in evidence.rows_before("SELECT id, status FROM orders")}
    after = {row["id"]: row["status"] for row in evidence.rows_after("SELECT id, status FROM orders")}
    yield after == {**before, args["order"]: "Cancelled"}


def _draw_cart_item(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    query = "SELECT p.name FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
    return {"product": rng.choice([name for (name,) in db.execute(query)])}


def _draw_quantity(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    args = _draw_cart_item(rng, db, site)
    query = "SELECT i.quantity FROM cart_item i JOIN product p ON p.id = i.product_id WHERE p.name = ?"
    [(quantity,)] = db.execute(query, (args["product"],)).fetchall()
    return {**args, "quantity": rng.choice([n for n in range(1, 8) if n != quantity])}


def _check_cart(evidence: Evidence, args: Args, quantity: int | None) -> Iterator[bool]:
    query = "SELECT p.name, i.colour, i.quantity FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
    wanted = [
        {**row, "quantity": quantity} if row["name"] == args["product"] else row for row in evidence.rows_before(query)
    ]
    yield evidence.rows_after(query) == [row for row in wanted if row["quantity"] is not None]


TASK_TYPES = (
    TaskType(
        "shop_buy",
        (
            "Buy '{quantity}' of the '{product}' in '{colour}'. Deliver to '{name}', '{street}', '{city}'. "
            "Delivery: '{delivery}'.",
            "Order the '{product}', '{quantity}' pieces in '{colour}', for '{name}', '{street}', '{city}'. "
            "Delivery: '{delivery}'.",
        ),
        _draw_purchase,
        _check_purchase,
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
        _draw_category,
        _check_cheapest_in_cart,
        frozenset({"cart_item"}),
    ),
    TaskType(
        "shop_count",
        (
            "How many products in '{category}' cost at most '{most}' dollars?",
            "Tell me how many products in '{category}' are priced at '{most}' dollars or less.",
        ),
        _draw_price_limit,
        _check_count,
    ),
    TaskType(
        "shop_status",
        ("What is the status of order '{order}'?", "Look up order '{order}' and tell me its status."),
        _draw_order,
        _check_status,
    ),
    TaskType(
        "shop_cancel",
        ("Cancel order '{order}'.", "Please cancel my order '{order}'."),
        _draw_open_order,
        _check_cancelled,
        frozenset({"orders", "product"}),
    ),
    TaskType(
        "shop_change",
        (
            "Change the number of the '{product}' in the cart to '{quantity}'.",
            "I want '{quantity}' of the '{product}' that is in the cart; update it.",
        ),
        _draw_quantity,
        lambda evidence, args: _check_cart(evidence, args, args["quantity"]),
        frozenset({"cart_item"}),
    ),
    TaskType(
        "shop_remove",
        ("Remove the '{product}' from the cart.", "Take the '{product}' out of the cart."),
        _draw_cart_item,
        lambda evidence, args: _check_cart(evidence, args, None),
        frozenset({"cart_item"}),
    ),
)
