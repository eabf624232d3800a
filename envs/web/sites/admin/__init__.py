"""Admin consoles: people and their roles, tickets, settings."""

from ..core import SiteKind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TASK_TYPES

KIND = SiteKind("admin", SCHEMA, fill, TASK_TYPES, SITES, "admin.views")
