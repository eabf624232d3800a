"""The pages of a shop."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ..core import NOW
from ..pages import Form, Page, Routes, Row, like
from .content import DELIVERY, MOST

routes = Routes()
PER_PAGE = 6
SORTS = {
    "name": ("Name", "p.name"),
    "price": ("Price: low to high", "p.price, p.name"),
    "price-down": ("Price: high to low", "p.price DESC, p.name"),
    "rating": ("Best rated", "p.rating DESC, p.name"),
}
LIST = "SELECT p.*, c.name AS category FROM product p JOIN category c ON c.id = p.category_id"
CART = (
    "SELECT i.*, p.name, p.price, p.stock, i.quantity * p.price AS sum "
    "FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
)


def show(page: Page, template: str, **values: Any) -> Response:
    """A page with what the shop's frame shows."""
    count = page.value("SELECT coalesce(sum(quantity), 0) FROM cart_item")
    categories = page.rows("SELECT * FROM category ORDER BY id")
    return page.show(f"shop/{template}", cart_count=count, categories=categories, **values)


@routes.get("/")
def home(page: Page) -> Response:
    """The front page: categories and the best rated products."""
    best = page.rows(f"{LIST} ORDER BY p.rating DESC, p.reviews DESC LIMIT 4")
    return show(page, "home.html", best=best)


@routes.get("/products")
def products(page: Page) -> Response:
    """Search results and categories, filtered, sorted and in pages."""
    words, category, sort = page.query("q"), page.number("category", 0), page.query("sort", "name")
    most, rating = page.number("most", 0), page.number("rating", 0, 5)
    where = ["1"]
    values: list[str | int] = []
    for word in words.split()[:10]:
        where.append("(p.name LIKE ? ESCAPE '!' OR c.name LIKE ? ESCAPE '!')")
        values += [like(word), like(word)]
    for condition, value in (
        ("p.category_id = ?", category),
        ("p.price <= ?", most * 100),
        ("p.rating >= ?", rating * 10),
    ):
        if value:
            where.append(condition)
            values.append(value)
    order = SORTS.get(sort, SORTS["name"])[1]
    found = page.rows(f"{LIST} WHERE {' AND '.join(where)} ORDER BY {order}", *values)
    pages = max(1, -(-len(found) // PER_PAGE))
    number = min(max(page.number("page", 1), 1), pages)
    chosen = page.row("SELECT * FROM category WHERE id = ?", category)
    return show(
        page,
        "products.html",
        words=words,
        chosen=chosen,
        sort=sort,
        sorts={key: label for key, (label, _) in SORTS.items()},
        most=most or "",
        rating=rating,
        found=len(found),
        products=found[(number - 1) * PER_PAGE : number * PER_PAGE],
        number=number,
        pages=pages,
    )


@routes.get("/products/<int:number>")
def product(page: Page, number: int, form: Form | None = None) -> Response:
    """One product."""
    row = page.row(f"{LIST} WHERE p.id = ?", number)
    if row is None:
        raise NotFound("We do not sell that, or not any more.")
    colours = [r["name"] for r in page.rows("SELECT name FROM colour WHERE product_id = ? ORDER BY id", number)]
    status = 422 if form and form.errors else 200
    return show(page, "product.html", product=row, colours=colours, form=form, most=MOST, status=status)


@routes.post("/cart")
def add(page: Page) -> Response:
    """Put a product into the cart."""
    form = page.form()
    number = form.number("product", "Product", 1, 1_000_000)
    row = page.row("SELECT * FROM product WHERE id = ?", number)
    if row is None or "product" in form.errors:
        raise NotFound("We do not sell that, or not any more.")
    colours = [r["name"] for r in page.rows("SELECT name FROM colour WHERE product_id = ? ORDER BY id", number)]
    colour = form.choice("colour", page.site.words["colour"], colours)
    quantity = form.number("quantity", page.site.words["quantity"], 1, MOST)
    left = _left(page, number, colour)
    if left < 1:
        form.errors["quantity"] = f"We have no more of {row['name']} than are sold or in your cart."
    if form.errors:
        return product(page, number, form)
    there = page.value("SELECT quantity FROM cart_item WHERE product_id = ? AND colour = ?", number, colour) or 0
    page.run(
        "INSERT INTO cart_item (product_id, colour, quantity) VALUES (?, ?, ?) "
        "ON CONFLICT (product_id, colour) DO UPDATE SET quantity = excluded.quantity",
        number,
        colour,
        min(there + quantity, MOST, left),
    )
    page.notice(f"{quantity} × {row['name']} ({colour}) is in your {page.site.words['cart'].lower()}.")
    return page.go("/cart")


def _left(page: Page, product: int, colour: str) -> int:
    """How many may be in the cart in this colour: in all colours together no more than there are."""
    return int(
        page.value(
            "SELECT stock - (SELECT coalesce(sum(quantity), 0) FROM cart_item WHERE product_id = p.id AND colour <> ?) "
            "FROM product p WHERE id = ?",
            colour,
            product,
        )
    )


@routes.get("/cart")
def cart(page: Page, form: Form | None = None) -> Response:
    """What is in the cart."""
    items = page.rows(CART)
    total, status = sum(item["sum"] for item in items), 422 if form and form.errors else 200
    return show(page, "cart.html", items=items, total=total, form=form, most=MOST, status=status)


@routes.post("/cart/<int:number>")
def change(page: Page, number: int) -> Response:
    """Change how many of a thing are in the cart, or take it out."""
    item = _item(page, number)
    form = page.form()
    if form.values.get("action") == "remove":
        page.run("DELETE FROM cart_item WHERE id = ?", number)
        page.notice(f"{item['name']} was removed.")
        return page.go("/cart")
    left = _left(page, item["product_id"], item["colour"])
    quantity = form.number("quantity", page.site.words["quantity"], 1, min(MOST, left))
    if form.errors:
        return cart(page, form)
    page.run("UPDATE cart_item SET quantity = ? WHERE id = ?", quantity, number)
    page.notice(f"{item['name']}: {quantity} now.")
    return page.go("/cart")


def _item(page: Page, number: int) -> Row:
    item = page.row("SELECT i.*, p.name FROM cart_item i JOIN product p ON p.id = i.product_id WHERE i.id = ?", number)
    if item is None:
        raise NotFound("That is not in the cart.")
    return item


@routes.get("/checkout")
def checkout(page: Page, form: Form | None = None) -> Response:
    """Where it goes and how: one form, or one after the other."""
    items = page.rows(CART)
    if not items:
        page.notice("There is nothing to order yet.")
        return page.go("/cart")
    step = "all" if page.site.layout["checkout"] == "single" else "address"
    return _checkout(page, items, step, form)


def _checkout(page: Page, items: list[Row], step: str, form: Form | None) -> Response:
    total, status = sum(item["sum"] for item in items), 422 if form and form.errors else 200
    return show(page, "checkout.html", items=items, total=total, step=step, form=form, delivery=DELIVERY, status=status)


@routes.post("/checkout")
def place(page: Page) -> Response:
    """Take the address, and the order once the way of delivery is known too."""
    items = page.rows(CART)
    if not items:
        return page.go("/cart")
    form = page.form()
    name = form.text("name", "Full name", most=80)
    street, city = form.text("street", "Street", most=120), form.text("city", "City", most=80)
    if form.errors:
        return checkout(page, form)
    if page.site.layout["checkout"] == "steps" and "delivery" not in form.values:
        return _checkout(page, items, "delivery", form)
    way = form.choice("delivery", "Delivery", DELIVERY)
    if form.errors:
        return _checkout(page, items, "all" if page.site.layout["checkout"] == "single" else "delivery", form)
    return page.go(f"/orders/{_order(page, items, name, street, city, way)}")


def _order(page: Page, items: list[Row], name: str, street: str, city: str, way: str) -> int:
    total = sum(item["sum"] for item in items) + DELIVERY[way]
    number = page.run(
        "INSERT INTO orders (placed, status, name, street, city, delivery, total) "
        "VALUES (?, 'Processing', ?, ?, ?, ?, ?)",
        NOW,
        name,
        street,
        city,
        way,
        total,
    )
    for item in items:
        page.run(
            "INSERT INTO order_item (order_id, product_id, colour, quantity, price) VALUES (?, ?, ?, ?, ?)",
            number,
            item["product_id"],
            item["colour"],
            item["quantity"],
            item["price"],
        )
        page.run("UPDATE product SET stock = stock - ? WHERE id = ?", item["quantity"], item["product_id"])
    page.run("DELETE FROM cart_item")
    page.notice(f"Thank you. Your order has the number {number}.")
    return number


@routes.get("/orders")
def orders(page: Page) -> Response:
    """All orders, the newest first."""
    return show(page, "orders.html", orders=page.rows("SELECT * FROM orders ORDER BY id DESC"))


@routes.get("/orders/<int:number>")
def order(page: Page, number: int) -> Response:
    """One order."""
    row = page.row("SELECT * FROM orders WHERE id = ?", number)
    if row is None:
        raise NotFound("You have no order of that number.")
    items = page.rows(
        "SELECT i.*, p.name FROM order_item i JOIN product p ON p.id = i.product_id WHERE i.order_id = ? ORDER BY i.id",
        number,
    )
    return show(page, "order.html", order=row, items=items)


@routes.post("/orders/<int:number>/cancel")
def cancel(page: Page, number: int) -> Response:
    """Cancel an order that is not under way yet."""
    status = page.value("SELECT status FROM orders WHERE id = ?", number)
    if status is None:
        raise NotFound("You have no order of that number.")
    if status == "Processing":
        for item in page.rows("SELECT product_id, quantity FROM order_item WHERE order_id = ?", number):
            page.run("UPDATE product SET stock = stock + ? WHERE id = ?", item["quantity"], item["product_id"])
        page.run("UPDATE orders SET status = 'Cancelled' WHERE id = ?", number)
        page.notice(f"Order {number} is cancelled.")
    else:
        page.notice(f"Order {number} cannot be cancelled any more: it is {status.lower()}.")
    return page.go(f"/orders/{number}")
