"""Schema and content of shops: products, past orders and a cart."""

from __future__ import annotations

import sqlite3

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Site

SCHEMA = """
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL) STRICT;
CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE product (
    id INTEGER PRIMARY KEY,
    category_id INTEGER NOT NULL REFERENCES category,
    name TEXT NOT NULL UNIQUE,
    price INTEGER NOT NULL CHECK (price > 0),
    rating INTEGER NOT NULL CHECK (rating BETWEEN 10 AND 50),
    reviews INTEGER NOT NULL,
    stock INTEGER NOT NULL CHECK (stock >= 0),
    about TEXT NOT NULL
) STRICT;
CREATE TABLE colour (
    id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES product, name TEXT NOT NULL,
    UNIQUE (product_id, name)
) STRICT;
CREATE TABLE cart_item (
    id INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES product,
    colour TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    UNIQUE (product_id, colour)
) STRICT;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    placed TEXT NOT NULL,
    status TEXT NOT NULL,
    name TEXT NOT NULL,
    street TEXT NOT NULL,
    city TEXT NOT NULL,
    delivery TEXT NOT NULL,
    total INTEGER NOT NULL
) STRICT;
CREATE TABLE order_item (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders,
    product_id INTEGER NOT NULL REFERENCES product,
    colour TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price INTEGER NOT NULL
) STRICT;
"""
STATUSES = ("Processing", "Shipped", "Delivered", "Cancelled")
DELIVERY_PRICES = {"Standard": 490, "Express": 1290, "Pick-up": 0}
"""Delivery options and their prices in cents."""
MAX_QUANTITY = 9
"""Maximum quantity of one cart item."""

BRANDS = (
    "Alpine Amber Arden Birch Coral Delta Ember Falcon Flint Harbor Hazel Indigo Juniper Lunar Maple Nimbus Nordic "
    "Opal Pebble Prairie Quartz Raven Sierra Tundra Velvet Willow"
).split()
COLOURS = "Black White Grey Blue Green Red Sand Brown".split()
SUBJECTS = {
    "home": {
        "Lighting": ("Desk Lamp", "Floor Lamp", "Wall Light", "Lantern"),
        "Textiles": ("Wool Blanket", "Cushion", "Bath Towel", "Rug"),
        "Storage": ("Bookshelf", "Storage Box", "Coat Rack", "Laundry Basket"),
        "Decor": ("Vase", "Mirror", "Candle Holder", "Wall Clock"),
    },
    "outdoor": {
        "Shelter": ("Dome Tent", "Tarp", "Hammock", "Bivy Bag"),
        "Packs": ("Day Pack", "Duffel Bag", "Dry Bag", "Belt Bag"),
        "Sleeping": ("Sleeping Bag", "Camp Pillow", "Air Mattress", "Bag Liner"),
        "Clothing": ("Rain Jacket", "Fleece", "Wool Socks", "Sun Hat"),
    },
    "paper": {
        "Notebooks": ("Pocket Notebook", "Sketchbook", "Diary", "Music Book"),
        "Writing": ("Fountain Pen", "Pencil Set", "Marker", "Ink Bottle"),
        "Desk": ("Pen Case", "Desk Tray", "Stapler", "Tape Holder"),
        "Craft": ("Stamp Set", "Paper Cutter", "Folding Paper", "Glue Pen"),
    },
    "kitchen": {
        "Pots": ("Saucepan", "Stock Pot", "Frying Pan", "Casserole"),
        "Knives": ("Chef Knife", "Bread Knife", "Paring Knife", "Knife Block"),
        "Baking": ("Cake Tin", "Rolling Pin", "Mixing Bowl", "Baking Tray"),
        "Table": ("Dinner Plate", "Soup Bowl", "Teapot", "Serving Board"),
    },
    "music": {
        "Strings": ("Guitar", "Ukulele", "Violin", "Cello"),
        "Keys": ("Stage Piano", "Accordion", "Melodica", "Organ"),
        "Drums": ("Snare Drum", "Cajon", "Bongo Set", "Cymbal"),
        "Winds": ("Flute", "Clarinet", "Trumpet", "Saxophone"),
    },
}
DESCRIPTIONS = (
    "Made in small runs and meant to be used every day.",
    "Our most asked-for model, now with a better finish.",
    "Light, plain and easy to repair.",
    "The one that our own staff take home.",
    "Tested for two years before we put it on the shelf.",
)


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """Write 24 products in four categories, and seven past orders and three cart items of the signed-in account."""
    visitor = vocabulary.full_name(rng)
    db.execute("INSERT INTO account VALUES (1, ?, ?)", (visitor, f"{vocabulary.user_name(visitor)}@mail.test"))
    db.execute("INSERT INTO session VALUES ('account', '1')")
    products = 0
    for number, (category, nouns) in enumerate(SUBJECTS[site.subject].items(), start=1):
        db.execute("INSERT INTO category VALUES (?, ?)", (number, category))
        names = rng.sample([f"{brand} {noun}" for brand in BRANDS for noun in nouns], 6)
        prices = rng.sample(range(900, 19900, 50), len(names))
        for name, price in zip(names, prices, strict=True):
            products += 1
            rating, reviews, stock = rng.between(31, 49), rng.between(3, 400), rng.between(MAX_QUANTITY, 40)
            values = (products, number, name, price, rating, reviews, stock, rng.choice(DESCRIPTIONS))
            db.execute("INSERT INTO product VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.executemany(
                "INSERT INTO colour (product_id, name) VALUES (?, ?)",
                [(products, colour) for colour in rng.sample(COLOURS, 3)],
            )
    _past_orders(db, visitor, rng)
    for product in rng.sample(range(1, products + 1), 3):
        colour = rng.choice(_colours(db, product))
        db.execute(
            "INSERT INTO cart_item (product_id, colour, quantity) VALUES (?, ?, ?)",
            (product, colour, rng.between(1, 4)),
        )


def _past_orders(db: sqlite3.Connection, visitor: str, rng: PortableRng) -> None:
    placed = sorted(vocabulary.past_timestamp(rng, 1, 300) for _ in range(7))
    for number, timestamp in enumerate(placed, start=1001):
        status = "Processing" if number > 1005 else rng.choice(STATUSES)
        street, city, delivery = (
            vocabulary.street_address(rng),
            rng.choice(vocabulary.CITIES),
            rng.choice(sorted(DELIVERY_PRICES)),
        )
        order = (number, timestamp, status, visitor, street, city, delivery, 0)
        db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", order)
        total = DELIVERY_PRICES[delivery]
        for product in rng.sample(range(1, 25), rng.between(1, 2)):
            price = db.execute("SELECT price FROM product WHERE id = ?", (product,)).fetchone()[0]
            quantity = rng.between(1, 3)
            total += price * quantity
            db.execute(
                "INSERT INTO order_item (order_id, product_id, colour, quantity, price) VALUES (?, ?, ?, ?, ?)",
                (number, product, rng.choice(_colours(db, product)), quantity, price),
            )
        db.execute("UPDATE orders SET total = ? WHERE id = ?", (total, number))


def _colours(db: sqlite3.Connection, product: int) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM colour WHERE product_id = ? ORDER BY id", (product,))]
