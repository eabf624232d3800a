"""Walk-forward splits with purging and embargo, and division of bars into windows."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True)
class WalkForward:
    """Settings of a walk-forward split (Lopez de Prado, Advances in Financial Machine Learning, chapter 7)."""

    folds: int = 5
    """Number of consecutive tests. The last one ends with the data."""
    test: int | None = None
    """Bars of each test; None: bars // (folds + 1)."""
    train: int | None = None
    """Maximum number of training bars, the newest ones; None: all bars from the start."""
    purge: int = 20
    """Bars before a test that are excluded from training, since their labels may use bars of the test."""
    embargo: int = 5
    """Bars after a test that later folds exclude from training, since they depend on the test."""


@dataclass(frozen=True)
class Fold:
    """Training and test bars of one fold."""

    train: tuple[range, ...]
    """Training bars in order. Embargoes split them into several ranges."""
    test: range
    """Test bars, all after the training bars."""


def walk_forward(bars: int, config: WalkForward) -> tuple[Fold, ...]:
    """Split bars into walk-forward folds.

    Training excludes the `purge` bars before the test and the `embargo` bars after each earlier test.

    Args:
        bars: Number of bars.
        config: Settings of the split.

    Returns:
        The folds, in order of time.

    Raises:
        UsageError: If a setting is out of range, or a fold would have no training bars.
    """
    for name in ("folds", "test", "train", "purge", "embargo"):
        value, minimum = getattr(config, name), 0 if name in ("purge", "embargo") else 1
        if value is not None and value < minimum:
            raise UsageError(f"walk-forward: {name} is {value}; expected {minimum} or more")
    length = config.test or bars // (config.folds + 1)
    tests = [
        range(first, first + length)
        for first in range(bars - config.folds * length, bars, max(length, 1))
        if length and first >= 0
    ]
    folds = []
    for test in tests:
        stop = test.start - config.purge
        embargoed = [range(before.stop, before.stop + config.embargo) for before in tests if before.stop <= test.start]
        train = _remove(range(max(stop - (config.train or stop), 0), max(stop, 0)), embargoed)
        folds.append(Fold(train, test))
    if len(folds) < config.folds or not all(fold.train for fold in folds):
        raise UsageError(
            f"{bars} bars are too few for {config.folds} folds of {length} bars each after a purge of {config.purge}; "
            "reduce folds, test or purge"
        )
    return tuple(folds)


def _remove(bars: range, embargoed: list[range]) -> tuple[range, ...]:
    pieces, first = [], bars.start
    for gap in embargoed:
        if gap.stop > first and gap.start < bars.stop:
            pieces.append(range(first, gap.start))
            first = max(gap.stop, first)
    pieces.append(range(first, bars.stop))
    return tuple(piece for piece in pieces if len(piece))


def windows(pieces: tuple[range, ...], length: int) -> list[range]:
    """Return as many consecutive windows of `length` bars as fit into each piece, beginning at its start."""
    return [
        range(first, first + length)
        for piece in pieces
        for first in range(piece.start, piece.stop - length + 1, length)
    ]
