"""Forums with accounts: boards, threads, posts, likes, profiles."""

from ..core import SiteKind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TASK_TYPES

KIND = SiteKind("forum", SCHEMA, fill, TASK_TYPES, SITES, "forum.views")
