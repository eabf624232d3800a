"""Simulated markets: news is profitable, prices follow the model, and splits are disjoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kintsugi.agents.experts.trading import direction_of
from kintsugi.envs.trading.market import Market
from kintsugi.envs.trading.simulator import PARAMETERS, Regime, SimulatorConfig, latent_of, simulate
from kintsugi.envs.trading.wording import WORDINGS
from kintsugi.errors import UsageError
from scipy import stats

SEEDS = range(20)


def log_growth(market: Market, positions: np.ndarray) -> float:
    """Return the mean log-return per bar of positions (bars, assets), each held from the next open for one bar."""
    opens = np.log(market.open)
    return float((positions[:-2] * (opens[2:] - opens[1:-1])).mean())


def news_positions(market: Market, split: str) -> np.ndarray:
    """Return positions by the sign of the discounted recent news."""
    signal = np.zeros(market.close.shape)
    for item, bar in zip(market.items, market.shown_at, strict=True):
        if item.kind == "news":
            signal[bar, market.index(item.symbol)] += direction_of(item.text, "news", split)
    recent = np.zeros(signal.shape)
    for bar in range(1, len(signal)):
        recent[bar] = 0.8 * recent[bar - 1] + signal[bar]
    return np.sign(recent)


def momentum(market: Market, bars: int) -> np.ndarray:
    """Return positions by the sign of the return over `bars` bars."""
    close = np.log(market.close)
    positions = np.zeros(close.shape)
    positions[bars:] = np.sign(close[bars:] - close[:-bars])
    return positions


@pytest.fixture(scope="module", params=sorted(WORDINGS))
def markets(request):
    config = SimulatorConfig(split=request.param)
    return request.param, [simulate(config, seed) for seed in SEEDS]


def test_following_the_news_is_profitable(markets):
    """Compared with rules on the same prices and with following another company's news, paired by seed."""
    split, made = markets
    reader = [log_growth(m, news_positions(m, split)) for m in made]
    assert stats.ttest_1samp(reader, 0.0, alternative="greater").pvalue < 1e-4
    others = {f"momentum {n}": [log_growth(m, momentum(m, n)) for m in made] for n in (1, 5, 20)}
    others["another company's news"] = [log_growth(m, np.roll(news_positions(m, split), 1, axis=1)) for m in made]
    others["buy and hold"] = [log_growth(m, np.ones(m.close.shape)) for m in made]
    for name, rule in others.items():
        assert stats.ttest_rel(reader, rule, alternative="greater").pvalue < 0.01, name


def test_following_another_companys_news_is_not_profitable(markets):
    split, made = markets
    wrong = [log_growth(m, np.roll(news_positions(m, split), 1, axis=1)) for m in made]
    assert stats.ttest_1samp(wrong, 0.0).pvalue > 0.01


def test_news_accuracy_is_the_drawn_accuracy(markets):
    """The share of news that states the story of the next bar equals the accuracy drawn for the company."""
    split, _ = markets
    config = SimulatorConfig(assets=4, bars=2000, split=split)
    config = replace(config, parameters=replace(PARAMETERS[split], news_rate=1.0, idle_rate=0.0))
    market, latent = simulate(config, 3), latent_of(config, 3)
    right = np.zeros((2, 4))
    for item, bar in zip(market.items, market.shown_at, strict=True):
        ahead, asset = min(bar + 1, 1999), market.index(item.symbol)
        if item.kind == "news":
            right[:, asset] += direction_of(item.text, "news", split) == latent.story[ahead, asset], 1
    assert right[0] / right[1] == pytest.approx(latent.accuracy, abs=0.04)


def test_reports_state_the_health():
    config = SimulatorConfig(assets=8, bars=3000, report_every=20)
    market, latent = simulate(config, 0), latent_of(config, 0)
    stated, true = [], []
    for item, bar in zip(market.items, market.shown_at, strict=True):
        if item.kind == "report":
            stated.append(sum(direction_of(s + ".", "reports") for s in item.text.split(".")))
            true.append(latent.health[min(bar + 1, 2999), market.index(item.symbol)])
    assert len(stated) == 8 * 150
    assert np.corrcoef(stated, true)[0, 1] > 0.7


def test_simulation_is_deterministic():
    config = SimulatorConfig()
    assert simulate(config, 7).hash == simulate(config, 7).hash
    assert len({simulate(replace(config, split=s), seed).hash for s in WORDINGS for seed in (7, 8)}) == 6


def test_omitting_texts_changes_no_price():
    with_texts, silent = simulate(SimulatorConfig(), 1), simulate(SimulatorConfig(silent=True), 1)
    assert silent.items == ()
    assert with_texts.items
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(with_texts, name), getattr(silent, name))


def test_splits_share_no_company_product_or_frame():
    for one in WORDINGS.values():
        companies = [one.company(number) for number in range(one.companies)]
        assert len({symbol for symbol, _, _ in companies}) == one.companies
        assert {product for _, _, product in companies} == set(one.products)
        for other in WORDINGS.values():
            if other is not one:
                assert not {name for _, name, _ in companies} & {other.company(n)[1] for n in range(other.companies)}
                assert not set(one.products) & set(other.products)
                assert not set(one.frames) & set(other.frames)
    assert set(WORDINGS["valid_unseen"].news[1]) - set(WORDINGS["train"].news[1])


def test_train_contains_the_words_of_the_unseen_split():
    """A model trained on `train` can therefore, in principle, read the new statements of `valid_unseen`."""

    def words(split: str) -> set[str]:
        statements = [
            t for bank in (WORDINGS[split].news, WORDINGS[split].reports) for texts in bank.values() for t in texts
        ]
        return {word for text in statements for word in text.lower().replace("{product}", "").replace(".", "").split()}

    assert words("valid_unseen") - words("train") - {"board", "they"} == set()


def test_volatility_follows_the_regime_and_assets_move_together():
    market, latent = simulate(SimulatorConfig(bars=4000), 5), latent_of(SimulatorConfig(bars=4000), 5)
    spread = [float(latent.returns[latent.regime == regime].std()) for regime in range(3)]
    assert spread[0] < spread[1] < spread[2]
    correlation = np.corrcoef(np.diff(np.log(market.close), axis=0).T)
    assert correlation[np.triu_indices(5, 1)].min() > 0.1
    assert stats.kurtosis(latent.returns[:, 0]) > 1.0


def test_prices_follow_the_latent_returns():
    config = SimulatorConfig(bars=3000, assets=3)
    market, latent = simulate(config, 2), latent_of(config, 2)
    # Prices have four decimals.
    assert np.diff(np.log(market.close), axis=0) == pytest.approx(latent.returns[1:], abs=1e-4)
    assert np.log(market.open[1:] / market.close[:-1]) == pytest.approx(latent.overnight[1:], abs=1e-4)
    # E[high - low] of Brownian motion over a bar, in units of its standard deviation, is about 1.6.
    log_range = np.log(market.high / market.low) / latent.spread
    assert 1.4 < float(log_range.mean()) < 1.8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SimulatorConfig(split="test"), "unknown split of simulated markets 'test'"),
        (SimulatorConfig(assets=0), "the market has 0 assets and 252 bars"),
        (SimulatorConfig(assets=1000), "expected 1 to 100 assets"),
        (SimulatorConfig(bars=1), "at least 2 bars"),
        (SimulatorConfig(bars=100_000), "end after 2261; reduce bars"),
    ],
)
def test_invalid_settings_are_refused(config, message):
    with pytest.raises(UsageError, match=message):
        simulate(config, 0)


def test_a_single_regime_is_allowed():
    calm = SimulatorConfig(regimes=(Regime("calm", 0.0, 0.1, 1.0, 50.0),), bars=50)
    assert len(simulate(calm, 0)) == 50
