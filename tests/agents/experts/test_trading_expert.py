"""The analyst of the seed's corpus: reads without error, gives its reasons in proportion, and leans on experience."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from kintsugi.agents.experts.trading import (
    Temper,
    TradingExpert,
    answer_decision,
    answer_forecast,
    answer_news,
    answer_report,
    answer_style,
    direction_of,
)
from kintsugi.agents.models import Sampling
from kintsugi.agents.trading_group.desk import question
from kintsugi.agents.trading_group.roles import ROLES, answer_of
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.envs.trading.wording import WORDINGS

PROMPT = (
    "The next 5 days of ABC.\nRSI-14: 50, middle\nSMA-20: 4.0 % below\nVolatility: 1.0 %\n"
    "Last day: +0.1 %, no breakout\nNews today: positive\nNews before: positive\nReport: neutral"
)

ASKED = "From the last report of ABC:"
TOLD = "\nYour last 20 days: "


def reasons(prompt: str, temper: Temper | None = None) -> Counter[str]:
    said = (answer_forecast(prompt, random.Random(seed), temper or Temper()) for seed in range(400))
    return Counter(" ".join(text.split(":")[1].split()[1:4]) for text in said)


@pytest.mark.parametrize("split", sorted(WORDINGS))
def test_every_text_of_a_split_is_read_as_it_is_meant(split):
    wording = WORDINGS[split]
    _, company, product = wording.company(3)
    for kind in ("news", "reports"):
        for direction, texts in getattr(wording, kind).items():
            for text in texts:
                assert direction_of(text.format(company=company, product=product), kind, split) == direction, text
    for texts in wording.recaps.values():
        assert {direction_of(text.format(company=company), "news", split) for text in texts} == {0}


def test_news_and_reports():
    assert answer_news("News on ABC:\n1. ABC: margins are widening.\n2. ABC says the forecast is lowered.") == (
        "Items: positive, negative\nOverall: neutral"
    )
    report = f"{ASKED}\n- The forecast for the year is raised. We thank our staff.\n- We thank our staff."
    assert answer_report(report) == "Summary: good signs 1, bad signs 0.\nOutlook: positive"
    # Passages overlap; a sentence that is shown twice counts once.
    twice = f"{ASKED}\n- A. Margins are shrinking and debt is rising.\n- Margins are shrinking and debt is rising. B."
    assert "bad signs 1." in answer_report(twice)


def test_reasons_come_in_their_proportions():
    found = reasons(PROMPT)
    assert found["follow the trend"] / 400 == pytest.approx(0.375, abs=0.07)
    assert found["follow the news"] / 400 == pytest.approx(0.375, abs=0.07)
    assert found["expect a return"] / 400 == pytest.approx(0.25, abs=0.07)


def test_each_reason_points_where_it_says():
    only = {"trend": Temper(1, 0, 0), "news": Temper(0, 1, 0), "contrary": Temper(0, 0, 1)}
    said = {name: answer_forecast(PROMPT, random.Random(0), temper) for name, temper in only.items()}
    assert said["trend"] == "Thought: I follow the trend: down.\nForecast: up 20 down 60 side 20\nTrend: down"
    assert said["news"] == "Thought: I follow the news: up.\nForecast: up 60 down 20 side 20\nTrend: up"
    assert said["contrary"].endswith("Trend: up")
    silent = PROMPT.replace("positive", "none")
    assert answer_forecast(silent, random.Random(0), only["news"]).endswith("side 40\nTrend: side")


def test_experience_makes_it_lean():
    good = PROMPT + f"{TOLD}5 right, 1 wrong.\nRight: up on positive news 5 (+2.0 %)\nWrong: up on no news 1 (-1.0 %)"
    bad = PROMPT + "\nYour last 20 days: 0 right, 5 wrong.\nRight: none\nWrong: up on positive news 5 (-2.0 %)"
    assert reasons(good)["follow the news"] > reasons(PROMPT)["follow the news"] > reasons(bad)["follow the news"]


def test_style_and_decision():
    sure, rng = Temper(whim=0.0), random.Random(0)
    assert answer_style("Account in 10 days: +2.0 %, gaining", rng, sure).endswith("Style: aggressive")
    assert answer_style("Account in 10 days: -2.0 %, losing", rng, sure).endswith("Style: conservative")
    told = f"{TOLD}1 right, 3 wrong.\nRight: aggressive 1 (+1.0 %)\nWrong: aggressive 3 (-1.0 %)"
    burnt = f"Account in 10 days: +2.0 %, gaining{told}"
    assert answer_style(burnt, rng, sure).endswith("Style: balanced")
    assert answer_decision("Today's forecast: up 60 down 20 side 20, trend up", rng, sure).endswith("Decision: buy")
    gated = "Today's forecast: up 60 down 20 side 20, trend up, but side after the gate"
    assert answer_decision(gated, rng, sure).endswith("Decision: hold")


def test_it_is_a_model_whose_answers_can_be_read():
    model = TradingExpert()
    prompts = {"news": "News on ABC:\n1. Nothing.", "report": "From the last report of ABC:\n- Nothing."}
    for role in ROLES:
        for seed in range(5):
            asked = question(role, prompts.get(role, PROMPT))
            said = asyncio.run(model.complete(asked, Sampling(seed=seed, max_tokens=1000)))
            assert answer_of(role, said.text) is not None
            assert asyncio.run(model.complete(asked, Sampling(seed=seed, max_tokens=1000))) == said


def test_it_reads_what_the_simulator_writes():
    market = simulate(SimulatorConfig(), 0)
    said = Counter(direction_of(item.text, "news") for item in market.items if item.kind == "news")
    assert min(said[1], said[-1]) > 100
