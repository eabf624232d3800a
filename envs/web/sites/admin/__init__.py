"""An admin console: people and their roles, tickets, settings."""

from ..core import Kind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TYPES

KIND = Kind("admin", SCHEMA, fill, TYPES, SITES, "admin.views")
