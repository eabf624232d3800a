"""Booking sites: places to stay, rooms, dates, bookings."""

from ..core import SiteKind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TASK_TYPES

KIND = SiteKind("booking", SCHEMA, fill, TASK_TYPES, SITES, "booking.views")
