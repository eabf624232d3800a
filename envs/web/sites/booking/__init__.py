"""A booking site: places to stay, rooms, dates, bookings."""

from ..core import Kind
from .content import SCHEMA, fill
from .sites import SITES
from .types import TYPES

KIND = Kind("booking", SCHEMA, fill, TYPES, SITES, "booking.views")
