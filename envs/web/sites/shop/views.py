"""Pages of shops."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ..core import NOW
from ..pages import Form, Page, Routes, Row, like_pattern
from .content import DELIVERY_PRICES, MAX_QUANTITY

routes = Routes()
PER_PAGE = 6
SORTS = {
    "name": ("Name", "p.name"),
    "price": ("Price: low to high", "p.price, p.name"),
    "price-down": ("Price: high to low", "p.price DESC, p.name"),
    "rating": ("Best rated", "p.rating DESC, p.name"),
}
PRODUCT_QUERY = "SELECT p.*, c.name AS category FROM product p JOIN category c ON c.id = p.category_id"
CART_QUERY = (
    "SELECT i.*, p.name, p.price, p.stock, i.quantity * p.price AS sum "
    "FROM cart_item i JOIN product p ON p.id = i.product_id ORDER BY i.id"
)


def render(page: Page, template: str, **values: Any) -> Response:
    """Render a page with the values that the frame of all shop pages shows."""
    count = page.value("SELECT coalesce(sum(quantity), 0) FROM cart_item")
    categories = page.rows("SELECT * FROM category ORDER BY id")
    return page.render(f"shop/{template}", cart_count=count, categories=categories, **values)


@routes.get("/")
def home(page: Page) -> Response:
    """Front page: categories and the best rated products."""
    best = page.rows(f"{PRODUCT_QUERY} ORDER BY p.rating DESC, p.reviews DESC LIMIT 4")
    return render(page, "home.html", best=best)


@routes.get("/products")
def products(page: Page) -> Response:
    """Products of a search or category, with filters, sorting and pagination."""
    words, category, sort = page.query("q"), page.query_number("category", 0), page.query("sort", "name")
    most, rating = page.query_number("most", 0), page.query_number("rating", 0, 5)
    where = ["1"]
    values: list[str | int] = []
    for word in words.split()[:10]:
        where.append("(p.name LIKE ? ESCAPE '!' OR c.name LIKE ? ESCAPE '!')")
        values += [like_pattern(word), like_pattern(word)]
    for condition, value in (
        ("p.category_id = ?", category),
        ("p.price <= ?", most * 100),
        ("p.rating >= ?", rating * 10),
    ):
        if value:
            where.append(condition)
            values.append(value)
    order = SORTS.get(sort, SORTS["name"])[1]
    found = page.rows(f"{PRODUCT_QUERY} WHERE {' AND '.join(where)} ORDER BY {order}", *values)
    pages = max(1, -(-len(found) // PER_PAGE))
    number = min(max(page.query_number("page", 1), 1), pages)
    chosen = page.row("SELECT * FROM category WHERE id = ?", category)
    return render(
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
    """Product page."""
    row = page.row(f"{PRODUCT_QUERY} WHERE p.id = ?", number)
    if row is None:
        raise NotFound("We do not sell that, or not any more.")
    colours = [r["name"] for r in page.rows("SELECT name FROM colour WHERE product_id = ? ORDER BY id", number)]
    status = 422 if form and form.errors else 200
    return render(page, "product.html", product=row, colours=colours, form=form, most=MAX_QUANTITY, status=status)


@routes.post("/cart")
def add(page: Page) -> Response:
    """Add a product to the cart."""
    form = page.form()
    number = form.number("product", "Product", 1, 1_000_000)
    row = page.row("SELECT * FROM product WHERE id = ?", number)
    if row is None or "product" in form.errors:
        raise NotFound("We do not sell that, or not any more.")
    colours = [r["name"] for r in page.rows("SELECT name FROM colour WHERE product_id = ? ORDER BY id", number)]
    colour = form.choice("colour", page.site.labels["colour"], colours)
    quantity = form.number("quantity", page.site.labels["quantity"], 1, MAX_QUANTITY)
    available = _available(page, number, colour)
    if available < 1:
        form.errors["quantity"] = f"We have no more of {row['name']} than are sold or in your cart."
    if form.errors:
        return product(page, number, form)
    in_cart = page.value("SELECT quantity FROM cart_item WHERE product_id = ? AND colour = ?", number, colour) or 0
    page.execute(
        "INSERT INTO cart_item (product_id, colour, quantity) VALUES (?, ?, ?) "
        "ON CONFLICT (product_id, colour) DO UPDATE SET quantity = excluded.quantity",
        number,
        colour,
        min(in_cart + quantity, MAX_QUANTITY, available),
    )
    page.set_notice(f"{quantity} × {row['name']} ({colour}) is in your {page.site.labels['cart'].lower()}.")
    return page.redirect("/cart")


def _available(page: Page, product: int, colour: str) -> int:
    """Return the stock of a product minus its quantity in the cart in other colours."""
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
    """Cart page."""
    items = page.rows(CART_QUERY)
    total, status = sum(item["sum"] for item in items), 422 if form and form.errors else 200
    return render(page, "cart.html", items=items, total=total, form=form, most=MAX_QUANTITY, status=status)


@routes.post("/cart/<int:number>")
def change(page: Page, number: int) -> Response:
    """Change the quantity of a cart item, or remove it."""
    item = _get_cart_item(page, number)
    form = page.form()
    if form.values.get("action") == "remove":
        page.execute("DELETE FROM cart_item WHERE id = ?", number)
        page.set_notice(f"{item['name']} was removed.")
        return page.redirect("/cart")
    available = _available(page, item["product_id"], item["colour"])
    quantity = form.number("quantity", page.site.labels["quantity"], 1, min(MAX_QUANTITY, available))
    if form.errors:
        return cart(page, form)
    page.execute("UPDATE cart_item SET quantity = ? WHERE id = ?", quantity, number)
    page.set_notice(f"{item['name']}: {quantity} now.")
    return page.redirect("/cart")


def _get_cart_item(page: Page, number: int) -> Row:
    item = page.row("SELECT i.*, p.name FROM cart_item i JOIN product p ON p.id = i.product_id WHERE i.id = ?", number)
    if item is None:
        raise NotFound("That is not in the cart.")
    return item


@routes.get("/checkout")
def checkout(page: Page, form: Form | None = None) -> Response:
    """Checkout form: address and delivery, on one page or in two steps, depending on the layout."""
    items = page.rows(CART_QUERY)
    if not items:
        page.set_notice("There is nothing to order yet.")
        return page.redirect("/cart")
    step = "all" if page.site.layout["checkout"] == "single" else "address"
    return _render_checkout(page, items, step, form)


def _render_checkout(page: Page, items: list[Row], step: str, form: Form | None) -> Response:
    total, status = sum(item["sum"] for item in items), 422 if form and form.errors else 200
    return render(
        page, "checkout.html", items=items, total=total, step=step, form=form, delivery=DELIVERY_PRICES, status=status
    )


@routes.post("/checkout")
def place_order(page: Page) -> Response:
    """Validate the address, and place the order once the delivery option is chosen too."""
    items = page.rows(CART_QUERY)
    if not items:
        return page.redirect("/cart")
    form = page.form()
    name = form.text("name", "Full name", max_length=80)
    street, city = form.text("street", "Street", max_length=120), form.text("city", "City", max_length=80)
    if form.errors:
        return checkout(page, form)
    if page.site.layout["checkout"] == "steps" and "delivery" not in form.values:
        return _render_checkout(page, items, "delivery", form)
    delivery = form.choice("delivery", "Delivery", DELIVERY_PRICES)
    if form.errors:
        return _render_checkout(page, items, "all" if page.site.layout["checkout"] == "single" else "delivery", form)
    return page.redirect(f"/orders/{_save_order(page, items, name, street, city, delivery)}")


def _save_order(page: Page, items: list[Row], name: str, street: str, city: str, delivery: str) -> int:
    total = sum(item["sum"] for item in items) + DELIVERY_PRICES[delivery]
    number = page.execute(
        "INSERT INTO orders (placed, status, name, street, city, delivery, total) "
        "VALUES (?, 'Processing', ?, ?, ?, ?, ?)",
        NOW,
        name,
        street,
        city,
        delivery,
        total,
    )
    for item in items:
        page.execute(
            "INSERT INTO order_item (order_id, product_id, colour, quantity, price) VALUES (?, ?, ?, ?, ?)",
            number,
            item["product_id"],
            item["colour"],
            item["quantity"],
            item["price"],
        )
        page.execute("UPDATE product SET stock = stock - ? WHERE id = ?", item["quantity"], item["product_id"])
    page.execute("DELETE FROM cart_item")
    page.set_notice(f"Thank you. Your order has the number {number}.")
    return number


@routes.get("/orders")
def orders(page: Page) -> Response:
    """All orders, newest first."""
    return render(page, "orders.html", orders=page.rows("SELECT * FROM orders ORDER BY id DESC"))


@routes.get("/orders/<int:number>")
def order(page: Page, number: int) -> Response:
    """Order page."""
    row = page.row("SELECT * FROM orders WHERE id = ?", number)
    if row is None:
        raise NotFound("You have no order of that number.")
    items = page.rows(
        "SELECT i.*, p.name FROM order_item i JOIN product p ON p.id = i.product_id WHERE i.order_id = ? ORDER BY i.id",
        number,
    )
    return render(page, "order.html", order=row, items=items)


@routes.post("/orders/<int:number>/cancel")
def cancel(page: Page, number: int) -> Response:
    """Cancel an order that is still processing, and return its items to the stock."""
    status = page.value("SELECT status FROM orders WHERE id = ?", number)
    if status is None:
        raise NotFound("You have no order of that number.")
    if status == "Processing":
        for item in page.rows("SELECT product_id, quantity FROM order_item WHERE order_id = ?", number):
            page.execute("UPDATE product SET stock = stock + ? WHERE id = ?", item["quantity"], item["product_id"])
        page.execute("UPDATE orders SET status = 'Cancelled' WHERE id = ?", number)
        page.set_notice(f"Order {number} is cancelled.")
    else:
        page.set_notice(f"Order {number} cannot be cancelled any more: it is {status.lower()}.")
    return page.redirect(f"/orders/{number}")
