"""Which kinds of site and which sites there are: every split has sites of its own."""

from __future__ import annotations

from collections.abc import Mapping

from .admin import KIND as ADMIN
from .booking import KIND as BOOKING
from .core import Kind, Site
from .forum import KIND as FORUM
from .shop import KIND as SHOP
from .wiki import KIND as WIKI

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (SHOP, WIKI, FORUM, BOOKING, ADMIN)}
SITES: Mapping[str, Site] = {site.slug: site for kind in KINDS.values() for site in kind.sites}
