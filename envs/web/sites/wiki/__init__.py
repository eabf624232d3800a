"""Wikis: articles with facts and links, search, editing, history."""

from ..core import SiteKind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TASK_TYPES

KIND = SiteKind("wiki", SCHEMA, fill, TASK_TYPES, SITES, "wiki.views")
