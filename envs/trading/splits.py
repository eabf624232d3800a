"""Walk-forward splits: train on the past, test on what comes next, with nothing shared in between."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True)
class WalkForward:
    """How bars are divided; purge and embargo as in Lopez de Prado, Advances in Financial Machine Learning, ch. 7."""

    folds: int = 5
    """Tests; each is followed by the next, and the last ends with the data."""
    test: int | None = None
    """Bars of a test; None takes bars / (folds + 1)."""
    train: int | None = None
    """Most bars of training, the newest; None takes all from the beginning."""
    purge: int = 20
    """Bars before a test that are not trained on: what is learnt at a bar may be labelled with so many bars after it,
    and these would be bars of the test."""
    embargo: int = 5
    """Bars after a test that later folds do not train on, since they still depend on what happened in it."""


@dataclass(frozen=True)
class Fold:
    """One training and its test."""

    train: tuple[range, ...]
    """Bars, in order; several pieces where embargoes lie between."""
    test: range
    """Bars, all after those of the training."""


def walk_forward(bars: int, config: WalkForward) -> tuple[Fold, ...]:
    """The folds of `bars` bars, in order of time.

    No bar of a training is among the `purge` bars before its test, nor among the `embargo` bars after an earlier test.
    Raises `UsageError` when there are too few bars for every fold to train on one.
    """
    for name in ("folds", "test", "train", "purge", "embargo"):
        value, least = getattr(config, name), 0 if name in ("purge", "embargo") else 1
        if value is not None and value < least:
            raise UsageError(f"walk-forward: {name} is {value}; expected {least} or more")
    length = config.test or bars // (config.folds + 1)
    tests = [
        range(first, first + length)
        for first in range(bars - config.folds * length, bars, max(length, 1))
        if length and first >= 0
    ]
    folds = []
    for test in tests:
        stop = test.start - config.purge
        left_out = [range(before.stop, before.stop + config.embargo) for before in tests if before.stop <= test.start]
        train = _without(range(max(stop - (config.train or stop), 0), max(stop, 0)), left_out)
        folds.append(Fold(train, test))
    if len(folds) < config.folds or not all(fold.train for fold in folds):
        raise UsageError(
            f"{bars} bars are too few for {config.folds} folds of {length} bars each after a purge of {config.purge}; "
            "take fewer folds, or a smaller test or purge"
        )
    return tuple(folds)


def _without(bars: range, left_out: list[range]) -> tuple[range, ...]:
    pieces, first = [], bars.start
    for gap in left_out:
        if gap.stop > first and gap.start < bars.stop:
            pieces.append(range(first, gap.start))
            first = max(gap.stop, first)
    pieces.append(range(first, bars.stop))
    return tuple(piece for piece in pieces if len(piece))


def windows(pieces: tuple[range, ...], length: int) -> list[range]:
    """As many stretches of `length` bars as fit into the pieces, from the beginning, none overlapping another."""
    return [
        range(first, first + length)
        for piece in pieces
        for first in range(piece.start, piece.stop - length + 1, length)
    ]
