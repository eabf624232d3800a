"""Company names and text templates of the simulator, one set per split.

The direction of a statement depends on its subject and its verb: rising demand is good, rising costs are bad. Splits
share no company, no product and no frame. `valid_unseen` also has statements that `train` lacks, such as falling costs,
built from words of `train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal[-1, 0, 1]


@dataclass(frozen=True)
class Wording:
    """Text templates of one split, with the fields `{company}`, `{product}` and, in frames, `{said}`."""

    heads: tuple[str, ...]
    """First parts of company names. Their first two letters are distinct, which makes symbols unique."""
    tails: tuple[str, ...]
    """Second parts of company names. Their first two letters are distinct."""
    products: tuple[str, ...]
    """Products of the companies."""
    frames: tuple[str, ...]
    """Sentences around a news statement `{said}`."""
    news: dict[int, tuple[str, ...]]
    """News statements by direction: 1 good, -1 bad, 0 neutral."""
    recaps: dict[int, tuple[str, ...]]
    """News about the share's previous return, by its sign. It adds nothing to the prices."""
    reports: dict[int, tuple[str, ...]]
    """Informative sentences of quarterly reports, by direction."""
    filler: tuple[str, ...]
    """Uninformative sentences of quarterly reports."""

    @property
    def companies(self) -> int:
        """Number of possible companies."""
        return len(self.heads) * len(self.tails)

    def company(self, number: int) -> tuple[str, str, str]:
        """Return symbol, name and product of company `number`, in [0, `companies`)."""
        head, tail = self.heads[number % len(self.heads)], self.tails[number // len(self.heads)]
        product = self.products[(7 * number + number // len(self.products)) % len(self.products)]
        return (head[:2] + tail[:2]).upper(), head + tail, product


_TRAIN = Wording(
    heads=("Nor", "Vel", "Cal", "Bry", "Hal", "Ost", "Pin", "Rud", "Sol", "Tam"),
    tails=("dal", "tec", "mont", "vik", "ora", "gen", "lux", "fort", "bury", "sen"),
    products=("pumps", "sensors", "tyres", "paints", "routers", "tractors", "vaccines", "turbines"),
    frames=("{company}: {said}.", "{company} says {said}.", "Press reports on {company}: {said}."),
    news={
        1: (
            "demand for {product} is rising",
            "orders for {product} went up",
            "margins are widening",
            "a large contract for {product} was won",
            "the forecast is raised",
            "a rival left the market for {product}",
        ),
        -1: (
            "demand for {product} is falling",
            "orders for {product} went down",
            "margins are shrinking",
            "a large contract for {product} was lost",
            "the forecast is lowered",
            "costs of {product} are rising",
        ),
        0: (
            "the annual meeting takes place in May",
            "the office moves to another street",
            "a new colour of {product} is shown",
            "the forecast is unchanged",
        ),
    },
    recaps={
        1: ("Shares of {company} went up yesterday.", "{company} gained at the exchange yesterday."),
        -1: ("Shares of {company} went down yesterday.", "{company} lost at the exchange yesterday."),
    },
    reports={
        1: (
            "The order book for {product} is growing.",
            "Margins are widening and debt is falling.",
            "We expect demand for {product} to rise.",
            "The forecast for the year is raised.",
        ),
        -1: (
            "The order book for {product} is shrinking.",
            "Margins are shrinking and debt is rising.",
            "We expect demand for {product} to fall.",
            "The forecast for the year is lowered.",
        ),
        0: ("We expect demand for {product} to stay as it is.", "The forecast for the year is unchanged."),
    },
    filler=(
        "We thank our staff.",
        "The board met four times.",
        "Our auditors are unchanged.",
        "The annual meeting takes place in May.",
        "All figures are rounded.",
    ),
)

_VALID = Wording(
    heads=("Gar", "Kel", "Mer", "Lan", "Fen", "Dor", "Wes", "Ulm"),
    tails=("ney", "stad", "ico", "ard", "etta", "holm", "quist", "worth"),
    products=("valves", "batteries", "carpets", "drones", "cables", "mowers"),
    frames=("News of {company}: {said}.", "{company}, makers of {product}: {said}.", "From {company}: {said}."),
    news=_TRAIN.news,
    recaps={
        1: ("{company} went up at the exchange yesterday.",),
        -1: ("{company} went down at the exchange yesterday.",),
    },
    reports=_TRAIN.reports,
    filler=("The board met in May.", "We thank our auditors.", "Our staff met four times.", "All figures are rounded."),
)

_UNSEEN = Wording(
    heads=("Zan", "Jor", "Qua", "Eck", "Ily", "Yar", "Xen", "Aba"),
    tails=("press", "nova", "bridge", "crest", "dyne", "field", "mark", "rise"),
    products=("lenses", "ferries", "bricks", "looms", "satellites", "kettles"),
    frames=(
        "{company} today: {said}.",
        "Of {company} it is reported: {said}.",
        "The market for {product}, {company}: {said}.",
    ),
    news={
        1: (*_TRAIN.news[1][:4], "costs of {product} are falling", "debt is falling", "the order book is growing"),
        -1: (*_TRAIN.news[-1][:4], "a rival won a large contract", "debt is rising", "the order book is shrinking"),
        0: ("the board takes a new street in May", "costs are unchanged", "a new office is shown"),
    },
    recaps={
        1: ("Yesterday {company} gained.", "Yesterday shares of {company} went up."),
        -1: ("Yesterday {company} lost.", "Yesterday shares of {company} went down."),
    },
    reports={
        1: (*_TRAIN.reports[1][:2], "Costs of {product} are falling.", "We expect orders to rise."),
        -1: (*_TRAIN.reports[-1][:2], "Costs of {product} are rising.", "We expect orders to fall."),
        0: ("We expect costs to stay as they are.", "The order book is unchanged."),
    },
    filler=("Our office moves.", "The board is unchanged.", "We thank the market.", "Figures are rounded to the year."),
)

WORDINGS = {"train": _TRAIN, "valid": _VALID, "valid_unseen": _UNSEEN}
"""Wordings by split."""
