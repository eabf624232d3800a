"""A shop: search, filters, cart, checkout, orders."""

from ..core import Kind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TYPES

KIND = Kind("shop", SCHEMA, fill, TYPES, SITES, "shop.views")
