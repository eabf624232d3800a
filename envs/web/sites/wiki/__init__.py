"""A wiki: articles with facts and links, search, editing, history."""

from ..core import Kind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TYPES

KIND = Kind("wiki", SCHEMA, fill, TYPES, SITES, "wiki.views")
