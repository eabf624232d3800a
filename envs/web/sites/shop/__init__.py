"""Shops: search, filters, cart, checkout, orders."""

from ..core import SiteKind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TASK_TYPES

KIND = SiteKind("shop", SCHEMA, fill, TASK_TYPES, SITES, "shop.views")
