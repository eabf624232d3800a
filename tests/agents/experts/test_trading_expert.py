"""The rule-based analyst: reads without error, samples its reasons by weight, and uses experience."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from kintsugi.agents.experts.trading import (
    Temperament,
    TradingExpert,
    answer_decision,
    answer_forecast,
    answer_news,
    answer_report,
    answer_style,
    direction_of,
)
from kintsugi.agents.models import Sampling
from kintsugi.agents.trading_group.desk import role_chat
from kintsugi.agents.trading_group.roles import ROLES, answer_of
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.envs.trading.wording import WORDINGS

PROMPT = (
    "The next 5 days of ABC.\nRSI-14: 50, middle\nSMA-20: 4.0 % below\nVolatility: 1.0 %\n"
    "Last day: +0.1 %, no breakout\nNews today: positive\nNews before: positive\nReport: neutral"
)

REPORT_HEADER = "From the last report of ABC:"
EXPERIENCE = "\nYour last 20 days: "


def reasons(prompt: str, temperament: Temperament | None = None) -> Counter[str]:
    answers = (answer_forecast(prompt, random.Random(seed), temperament or Temperament()) for seed in range(400))
    return Counter(" ".join(text.split(":")[1].split()[1:4]) for text in answers)


@pytest.mark.parametrize("split", sorted(WORDINGS))
def test_direction_of_every_text_is_correct(split):
    wording = WORDINGS[split]
    _, company, product = wording.company(3)
    for kind in ("news", "reports"):
        for direction, texts in getattr(wording, kind).items():
            for text in texts:
                assert direction_of(text.format(company=company, product=product), kind, split) == direction, text
    for texts in wording.recaps.values():
        assert {direction_of(text.format(company=company), "news", split) for text in texts} == {0}


def test_answers_to_news_and_reports():
    assert answer_news("News on ABC:\n1. ABC: margins are widening.\n2. ABC says the forecast is lowered.") == (
        "Items: positive, negative\nOverall: neutral"
    )
    report = f"{REPORT_HEADER}\n- The forecast for the year is raised. We thank our staff.\n- We thank our staff."
    assert answer_report(report) == "Summary: good signs 1, bad signs 0.\nOutlook: positive"
    # Passages overlap, so a repeated sentence counts once.
    sentence = "Margins are shrinking and debt is rising."
    twice = f"{REPORT_HEADER}\n- A. {sentence}\n- {sentence} B."
    assert "bad signs 1." in answer_report(twice)


def test_reasons_are_sampled_by_weight():
    found = reasons(PROMPT)
    assert found["follow the trend"] / 400 == pytest.approx(0.375, abs=0.07)
    assert found["follow the news"] / 400 == pytest.approx(0.375, abs=0.07)
    assert found["expect a return"] / 400 == pytest.approx(0.25, abs=0.07)


def test_each_reason_determines_the_trend():
    only = {"trend": Temperament(1, 0, 0), "news": Temperament(0, 1, 0), "contrary": Temperament(0, 0, 1)}
    answers = {name: answer_forecast(PROMPT, random.Random(0), temperament) for name, temperament in only.items()}
    assert answers["trend"] == "Thought: I follow the trend: down.\nForecast: up 20 down 60 side 20\nTrend: down"
    assert answers["news"] == "Thought: I follow the news: up.\nForecast: up 60 down 20 side 20\nTrend: up"
    assert answers["contrary"].endswith("Trend: up")
    silent = PROMPT.replace("positive", "none")
    assert answer_forecast(silent, random.Random(0), only["news"]).endswith("side 40\nTrend: side")


def test_experience_changes_the_weight_of_news():
    good = (
        PROMPT
        + f"{EXPERIENCE}5 right, 1 wrong.\nRight: up on positive news 5 (+2.0 %)\nWrong: up on no news 1 (-1.0 %)"
    )
    bad = PROMPT + "\nYour last 20 days: 0 right, 5 wrong.\nRight: none\nWrong: up on positive news 5 (-2.0 %)"
    assert reasons(good)["follow the news"] > reasons(PROMPT)["follow the news"] > reasons(bad)["follow the news"]


def test_answers_on_style_and_decision():
    without_noise, rng = Temperament(random_rate=0.0), random.Random(0)
    assert answer_style("Account in 10 days: +2.0 %, gaining", rng, without_noise).endswith("Style: aggressive")
    assert answer_style("Account in 10 days: -2.0 %, losing", rng, without_noise).endswith("Style: conservative")
    experience = f"{EXPERIENCE}1 right, 3 wrong.\nRight: aggressive 1 (+1.0 %)\nWrong: aggressive 3 (-1.0 %)"
    gaining_but_wrong = f"Account in 10 days: +2.0 %, gaining{experience}"
    assert answer_style(gaining_but_wrong, rng, without_noise).endswith("Style: balanced")
    assert answer_decision("Today's forecast: up 60 down 20 side 20, trend up", rng, without_noise).endswith(
        "Decision: buy"
    )
    gated = "Today's forecast: up 60 down 20 side 20, trend up, but side after the gate"
    assert answer_decision(gated, rng, without_noise).endswith("Decision: hold")


def test_answers_can_be_parsed_and_are_deterministic():
    model = TradingExpert()
    prompts = {"news": "News on ABC:\n1. Nothing.", "report": "From the last report of ABC:\n- Nothing."}
    for role in ROLES:
        for seed in range(5):
            chat = role_chat(role, prompts.get(role, PROMPT))
            completion = asyncio.run(model.complete(chat, Sampling(seed=seed, max_tokens=1000)))
            assert answer_of(role, completion.text) is not None
            assert asyncio.run(model.complete(chat, Sampling(seed=seed, max_tokens=1000))) == completion


def test_simulated_news_has_both_directions():
    market = simulate(SimulatorConfig(), 0)
    directions = Counter(direction_of(item.text, "news") for item in market.items if item.kind == "news")
    assert min(directions[1], directions[-1]) > 100
