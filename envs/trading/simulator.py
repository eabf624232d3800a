"""A market to practise on: regimes, jumps, correlated assets, and texts that know something of what comes next.

Log-return of asset i on bar t:

    r[t, i] = beta[i] * f[t] + sigma[i] * m[t] * (edge * story[t, i] + slow_edge * health[t, i] + e[t, i]) + jump[t, i]

f is the market's return, whose drift and volatility depend on the regime m. A company's `story` in {-1, 0, 1} lasts for
some weeks, its `health` for some quarters. **News** tells the story of the next bar, and is right with probability
`accuracy`; **reports** tell health in the same way. Other news is idle or tells the share's own move of the day before.
Of what can be seen, only prices tell the drift too, and less, so reading pays as far as `edge` and `accuracy` say.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, unknown
from .market import Item, Market
from .wording import WORDINGS, Wording

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Range = tuple[float, float]
"""From, to: each market or company draws its own value in between."""
YEAR = 252
"""Bars of a year."""
LAST_DAY = np.datetime64("2262-01-01", "D")
"""Nanoseconds since 1970 end soon after it."""


@dataclass(frozen=True)
class Regime:
    """One state of the whole market."""

    name: str
    drift: float
    """Of the market's log-return, a year."""
    volatility: float
    """Of the market's log-return, a year."""
    turbulence: float
    """Multiplies the volatility of what is the companies' own."""
    stay: float
    """Mean number of bars before another regime comes."""


REGIMES = (
    Regime("calm", 0.08, 0.10, 0.9, 120.0),
    Regime("nervous", 0.02, 0.18, 1.1, 60.0),
    Regime("crisis", -0.25, 0.35, 1.5, 25.0),
)


@dataclass(frozen=True)
class Parameters:
    """What differs between companies and between splits."""

    beta: Range = (0.6, 1.4)
    volatility: Range = (0.16, 0.28)
    """Of what is the company's own, a year."""
    edge: Range = (0.20, 0.30)
    """Drift while a story lasts, in daily standard deviations of what is the company's own."""
    slow_edge: Range = (0.03, 0.06)
    """The same for the company's health."""
    story_stay: Range = (12.0, 20.0)
    """Mean number of bars that a story lasts."""
    health_stay: float = 160.0
    accuracy: Range = (0.80, 0.90)
    """Probability that news tells the story as it is, and a report the health; else another one is told."""
    news_rate: float = 0.55
    """Probability of news about the story, for each company and bar."""
    idle_rate: float = 0.25
    """Probability of idle news, and also of news that tells the share's own move of the day before."""
    jumps: float = 3.0
    """Expected number a company and year."""
    jump_size: float = 0.05
    """Standard deviation of a jump's log-return."""


PARAMETERS = {
    "train": Parameters(),
    "valid": Parameters(),
    "valid_unseen": Parameters(volatility=(0.20, 0.34), story_stay=(10.0, 18.0), news_rate=0.5, jumps=4.0),
}
"""By split."""


@dataclass(frozen=True)
class SimulatorConfig:
    """What kind of market is made."""

    assets: int = 5
    bars: int = 252
    split: str = "train"
    """`train`, `valid` or `valid_unseen`: other companies, other frames, and unseen also other things said and other
    parameters."""
    start: str = "2015-01-05"
    """First day; bars are those of Monday to Friday."""
    regimes: tuple[Regime, ...] = REGIMES
    parameters: Parameters | None = None
    """None takes those of the split."""
    report_every: int = 63
    """Bars between two reports of one company."""
    silent: bool = False
    """No texts at all; prices are the same."""


@dataclass(frozen=True)
class Latent:
    """What nobody sees. Arrays are [bars] or [bars, assets]."""

    regime: Ints
    """Number of the regime."""
    story: Ints
    """-1, 0 or 1: in the drift of the same bar."""
    health: Ints
    """-1, 0 or 1: in the drift of the same bar."""
    returns: Floats
    """Log-returns from close to close."""
    overnight: Floats
    """The part of `returns` between the last close and the open."""
    spread: Floats
    """Standard deviation of the log-return within the bar."""
    accuracy: Floats
    """[assets]."""


@dataclass(frozen=True)
class _Draws:
    """One generator a subject, so that texts can change and prices stay."""

    prices: np.random.Generator
    texts: np.random.Generator
    companies: np.random.Generator = field(repr=False)


def simulate(config: SimulatorConfig, seed: int) -> Market:
    """The market of `seed`: a function of its arguments alone.

    Raises `UsageError` for an unknown split, for fewer than 2 bars or 1 asset, for more assets than the split has
    companies, and for bars beyond the year 2261.
    """
    draws, wording = _draws(config, seed), WORDINGS[config.split]
    latent = _latent(config, draws.prices)
    numbers = draws.companies.choice(wording.companies, size=config.assets, replace=False)
    companies = [wording.company(int(number)) for number in numbers]
    days = _days(config)
    prices: dict[str, Any] = _bars(latent, draws.prices)
    items = () if config.silent else tuple(_items(config, latent, wording, companies, days, draws.texts))
    return Market(
        symbols=tuple(symbol for symbol, _, _ in companies),
        times=(days + np.timedelta64(21, "h")).astype("datetime64[ns]"),
        items=tuple(sorted(items, key=lambda item: (item.published, item.symbol, item.kind, item.text))),
        **prices,
    )


def latent_of(config: SimulatorConfig, seed: int) -> Latent:
    """What is behind `simulate(config, seed)`; for studies and tests, never for an agent."""
    return _latent(config, _draws(config, seed).prices)


def _draws(config: SimulatorConfig, seed: int) -> _Draws:
    if config.split not in WORDINGS:
        raise unknown("split of simulated markets", config.split, WORDINGS)
    if config.bars < 2 or not 1 <= config.assets <= WORDINGS[config.split].companies:
        raise UsageError(
            f"a market of {config.assets} assets and {config.bars} bars was asked for; expected 1 to "
            f"{WORDINGS[config.split].companies} assets (the companies of {config.split!r}) and at least 2 bars"
        )
    # Splits share no random number, whatever their seeds are.
    streams = np.random.SeedSequence([seed, zlib.crc32(config.split.encode())]).spawn(3)
    return _Draws(*map(np.random.default_rng, streams))


def _days(config: SimulatorConfig) -> NDArray[Any]:
    first = np.busday_offset(np.datetime64(config.start, "D"), 0, roll="forward")
    days: NDArray[Any] = np.busday_offset(first, np.arange(config.bars))
    if days[-1] >= LAST_DAY:
        raise UsageError(f"{config.bars} daily bars from {config.start} on end after 2261; ask for fewer")
    return days


# -- Prices -----------------------------------------------------------------------------------------------------------


def _latent(config: SimulatorConfig, rng: np.random.Generator) -> Latent:
    chosen, assets, bars = config.parameters or PARAMETERS[config.split], config.assets, config.bars
    drift = np.array([regime.drift for regime in config.regimes]) / YEAR
    volatility = np.array([regime.volatility for regime in config.regimes]) / np.sqrt(YEAR)
    turbulence = np.array([regime.turbulence for regime in config.regimes])
    regime = _chain(rng, [regime.stay for regime in config.regimes], bars)
    market = drift[regime] + volatility[regime] * rng.standard_normal(bars)
    beta, sigma = rng.uniform(*chosen.beta, assets), rng.uniform(*chosen.volatility, assets) / np.sqrt(YEAR)
    edge, slow = rng.uniform(*chosen.edge, assets), rng.uniform(*chosen.slow_edge, assets)
    stays = rng.uniform(*chosen.story_stay, assets)
    story = np.stack([_chain(rng, [stay] * 3, bars) - 1 for stay in stays], axis=1)
    health = np.stack([_chain(rng, [chosen.health_stay] * 3, bars) - 1 for _ in range(assets)], axis=1)
    accuracy = rng.uniform(*chosen.accuracy, assets)
    own = sigma * turbulence[regime][:, None]
    jumps = chosen.jump_size * rng.standard_normal((bars, assets)) * (rng.random((bars, assets)) < chosen.jumps / YEAR)
    smooth = beta * market[:, None] + own * (edge * story + slow * health + rng.standard_normal((bars, assets)))
    spread = np.sqrt((beta * volatility[regime][:, None]) ** 2 + own**2)
    # A fifth of the variance comes overnight. Given the whole, the part is normal around its share of it.
    share = 0.2
    overnight = share * smooth + np.sqrt(share * (1 - share)) * spread * rng.standard_normal((bars, assets)) + jumps
    inside = np.sqrt(1 - share) * spread
    return Latent(regime, story, health, smooth + jumps, overnight, inside, accuracy)


def _chain(rng: np.random.Generator, stays: Sequence[float], bars: int) -> Ints:
    """A Markov chain [bars] over states that are left after a mean of `stays` bars, for any other state alike."""
    states: list[Ints] = []
    state, done = int(rng.integers(len(stays))), 0
    while done < bars:
        length = int(rng.geometric(1 / stays[state]))
        states.append(np.full(min(length, bars - done), state, dtype=np.int64))
        done += length
        if len(stays) > 1:
            state = (state + int(rng.integers(1, len(stays)))) % len(stays)
    return np.concatenate(states)


def _bars(latent: Latent, rng: np.random.Generator) -> dict[str, Any]:
    """Open, high, low, close and volume, each [bars, assets].

    Within a bar the log-price is a Brownian bridge; high and low follow the law of its maximum and its minimum.
    """
    shape = latent.returns.shape
    first = np.log(rng.uniform(20, 200, shape[1]))
    close = first + np.cumsum(latent.returns, axis=0)
    opened = np.vstack([first, close[:-1]]) + latent.overnight
    inside = close - opened

    def reach() -> Floats:
        variance = latent.spread**2
        reached: Floats = np.sqrt(inside**2 - 2 * variance * np.log1p(-rng.random(shape))) / 2
        return reached

    middle = (opened + close) / 2
    surprise = np.abs(latent.returns) / latent.spread
    volume = np.exp(rng.normal(13.0, 0.6, shape[1]) + 0.3 * surprise + 0.25 * rng.standard_normal(shape))
    return {
        "open": np.exp(opened),
        "high": np.exp(np.maximum(middle + reach(), np.maximum(opened, close))),
        "low": np.exp(np.minimum(middle - reach(), np.minimum(opened, close))),
        "close": np.exp(close),
        "volume": np.round(volume),
    }


# -- Texts ------------------------------------------------------------------------------------------------------------


def _items(
    config: SimulatorConfig,
    latent: Latent,
    wording: Wording,
    companies: Sequence[tuple[str, str, str]],
    days: NDArray[Any],
    rng: np.random.Generator,
) -> Iterator[Item]:
    """News of each day before its close, and reports; a bar's texts know the latent state of the next bar."""
    chosen = config.parameters or PARAMETERS[config.split]
    offsets = rng.integers(0, config.report_every, config.assets)
    for i, (symbol, name, product) in enumerate(companies):
        names = {"company": name, "product": product}

        def item(day: Any, kind: str, text: str, symbol: str = symbol) -> Item:
            published = (day + np.timedelta64(int(rng.integers(6 * 60, 20 * 60)), "m")).astype("datetime64[ns]")
            return Item(published=published, kind=kind, symbol=symbol, text=text)

        for t, day in enumerate(days):
            ahead = min(t + 1, config.bars - 1)
            if rng.random() < chosen.news_rate:
                told = _told(int(latent.story[ahead, i]), latent.accuracy[i], rng)
                said = _pick(wording.news[told], rng).format(**names)
                yield item(day, "news", _pick(wording.frames, rng).format(said=said, **names))
            if rng.random() < chosen.idle_rate:
                said = _pick(wording.news[0], rng).format(**names)
                yield item(day, "news", _pick(wording.frames, rng).format(said=said, **names))
            if rng.random() < chosen.idle_rate and t > 0:
                last = 1 if latent.returns[t - 1, i] >= 0 else -1
                yield item(day, "news", _pick(wording.recaps[last], rng).format(**names))
            if (t - offsets[i]) % config.report_every == 0:
                health = int(latent.health[ahead, i])
                yield item(day, "report", _report(health, latent.accuracy[i], wording, names, rng))


def _told(truth: int, accuracy: float, rng: np.random.Generator) -> int:
    if rng.random() < accuracy:
        return truth
    return [d for d in (-1, 0, 1) if d != truth][int(rng.integers(2))]


def _report(truth: int, accuracy: float, wording: Wording, names: dict[str, str], rng: np.random.Generator) -> str:
    """Three sentences that tell something, each right or wrong by itself, among as many that tell nothing."""
    told = [_pick(wording.reports[_told(truth, accuracy, rng)], rng) for _ in range(3)]
    sentences = [*told, *(_pick(wording.filler, rng) for _ in range(3))]
    order = rng.permutation(len(sentences))
    return f"{names['company']}, quarterly report. " + " ".join(sentences[k] for k in order).format(**names)


def _pick(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]
