"""A deterministic wall clock. It starts at the same time for each program and advances only by reads and sleeps.

Monotonic clocks are not replaced, since timeouts and event loops depend on them.
"""

from __future__ import annotations

import datetime
import time
from typing import Any

START_NS = 1_704_067_200 * 10**9
"""2024-01-01 00:00:00 UTC."""
TICK_NS = 1000
"""Nanoseconds by which each reading advances the clock, so that loops that wait for a time end."""

_now = [START_NS]
_sleep = time.sleep
_localtime, _gmtime, _ctime, _asctime, _strftime = (
    time.localtime, time.gmtime, time.ctime, time.asctime, time.strftime,
)  # fmt: skip
_clock_gettime, _clock_gettime_ns = time.clock_gettime, time.clock_gettime_ns


def time_ns() -> int:
    """Nanoseconds since the epoch."""
    _now[0] += TICK_NS
    return _now[0]


def seconds() -> float:
    """Seconds since the epoch."""
    return time_ns() / 1e9


def _sleeping(duration: float) -> None:
    _sleep(duration)
    _now[0] += int(duration * 1e9)


def _gettime(clock: int) -> float:
    return seconds() if clock == time.CLOCK_REALTIME else _clock_gettime(clock)


def _gettime_ns(clock: int) -> int:
    return time_ns() if clock == time.CLOCK_REALTIME else _clock_gettime_ns(clock)


class _AsDate(type):
    """Makes instances of the real date classes count as instances of their replacements."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class _Date(datetime.date, metaclass=_AsDate):
    def __repr__(self) -> str:
        return f"datetime.{super().__repr__()}"

    @classmethod
    def today(cls) -> Any:
        """Return the date of the frozen clock."""
        return cls.fromtimestamp(seconds())


class _DateTime(datetime.datetime, metaclass=_AsDate):
    def __repr__(self) -> str:
        return f"datetime.{super().__repr__()}"

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """Return the time of the frozen clock."""
        return cls.fromtimestamp(seconds(), tz)

    @classmethod
    def today(cls) -> Any:
        """Return the local time of the frozen clock."""
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        """Return the UTC time of the frozen clock, without a time zone."""
        return cls.fromtimestamp(seconds(), datetime.timezone.utc).replace(tzinfo=None)  # noqa: UP017


def freeze() -> None:
    """Replace the wall clock in `time` and `datetime`, for this interpreter and its forks."""
    replaced: dict[str, Any] = {
        "time": seconds,
        "time_ns": time_ns,
        "sleep": _sleeping,
        "clock_gettime": _gettime,
        "clock_gettime_ns": _gettime_ns,
        "localtime": lambda secs=None: _localtime(seconds() if secs is None else secs),
        "gmtime": lambda secs=None: _gmtime(seconds() if secs is None else secs),
        "ctime": lambda secs=None: _ctime(seconds() if secs is None else secs),
        "asctime": lambda t=None: _asctime(time.localtime() if t is None else t),
        "strftime": lambda format, t=None: _strftime(format, time.localtime() if t is None else t),
    }
    for name, function in replaced.items():
        setattr(time, name, function)
    for name, class_ in (("date", _Date), ("datetime", _DateTime)):
        class_.__name__ = class_.__qualname__ = name
        class_.__module__ = "datetime"
        setattr(datetime, name, class_)
