"""Parsing of answers: lenient about the form, without guessing a direction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.trading_group.roles import (
    ROLES,
    answer_of,
    read_decision,
    read_forecast,
    read_outlook,
    read_sentiment,
    read_style,
)


@pytest.mark.parametrize(
    "text",
    [
        "Thought: up.\nForecast: up 60 down 15 side 25\nTrend: up",
        "**Forecast:** Up: 60 %, Down: 15 %, Sideways: 25 %\n**Trend:** Up.",
        '{"forecast": {"up": 0.60, "down": 0.15, "side": 0.25}, "trend": "up"}',
        "FORECAST: up=0.6, down=0.15, side=0.25",
        "Thought: it went down 30 % and up 90 % before.\nForecast: up 6 down 1.5 side 2.5\nTrend: UP",
        "P_up: 0.6\nP_down: 0.15\nP_side: 0.25\nTrend: up",
    ],
)
def test_forecast_is_parsed_in_many_forms(text):
    forecast = read_forecast(text)
    assert forecast is not None
    assert forecast.trend == "up"
    assert forecast.probabilities == pytest.approx({"up": 0.6, "down": 0.15, "side": 0.25})


def test_stated_trend_overrides_the_most_probable_one():
    forecast = read_forecast("Forecast: up 50 down 30 side 20\nTrend: sideways")
    assert forecast is not None
    assert forecast.trend == "side"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "up",
        "Trend: up",
        "Forecast: up 60 down 40",
        "Forecast: up 0 down 0 side 0",
        "Forecast: group 60 down 1 side 1",
    ],
)
def test_incomplete_forecast_is_not_parsed(text):
    assert read_forecast(text) is None


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (read_sentiment, "Items: positive, negative\nOverall: negative", "negative"),
        (read_sentiment, "**Overall**: Positive!", "positive"),
        (read_sentiment, '{"items": [], "overall": "neutral"}', "neutral"),
        (read_sentiment, "Overall: mixed", None),
        (read_sentiment, "Items: positive", None),
        (read_sentiment, "not positive at all", None),
        (read_outlook, "Summary: good.\nOutlook: positive", "positive"),
        (read_outlook, "Outlook:", None),
        (read_style, "Thought: we lose.\nStyle: Conservative", "conservative"),
        (read_style, "Lifestyle: aggressive", None),
        (read_decision, "Decision: buy? No.\nDecision: sell", "sell"),
        (read_decision, "I would buy.", None),
        (read_decision, "Decision: short", None),
    ],
)
def test_word_after_its_label_is_parsed(read, text, found):
    assert read(text) == found


@given(st.sampled_from(ROLES), st.text(max_size=80))
def test_any_text_can_be_parsed(role, text):
    assert answer_of(role, text) in (
        None, "positive", "negative", "neutral", "up", "down", "side", "aggressive", "balanced", "conservative", "buy",
        "hold", "sell",
    )  # fmt: skip


@given(st.tuples(*[st.integers(0, 100)] * 3).filter(any))
def test_probabilities_always_sum_to_one(numbers):
    up, down, side = numbers
    forecast = read_forecast(f"Forecast: up {up} down {down} side {side}")
    assert forecast is not None
    assert sum(forecast.probabilities.values()) == pytest.approx(1.0)
    assert forecast.probabilities["up"] == pytest.approx(up / sum(numbers))
