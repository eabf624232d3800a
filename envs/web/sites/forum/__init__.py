"""A forum with accounts: boards, threads, posts, likes, profiles."""

from ..core import Kind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TYPES

KIND = Kind("forum", SCHEMA, fill, TYPES, SITES, "forum.views")
