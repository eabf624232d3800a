"""What the desk sees on one day, whatever world shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """Everything that was known at the close of one bar."""

    symbol: str
    close: NDArray[np.float64]
    """Closes up to now, oldest first; at least `signals.MEMORY` of them."""
    equity: NDArray[np.float64]
    """The account's worth at each close since it was opened; the last is now."""
    weight: float
    """Worth of the position / worth of the account; 0 without one."""
    entry: float
    """Mean price at which the position was entered; 0 without one."""
    commission: float = 0.0
    """Paid since the close before."""
    news: tuple[str, ...] = ()
    """Published since the close before."""
    report: str = ""
    """The last one published."""
    report_age: int = 0
    """Bars since then."""

    @property
    def price(self) -> float:
        """The last close."""
        return float(self.close[-1])


def view_of(episode):
    raise NotImplementedError
