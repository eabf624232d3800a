"""Simulated markets with regimes, jumps, correlated assets, and news that is informative about future returns.

Log-return of asset i on bar t:

    r[t, i] = beta[i] * f[t] + sigma[i] * m[t] * (edge * story[t, i] + slow_edge * health[t, i] + e[t, i]) + jump[t, i]

f is the return of the whole market; its drift and volatility depend on the current regime. m is the regime's
turbulence. A company's `story` in {-1, 0, 1} lasts for weeks, its `health` for quarters; e is noise.

**News** states the story of the next bar and is correct with probability `accuracy`. **Reports** state the health in
the same way. Other news is uninformative, or repeats the share's return of the previous bar. Prices are the only other
observable signal of the drift, and a weaker one. So `edge` and `accuracy` determine how much reading is worth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, unknown
from ..portable_rng import PortableGenerator
from .market import Item, Market
from .wording import WORDINGS, Wording

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Range = tuple[float, float]
"""Lower and upper bound. Each company draws its own value uniformly."""
BARS_PER_YEAR = 252
"""Bars per year."""
FIRST_REFUSED_DAY = np.datetime64("2262-01-01", "D")
"""First day that is refused, because nanosecond timestamps overflow in 2262."""


@dataclass(frozen=True)
class Regime:
    """One regime of the whole market."""

    name: str
    drift: float
    """Drift of the market's log-return, per year."""
    volatility: float
    """Volatility of the market's log-return, per year."""
    turbulence: float
    """Factor on the idiosyncratic volatility of all companies."""
    mean_duration: float
    """Mean duration of the regime in bars."""


REGIMES = (
    Regime("calm", 0.08, 0.10, 0.9, 120.0),
    Regime("nervous", 0.02, 0.18, 1.1, 60.0),
    Regime("crisis", -0.25, 0.35, 1.5, 25.0),
)


@dataclass(frozen=True)
class Parameters:
    """Parameters that differ between companies and between splits."""

    beta: Range = (0.6, 1.4)
    """Sensitivity to the market's return."""
    volatility: Range = (0.16, 0.28)
    """Idiosyncratic volatility per year."""
    edge: Range = (0.20, 0.30)
    """Drift per bar during a story, in idiosyncratic standard deviations per bar."""
    slow_edge: Range = (0.03, 0.06)
    """Drift per bar due to the health, in the same unit."""
    story_duration: Range = (12.0, 20.0)
    """Mean duration of a story in bars."""
    health_duration: float = 160.0
    """Mean duration of a state of health in bars."""
    accuracy: Range = (0.80, 0.90)
    """Probability that news states the true story, and a report sentence the true health."""
    news_rate: float = 0.55
    """Probability of news about the story, per company and bar."""
    idle_rate: float = 0.25
    """Probability of uninformative news, and of news about the previous return, each per company and bar."""
    jumps: float = 3.0
    """Expected number of jumps per company and year."""
    jump_size: float = 0.05
    """Standard deviation of a jump's log-return."""


PARAMETERS = {
    "train": Parameters(),
    "valid": Parameters(),
    "valid_unseen": Parameters(volatility=(0.20, 0.34), story_duration=(10.0, 18.0), news_rate=0.5, jumps=4.0),
}
"""Default parameters by split."""


@dataclass(frozen=True)
class SimulatorConfig:
    """Settings of a simulated market."""

    assets: int = 5
    bars: int = 252
    split: str = "train"
    """`train`, `valid` or `valid_unseen`. Splits differ in companies and phrasing; `valid_unseen` also in statements
    and parameters."""
    start: str = "2015-01-05"
    """First day, ISO format. Bars are weekdays."""
    regimes: tuple[Regime, ...] = REGIMES
    parameters: Parameters | None = None
    """None: the default parameters of the split."""
    report_every: int = 63
    """Bars between two reports of a company."""
    silent: bool = False
    """Omit all texts. Prices stay the same."""


@dataclass(frozen=True)
class LatentState:
    """Latent variables of a simulated market, which agents never see."""

    regime: Ints
    """(bars,) Index of the regime."""
    story: Ints
    """(bars, assets) Story in {-1, 0, 1}, part of the drift of the same bar."""
    health: Ints
    """(bars, assets) Health in {-1, 0, 1}, part of the drift of the same bar."""
    returns: Floats
    """(bars, assets) Log-returns from close to close."""
    overnight: Floats
    """(bars, assets) The part of `returns` between the previous close and the open."""
    spread: Floats
    """(bars, assets) Standard deviation of the log-return from open to close."""
    accuracy: Floats
    """(assets,) Accuracy of news and reports."""


@dataclass(frozen=True)
class _Generators:
    """Separate random generators, so that changes of the texts do not change the prices."""

    prices: PortableGenerator
    texts: PortableGenerator
    companies: PortableGenerator = field(repr=False)


def simulate(config: SimulatorConfig, seed: int) -> Market:
    """Simulate a market. Deterministic in its arguments.

    Args:
        config: Settings of the market.
        seed: Seed of all random draws.

    Returns:
        The market.

    Raises:
        UsageError: If the split is unknown, there are fewer than 2 bars or 1 asset or more assets than the split has
            companies, or a bar lies beyond the year 2261.
    """
    generators, wording = _generators(config, seed), WORDINGS[config.split]
    latent = _simulate_latent(config, generators.prices)
    numbers = generators.companies.sample(wording.companies, config.assets)
    companies = [wording.company(number) for number in numbers]
    days = _days(config)
    prices: dict[str, Any] = _simulate_bars(latent, generators.prices)
    items = () if config.silent else tuple(_simulate_items(config, latent, wording, companies, days, generators.texts))
    return Market(
        symbols=tuple(symbol for symbol, _, _ in companies),
        times=(days + np.timedelta64(21, "h")).astype("datetime64[ns]"),
        items=tuple(sorted(items, key=lambda item: (item.published, item.symbol, item.kind, item.text))),
        **prices,
    )


def latent_of(config: SimulatorConfig, seed: int) -> LatentState:
    """Return the latent variables of `simulate(config, seed)`. For analysis and tests, never for agents."""
    return _simulate_latent(config, _generators(config, seed).prices)


def _generators(config: SimulatorConfig, seed: int) -> _Generators:
    if config.split not in WORDINGS:
        raise unknown("split of simulated markets", config.split, WORDINGS)
    if config.bars < 2 or not 1 <= config.assets <= WORDINGS[config.split].companies:
        raise UsageError(
            f"the market has {config.assets} assets and {config.bars} bars; expected 1 to "
            f"{WORDINGS[config.split].companies} assets (the companies of {config.split!r}) and at least 2 bars"
        )
    # The split is part of the seed sequence, so splits share no random numbers.
    streams = np.random.SeedSequence([seed, zlib.crc32(config.split.encode())]).spawn(3)
    return _Generators(*map(PortableGenerator, streams))


def _days(config: SimulatorConfig) -> NDArray[Any]:
    first = np.busday_offset(np.datetime64(config.start, "D"), 0, roll="forward")
    days: NDArray[Any] = np.busday_offset(first, np.arange(config.bars))
    if days[-1] >= FIRST_REFUSED_DAY:
        raise UsageError(
            f"{config.bars} daily bars from {config.start} on end after 2261; reduce bars, or set an earlier start"
        )
    return days


# -- Prices -----------------------------------------------------------------------------------------------------------


def _simulate_latent(config: SimulatorConfig, rng: PortableGenerator) -> LatentState:
    parameters, assets, bars = config.parameters or PARAMETERS[config.split], config.assets, config.bars
    drift = np.array([regime.drift for regime in config.regimes]) / BARS_PER_YEAR
    volatility = np.array([regime.volatility for regime in config.regimes]) / np.sqrt(BARS_PER_YEAR)
    turbulence = np.array([regime.turbulence for regime in config.regimes])
    regime = _markov_chain(rng, [regime.mean_duration for regime in config.regimes], bars)
    market = drift[regime] + volatility[regime] * rng.normal(bars)
    beta, sigma = (
        rng.uniform(*parameters.beta, assets),
        rng.uniform(*parameters.volatility, assets) / np.sqrt(BARS_PER_YEAR),
    )
    edge, slow = rng.uniform(*parameters.edge, assets), rng.uniform(*parameters.slow_edge, assets)
    durations = rng.uniform(*parameters.story_duration, assets)
    story = np.stack([_markov_chain(rng, [mean_duration] * 3, bars) - 1 for mean_duration in durations], axis=1)
    health = np.stack([_markov_chain(rng, [parameters.health_duration] * 3, bars) - 1 for _ in range(assets)], axis=1)
    accuracy = rng.uniform(*parameters.accuracy, assets)
    own = sigma * turbulence[regime][:, None]
    jumps = (
        parameters.jump_size * rng.normal(bars, assets) * (rng.random(bars, assets) < parameters.jumps / BARS_PER_YEAR)
    )
    smooth = beta * market[:, None] + own * (edge * story + slow * health + rng.normal(bars, assets))
    spread = np.sqrt((beta * volatility[regime][:, None]) ** 2 + own**2)
    # A fifth of the variance is overnight. Given the total return, the overnight part is normal around a fifth of it.
    share = 0.2
    overnight = share * smooth + np.sqrt(share * (1 - share)) * spread * rng.normal(bars, assets) + jumps
    inside = np.sqrt(1 - share) * spread
    return LatentState(regime, story, health, smooth + jumps, overnight, inside, accuracy)


def _markov_chain(rng: PortableGenerator, durations: Sequence[float], bars: int) -> Ints:
    """Sample a Markov chain, (bars,), with mean state durations `durations` and uniform transitions to other states."""
    states: list[Ints] = []
    state, done = rng.below(len(durations)), 0
    while done < bars:
        length = rng.geometric(durations[state])
        states.append(np.full(min(length, bars - done), state, dtype=np.int64))
        done += length
        if len(durations) > 1:
            state = (state + 1 + rng.below(len(durations) - 1)) % len(durations)
    return np.concatenate(states)


def _simulate_bars(latent: LatentState, rng: PortableGenerator) -> dict[str, Any]:
    """Simulate open, high, low, close and volume, each (bars, assets).

    Within a bar the log-price is a Brownian bridge. High and low are drawn from the distributions of its maximum and
    minimum.
    """
    shape = latent.returns.shape
    first = np.log(rng.uniform(20, 200, shape[1]))
    close = first + np.cumsum(latent.returns, axis=0)
    opened = np.vstack([first, close[:-1]]) + latent.overnight
    inside = close - opened

    def excursion() -> Floats:
        variance = latent.spread**2
        excursions: Floats = np.sqrt(inside**2 - 2 * variance * np.log1p(-rng.random(*shape))) / 2
        return excursions

    middle = (opened + close) / 2
    surprise = np.abs(latent.returns) / latent.spread
    volume = np.exp(13.0 + 0.6 * rng.normal(shape[1]) + 0.3 * surprise + 0.25 * rng.normal(*shape))
    logarithms = {
        "open": opened,
        "high": np.maximum(middle + excursion(), np.maximum(opened, close)),
        "low": np.minimum(middle - excursion(), np.minimum(opened, close)),
        "close": close,
    }
    # Rounded, because the last bits of exponentials differ between platforms.
    prices = {name: np.maximum(np.round(np.exp(logarithm), 4), 1e-4) for name, logarithm in logarithms.items()}
    return {**prices, "volume": np.round(volume)}


# -- Texts ------------------------------------------------------------------------------------------------------------


def _simulate_items(
    config: SimulatorConfig,
    latent: LatentState,
    wording: Wording,
    companies: Sequence[tuple[str, str, str]],
    days: NDArray[Any],
    rng: PortableGenerator,
) -> Iterator[Item]:
    """Generate news and reports, published before each close. They depend on the latent state of the next bar."""
    parameters = config.parameters or PARAMETERS[config.split]
    offsets = [rng.below(config.report_every) for _ in range(config.assets)]
    for i, (symbol, name, product) in enumerate(companies):
        names = {"company": name, "product": product}

        def item(day: Any, kind: str, text: str, symbol: str = symbol) -> Item:
            published = (day + np.timedelta64(6 * 60 + rng.below(14 * 60), "m")).astype("datetime64[ns]")
            return Item(published=published, kind=kind, symbol=symbol, text=text)

        for t, day in enumerate(days):
            ahead = min(t + 1, config.bars - 1)
            if rng.number() < parameters.news_rate:
                direction = _noisy_direction(int(latent.story[ahead, i]), latent.accuracy[i], rng)
                said = _choose(wording.news[direction], rng).format(**names)
                yield item(day, "news", _choose(wording.frames, rng).format(said=said, **names))
            if rng.number() < parameters.idle_rate:
                said = _choose(wording.news[0], rng).format(**names)
                yield item(day, "news", _choose(wording.frames, rng).format(said=said, **names))
            if rng.number() < parameters.idle_rate and t > 0:
                last = 1 if latent.returns[t - 1, i] >= 0 else -1
                yield item(day, "news", _choose(wording.recaps[last], rng).format(**names))
            if (t - offsets[i]) % config.report_every == 0:
                health = int(latent.health[ahead, i])
                yield item(day, "report", _report(health, latent.accuracy[i], wording, names, rng))


def _noisy_direction(truth: int, accuracy: float, rng: PortableGenerator) -> int:
    """Return the true direction with probability `accuracy`, else one of the two others."""
    if rng.number() < accuracy:
        return truth
    return [d for d in (-1, 0, 1) if d != truth][rng.below(2)]


def _report(truth: int, accuracy: float, wording: Wording, names: dict[str, str], rng: PortableGenerator) -> str:
    """Return a report of three informative sentences, each correct with probability `accuracy`, and three fillers."""
    informative = [_choose(wording.reports[_noisy_direction(truth, accuracy, rng)], rng) for _ in range(3)]
    sentences = [*informative, *(_choose(wording.filler, rng) for _ in range(3))]
    order = rng.permutation(len(sentences))
    return f"{names['company']}, quarterly report. " + " ".join(sentences[k] for k in order).format(**names)


def _choose(texts: Sequence[str], rng: PortableGenerator) -> str:
    return texts[rng.below(len(texts))]
