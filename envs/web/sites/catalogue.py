"""All site kinds by name and all sites by slug. Each site belongs to one split."""

from __future__ import annotations

from collections.abc import Mapping

from .admin import KIND as ADMIN
from .booking import KIND as BOOKING
from .core import Site, SiteKind
from .forum import KIND as FORUM
from .shop import KIND as SHOP
from .wiki import KIND as WIKI

KINDS: Mapping[str, SiteKind] = {kind.name: kind for kind in (SHOP, WIKI, FORUM, BOOKING, ADMIN)}
SITES: Mapping[str, Site] = {site.slug: site for kind in KINDS.values() for site in kind.sites}
