"""The paper's formulas against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.trading_group import labels, retrieval, risk, signals
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.signals import GateConfig

LABELS = LabelConfig()


def zigzag(size: float, n: int) -> np.ndarray:
    """Closes whose log-returns are +size and -size in turn."""
    steps = np.where(np.arange(n - 1) % 2 == 0, size, -size)
    return 100 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))


def test_simplified_atr_is_the_volatility_of_closes():
    assert signals.simplified_atr(zigzag(0.01, 21)) == pytest.approx(1.0)
    # 19 returns of 0 and one of 0.1: the mean is 0.005, the mean square deviation (19 * 0.005^2 + 0.095^2) / 20.
    closes = [100.0] * 20 + [100 * math.exp(0.1)]
    assert signals.simplified_atr(closes) == pytest.approx(100 * math.sqrt(0.000475))


def test_simplified_atr_ignores_a_steady_drift():
    assert signals.simplified_atr(100 * np.exp(0.02 * np.arange(30))) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("atr", "threshold"), [(0.5, 1.0), (2.0, 1.0), (3.0, 1.5), (8.0, 4.0)])
def test_the_breakout_threshold(atr, threshold):
    assert signals.breakout_threshold(atr) == threshold


def test_rsi():
    up_down = np.cumsum([100.0] + [1.0] * 10 + [-1.0] * 4)
    assert signals.rsi(up_down) == pytest.approx(1000 / 14)
    assert signals.rsi(np.arange(1.0, 16.0)) == 100.0
    assert signals.rsi(np.arange(16.0, 1.0, -1.0)) == 0.0
    assert signals.rsi([5.0] * 15) == 50.0


def test_the_deviation_from_the_mean():
    assert signals.deviation_from_sma([100.0] * 19 + [120.0]) == pytest.approx(100 * (120 / 101 - 1))


def test_sigma_of_ten_days():
    assert signals.daily_sigma(zigzag(0.02, 11)) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "signal", [signals.rsi, signals.deviation_from_sma, signals.simplified_atr, signals.daily_sigma]
)
def test_too_few_closes_are_refused(signal):
    with pytest.raises(ValueError, match="closes, there are 5"):
        signal([1.0, 2.0, 3.0, 4.0, 5.0])


@given(st.lists(st.floats(1.0, 1000.0), min_size=25, max_size=40))
def test_signals_look_back_only_as_far_as_they_say(closes):
    last = closes[-signals.MEMORY :]
    for signal in (signals.rsi, signals.deviation_from_sma, signals.simplified_atr, signals.daily_sigma):
        assert signal(closes) == signal(last)


@pytest.mark.parametrize(
    ("trend", "p", "rsi", "move", "after"),
    [
        ("up", 0.6, 75, 0.5, "side"),  # overbought and no breakout
        ("up", 0.6, 75, 1.5, "up"),  # overbought, but it breaks out
        ("up", 0.85, 75, 0.5, "up"),  # certain enough
        ("down", 0.6, 75, 0.5, "side"),  # extreme: either trend is distrusted
        ("down", 0.6, 25, -0.5, "side"),  # oversold and no breakout
        ("down", 0.6, 25, -1.5, "down"),  # oversold, but it breaks out
        ("up", 0.6, 25, 1.5, "side"),  # oversold; a breakout up is none of this kind
        ("up", 0.6, 50, 0.0, "up"),  # nothing extreme
        ("side", 0.4, 50, 0.0, "side"),
    ],
)
def test_the_hybrid_gate(trend, p, rsi, move, after):
    assert signals.hybrid_gate(trend, p, rsi, move, 1.0, GateConfig()) == after


def test_the_tolerance():
    assert labels.tolerance([0.01, -0.03] * 10, LabelConfig(alpha=1.5)) == pytest.approx(0.03)
    assert labels.tolerance([0.5] + [0.01] * 20, LabelConfig(alpha=1.0)) == pytest.approx(0.01)
    assert labels.tolerance([0.0001] * 20, LABELS) == LABELS.epsilon_min
    assert labels.tolerance([], LABELS) == LABELS.epsilon_min


def test_w_hit():
    said = {"up": 0.6, "down": 0.3, "side": 0.1}
    assert labels.w_hit("up", said, 0.02, 0.02, LABELS) == pytest.approx(0.6 * math.tanh(1.0))
    assert labels.w_hit("up", said, 0.02, 0.02, LABELS) == pytest.approx(0.4569565, abs=1e-7)
    assert labels.w_hit("up", said, -0.02, 0.02, LABELS) == 0.0
    assert labels.w_hit("down", said, -0.01, 0.02, LABELS) == pytest.approx(0.3 * math.tanh(0.5))
    assert labels.w_hit("side", said, 0.001, 0.02, LABELS) == pytest.approx(0.1 * math.tanh(0.05))
    assert labels.w_hit("side", said, 0.02, 0.02, LABELS) == 0.0


def test_the_decision_reward():
    reward = labels.decision_reward(101_000.0, 100_000.0, 102.0, 100.0, 50.0, LABELS)
    assert reward == pytest.approx(0.01 - 0.2 * 0.02 - 1.0 * 0.0005)
    assert labels.decision_reward(100.0, 100.0, 90.0, 100.0, 0.0, LABELS) == pytest.approx(0.02)
    assert labels.decision_reward(101.0, 100.0, 102.0, 100.0, 1.0, LabelConfig(beta=0.0, gamma=0.0)) == pytest.approx(
        0.01
    )


def test_limits_follow_style_and_volatility():
    config = risk.RiskConfig()
    assert config.conservative.size == 0.5
    careful = risk.limits(config.conservative, 0.02)
    assert (careful.stop_loss, careful.take_profit) == pytest.approx((0.04, 0.08))
    assert str(careful) == "stop 4.00% take 8.00%"
    bold = risk.limits(config.aggressive, 0.02)
    assert bold.stop_loss > careful.stop_loss
    assert bold.take_profit > careful.take_profit
    assert risk.limits(config.balanced, 0.0).stop_loss == risk.LEAST


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


def test_news_are_read_once_and_the_idle_ones_last():
    config = retrieval.RetrievalConfig(news=2)
    texts = [
        "The office moves.",
        "Demand is rising, margins are growing.",
        "Demand is rising, margins are growing!",
        "Debt is falling.",
    ]
    assert retrieval.choose_news(texts, config) == [texts[1], texts[3]]
    assert retrieval.choose_news([], config) == []


def test_the_passages_of_a_report_that_matter():
    filler = [f"We thank our staff of plant {word}." for word in "abcdefghijkl"]
    report = " ".join([*filler[:6], "The forecast is raised since demand is rising.", *filler[6:]])
    passages = retrieval.choose_passages(report, retrieval.RetrievalConfig(found=3, kept=2))
    assert len(passages) == 2
    assert all("forecast is raised" in passage for passage in passages)
    assert retrieval.choose_passages("", retrieval.RetrievalConfig()) == []
