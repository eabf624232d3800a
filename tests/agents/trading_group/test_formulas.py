"""The paper's formulas against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kintsugi.agents.trading_group import labels, retrieval, risk, signals
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.signals import GateConfig
from kintsugi.envs.trading.features import FEATURES, feature_table
from kintsugi.envs.trading.market import Market

LABELS = LabelConfig()


def features_after(returns: list[float]) -> dict[str, float]:
    """Return the features of the last bar of a market with these log-returns."""
    close = 100 * np.exp(np.cumsum([0.0, *returns]))
    times = np.datetime64("2020-01-01", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    market = Market(("A",), times, close, close, close, close, np.ones(len(close)))
    return dict(zip(FEATURES, feature_table(market)[-1, 0], strict=True))


def test_simplified_atr_is_the_volatility_of_closes():
    assert signals.simplified_atr(features_after([0.01, -0.01] * 10)["volatility_20"]) == pytest.approx(1.0)
    # 19 returns of 0 and one of 0.1: the mean is 0.005, the mean square deviation (19 * 0.005^2 + 0.095^2) / 20.
    jump = features_after([0.0] * 19 + [0.1])["volatility_20"]
    assert signals.simplified_atr(jump) == pytest.approx(100 * math.sqrt(0.000475))


def test_simplified_atr_ignores_a_steady_drift():
    assert signals.simplified_atr(features_after([0.02] * 30)["volatility_20"]) == pytest.approx(0.0, abs=1e-9)


def test_other_features_that_the_desk_uses():
    assert features_after([0.02, -0.02] * 10)["volatility_10"] == pytest.approx(0.02)  # sigma_d,10
    assert features_after([0.0] * 19 + [math.log(1.2)])["sma_20"] == pytest.approx(120 / 101 - 1)
    assert features_after([0.01] * 30)["rsi"] == 100.0
    assert features_after([-0.01] * 30)["rsi"] == 0.0


@pytest.mark.parametrize(("atr", "threshold"), [(0.5, 1.0), (2.0, 1.0), (3.0, 1.5), (8.0, 4.0)])
def test_the_breakout_threshold(atr, threshold):
    assert signals.breakout_threshold(atr) == threshold


@pytest.mark.parametrize(
    ("trend", "p", "rsi", "last_return", "after"),
    [
        ("up", 0.6, 75, 0.5, "side"),  # overbought and no breakout
        ("up", 0.6, 75, 1.5, "up"),  # overbought with a breakout
        ("up", 0.85, 75, 0.5, "up"),  # probability above the threshold
        ("down", 0.6, 75, 0.5, "side"),  # an extreme RSI blocks both trends
        ("down", 0.6, 25, -0.5, "side"),  # oversold and no breakout
        ("down", 0.6, 25, -1.5, "down"),  # oversold with a breakout
        ("up", 0.6, 25, 1.5, "side"),  # oversold; only a breakout down counts
        ("up", 0.6, 50, 0.0, "up"),  # RSI not extreme
        ("side", 0.4, 50, 0.0, "side"),
    ],
)
def test_the_hybrid_gate(trend, p, rsi, last_return, after):
    assert signals.hybrid_gate(trend, p, rsi, last_return, 1.0, GateConfig()) == after


def test_the_tolerance():
    assert labels.tolerance([0.01, -0.03] * 10, LabelConfig(alpha=1.5)) == pytest.approx(0.03)
    assert labels.tolerance([0.5] + [0.01] * 20, LabelConfig(alpha=1.0)) == pytest.approx(0.01)
    assert labels.tolerance([0.0001] * 20, LABELS) == LABELS.epsilon_min
    assert labels.tolerance([], LABELS) == LABELS.epsilon_min


def test_w_hit():
    probabilities = {"up": 0.6, "down": 0.3, "side": 0.1}
    assert labels.w_hit("up", probabilities, 0.02, 0.02, LABELS) == pytest.approx(0.6 * math.tanh(1.0))
    assert labels.w_hit("up", probabilities, 0.02, 0.02, LABELS) == pytest.approx(0.4569565, abs=1e-7)
    assert labels.w_hit("up", probabilities, -0.02, 0.02, LABELS) == 0.0
    assert labels.w_hit("down", probabilities, -0.01, 0.02, LABELS) == pytest.approx(0.3 * math.tanh(0.5))
    assert labels.w_hit("side", probabilities, 0.001, 0.02, LABELS) == pytest.approx(0.1 * math.tanh(0.05))
    assert labels.w_hit("side", probabilities, 0.02, 0.02, LABELS) == 0.0


def test_the_decision_reward():
    reward = labels.decision_reward(101_000.0, 100_000.0, 102.0, 100.0, 50.0, LABELS)
    assert reward == pytest.approx(0.01 - 0.2 * 0.02 - 1.0 * 0.0005)
    assert labels.decision_reward(100.0, 100.0, 90.0, 100.0, 0.0, LABELS) == pytest.approx(0.02)
    assert labels.decision_reward(101.0, 100.0, 102.0, 100.0, 1.0, LabelConfig(beta=0.0, gamma=0.0)) == pytest.approx(
        0.01
    )


def test_realised_series():
    past = labels.RealisedSeries(returns=[0.0, 0.1, -0.1, 0.02], equity=[100, 105, 100, 101], commission=[0, 1, 0, 0.5])
    assert past.return_ahead(0, 2) == pytest.approx(1.1 * 0.9 - 1)
    assert past.return_ahead(1, 2) == pytest.approx(0.9 * 1.02 - 1)
    assert past.return_ahead(2, 2) is None
    assert past.account_return(0) == pytest.approx(0.05)
    assert past.account_return(3) is None
    assert past.reward(0, LABELS) == pytest.approx(0.05 - 0.2 * 0.1 - 1 / 100)
    assert past.reward(3, LABELS) is None
    probabilities, two_days = {"up": 0.5, "down": 0.4, "side": 0.1}, LabelConfig(horizon=2, alpha=1.0)
    # epsilon at close 1 is the mean of 0 and 0.1.
    assert past.w_hit(1, "down", probabilities, two_days) == pytest.approx(0.4 * math.tanh((1 - 0.9 * 1.02) / 0.05))
    assert past.w_hit(1, "up", probabilities, two_days) == 0.0
    assert past.w_hit(2, "down", probabilities, two_days) is None


def test_limits_follow_style_and_volatility():
    config = risk.RiskConfig()
    assert config.conservative.size == 0.5
    careful = risk.limits(config.conservative, 0.02)
    assert (careful.stop_loss, careful.take_profit) == pytest.approx((0.04, 0.08))
    assert str(careful) == "stop 4.00% take 8.00%"
    bold = risk.limits(config.aggressive, 0.02)
    assert bold.stop_loss > careful.stop_loss
    assert bold.take_profit > careful.take_profit
    assert risk.limits(config.balanced, 0.0).stop_loss == risk.MIN_DISTANCE


def test_influence_and_hybrid_score():
    assert retrieval.influence(1.0, 1.0) == pytest.approx(1.0)
    assert retrieval.influence(0.4, 0.2) == pytest.approx(0.22 + 0.05 + 0.20)
    assert retrieval.hybrid(0.5, 0.25) == pytest.approx(0.7)


def test_bm25_by_hand():
    # N = 2, "demand" is in one text: idf = ln(1 + 1.5 / 1.5); both texts have 2 words, the mean.
    [one, other] = retrieval.bm25(["demand rises", "staff rests"], "demand")
    assert one == 1.0
    assert other == 0.0
    assert retrieval.bm25(["a b"], "c") == [0.0]
    assert retrieval.bm25([], "c") == []


def test_choose_news_drops_duplicates_and_irrelevant_items():
    config = retrieval.RetrievalConfig(news=2)
    texts = [
        "The office moves.",
        "Demand is rising, margins are growing.",
        "Demand is rising, margins are growing!",
        "Debt is falling.",
    ]
    assert retrieval.choose_news(texts, config) == [texts[1], texts[3]]
    assert retrieval.choose_news([], config) == []


def test_choose_passages_finds_the_relevant_ones():
    filler = [f"We thank our staff of plant {word}." for word in "abcdefghijkl"]
    report = " ".join([*filler[:6], "The forecast is raised since demand is rising.", *filler[6:]])
    passages = retrieval.choose_passages(report, retrieval.RetrievalConfig(found=3, kept=2))
    assert len(passages) == 2
    assert all("forecast is raised" in passage for passage in passages)
    assert retrieval.choose_passages("", retrieval.RetrievalConfig()) == []
