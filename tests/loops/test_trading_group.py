"""Data synthesis: labels of what was realised and nothing else, the best kept, exported and trained on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from desks import ANSWERS, market_of, scripted, trade_in
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.roles import ROLES
from kintsugi.agents.trajectory import Call
from kintsugi.envs.trading import Rules
from kintsugi.errors import UsageError
from kintsugi.loops.learning.learner import FitConfig, LoraShape
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds import recipe as recipes
from kintsugi.loops.seeds.family import recipe_of
from kintsugi.loops.seeds.pretrain import Architecture, PretrainConfig
from kintsugi.loops.trading_group import ROWS, Row, SynthesisConfig, annotate, realised_in, select, trade, trading_group

LABELS = LabelConfig(horizon=2, alpha=1.0)
BOLD = DeskConfig(max_tokens=1000, risk_management=False, labels=LABELS)
MOVES = [0.0, 0.0, 0.10, 0.10, -0.20, 0.05]


@pytest.fixture
def window(monkeypatch):
    """Bought at once; a market order is filled at the close of bar 1, for want of other prices."""
    texts = {0: [("report", "The forecast is raised.")], 1: [("news", "Orders went up.")]}
    return trade_in(market_of(MOVES, texts), scripted(), monkeypatch, BOLD, Rules(commission=0.01, spread=0, lot=0))


def test_the_labels_of_a_window_by_hand(window):
    rows = list(annotate(window, LABELS))
    hits = {row.day: row for row in rows if row.call.role == "forecast"}
    # Closes 1 and 2 say what comes after two days: +21 % and -12 %; closes 4 and 5 are never judged.
    assert sorted(hits) == [0, 1, 2, 3]
    assert hits[1].realised == pytest.approx(0.21)
    # Before close 1: eighteen days of 1 % and two of 0.
    assert hits[1].value == pytest.approx(0.6 * math.tanh(0.21 / 0.009), rel=1e-3)
    assert hits[2].realised == pytest.approx(1.1 * 0.8 - 1)
    assert hits[2].value == 0.0
    rewards = {row.day: row for row in rows if row.call.role == "decision"}
    assert sorted(rewards) == [0, 1, 2, 3, 4]
    # The whole account is bought on day 0: E falls by the commission, which the reward takes off again.
    paid = 100_000 / 1.01 * 0.01
    assert rewards[0].value == pytest.approx(-2 * paid / 100_000)
    assert rewards[1].value == pytest.approx(0.10 - 0.2 * 0.10)
    assert rewards[3].value == pytest.approx(-0.20 + 0.2 * 0.20)


def test_upstream_agents_are_judged_by_what_was_made_of_their_words(window):
    rows = list(annotate(window, LABELS))
    by = {(row.day, row.call.role): row for row in rows}
    assert by[1, "news"].value == by[1, "forecast"].value
    assert by[0, "report"].value == by[0, "forecast"].value
    assert by[1, "style"].value == by[1, "decision"].value
    assert (by[1, "news"].label, by[1, "style"].label) == ("w_hit", "reward")


def test_labels_know_only_what_was_realised_by_then(window):
    """Cut off after any close, all labels are those of the whole window that could be given by then."""
    whole, past = list(annotate(window, LABELS)), realised_in(window)
    for close in range(len(past.moves)):
        cut = replace(past, moves=past.moves[: close + 1], equity=past.equity[: close + 1], paid=past.paid[: close + 1])
        by_then = [row for row in whole if row.day + (2 if row.label == "w_hit" else 1) <= close]
        assert list(annotate(window, LABELS, cut)) == by_then


def test_replaying_gives_what_was_seen(window):
    past = realised_in(window)
    gains = [after / before - 1 for before, after in zip(past.equity, past.equity[1:], strict=False)]
    assert gains == pytest.approx([step.reward for step in window.steps], abs=1e-15)
    assert past.moves == pytest.approx([0.0, *MOVES[1:]])
    assert sum(past.paid) == pytest.approx(100_000 / 1.01 * 0.01)


def rows_of(values: list[float], answers: list[str], role: str = "decision") -> list[Row]:
    call = Call(role, "?", "!", (1,), (0.0,))
    pairs = enumerate(zip(values, answers, strict=True))
    return [Row("t", 0, day, call, answer, "reward", value, 0.0, 1.0, "hold") for day, (value, answer) in pairs]


def test_the_best_are_kept():
    rows = rows_of([0.5, 0.1, 0.4, 0.3], ["buy"] * 4)
    config = SynthesisConfig(keep=0.5)
    assert [row.value for row in select(rows, config)] == [0.5, 0.4]
    assert select(rows_of([-0.1, -0.2], ["buy"] * 2), config) == []
    assert select(rows_of([0.9, 0.9], ["unread"] * 2), config) == []
    assert select([], config) == []


def test_within_answers_their_shares_stay():
    rows = rows_of([0.9, 0.8, 0.7, 0.6, 0.02, 0.01], ["buy"] * 4 + ["sell"] * 2)
    assert [row.value for row in select(rows, SynthesisConfig(keep=0.5))] == [0.9, 0.8, 0.02]
    pooled = SynthesisConfig(keep=0.5, within_answers=False)
    assert [row.value for row in select(rows, pooled)] == [0.9, 0.8, 0.7]


def test_roles_are_ranked_apart():
    rows = [*rows_of([0.9, 0.8], ["buy"] * 2), *rows_of([0.2, 0.1], ["bold"] * 2, "style")]
    assert [row.value for row in select(rows, SynthesisConfig(keep=0.5))] == [0.9, 0.2]


def test_windows_share_no_bar_and_labels_stay_out_of_the_tests(tmp_path):
    simulated = SynthesisConfig(tasks=20).task_set()
    assert len({task.params["market"] for task in simulated}) == 20
    prices = tmp_path / "prices.csv"
    days = [f"2020-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 28)]
    lines = [f"{day},A,{p},{p},{p},{p},1000" for day, p in zip(days, range(100, 1000), strict=False)]
    prices.write_text("\n".join(["date,symbol,open,high,low,close,volume", *lines]) + "\n")
    params = {"source": "file", "path": str(prices), "bars": "30", "folds": "2", "purge": "5"}
    windows = SynthesisConfig(env_params=params, tasks=3).task_set()
    bars = [set(range(task.params["first"], task.params["first"] + task.params["bars"])) for task in windows]
    assert len(windows) > 1
    assert sum(map(len, bars)) == len(set().union(*bars))
    with pytest.raises(UsageError, match="purge is 4 and the horizon of labels 5 days"):
        SynthesisConfig(env_params={**params, "purge": "4"}, tasks=3).task_set()


@pytest.fixture(scope="module")
def trading_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seed policy that has seen a day or two."""
    tiny = replace(
        recipe_of("trading"),
        demonstrations=2,
        architecture=Architecture(16, 1, 2, 1, 32, 512),
        pretrain=PretrainConfig(tokens=6000, batch_tokens=1000, warmup=2),
    )
    return recipes.seed_model(tiny, cache=tmp_path_factory.mktemp("cache"))


def small(**changes: object) -> SynthesisConfig:
    fit = FitConfig(lora=LoraShape(rank=2), epochs=1.0, batch_tokens=4000)
    desk = DeskConfig(temperature=1.0, max_tokens=24, labels=LabelConfig(horizon=2))
    return replace(SynthesisConfig(env_params={"bars": "8"}, tasks=2, k=1, desk=desk, fit=fit), **changes)


def test_the_pipeline_from_days_to_an_adapter(tmp_path, trading_seed, monkeypatch):
    """The analyst lives the days, so that there is something to keep; the seed learns it."""
    with RunStore.open(tmp_path / "run", {}) as store:
        desk = DeskConfig(temperature=1.0, max_tokens=1000, labels=LabelConfig(horizon=2))
        config = small(tasks=6, desk=desk)
        monkeypatch.setattr(LocalModel, "load", lambda *_, **__: TradingExpert())
        adapter = trading_group(store, trading_seed, config)
        again = trading_group(store, trading_seed, config)
        counts = store.results()["trading_group/counts"]
    monkeypatch.undo()
    assert again == adapter
    assert counts["days"] == 6 * 7
    assert counts["labelled"]["decision"] == 42
    assert counts["labelled"]["forecast"] == 6 * 6
    assert set(counts["unread"].values()) == {0.0}
    lines = [json.loads(line) for line in (tmp_path / "run" / "rows" / ROWS).read_text().split("\n") if line]
    assert len(lines) == sum(counts["labelled"].values())
    assert sum(line["kept"] for line in lines) == sum(counts["kept"].values()) > 0
    assert {line["agent"] for line in lines} <= set(ROLES)
    assert [m["role"] for m in lines[0]["messages"]] == ["system", "user", "assistant"]
    assert LocalModel.load(trading_seed, adapter).version.startswith(LocalModel.load(trading_seed).version)


def test_the_seed_itself_lives_through_days(tmp_path, trading_seed):
    with RunStore.open(tmp_path / "run", {}) as store:
        config = small()
        model = LocalModel.load(trading_seed)
        windows = trade(store, "collect/desk", model, config.desk, config.task_set())
        assert trade(store, "collect/desk", model, config.desk, config.task_set()) == windows
    assert [len(window.steps) for window in windows] == [7, 7]
    calls = [call for window in windows for step in window.steps for call in step.calls]
    assert all(len(call.token_ids) == len(call.logprobs) > 0 for call in calls)
    assert windows[0].prompt_tokens > 0


def test_nothing_worth_learning_is_said(tmp_path, trading_seed, monkeypatch):
    mute = scripted(**dict.fromkeys(ANSWERS, "?"))
    monkeypatch.setattr(LocalModel, "load", lambda *_, **__: mute)
    with RunStore.open(tmp_path / "run", {}) as store, pytest.raises(UsageError, match="nothing to train"):
        trading_group(store, trading_seed, small())
