"""Data synthesis: labels use only realised outcomes; the best calls are selected, exported and trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_desks import ANSWERS, market_of, run_desk, scripted, trading_env
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_gate, scripted_run
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.models import ScriptedBackend
from kintsugi.agents.models.local import LocalBackend, LocalModel
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.roles import ROLES
from kintsugi.agents.trajectory import AgentSpec, Call
from kintsugi.envs import EnvSpec
from kintsugi.envs.trading import Rules
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.recipe import seed_model
from kintsugi.loops.seeds.registry import recipe_of
from kintsugi.loops.trading_group import (
    ROWS,
    LabelledCall,
    SynthesisConfig,
    collect_windows,
    label_calls,
    realised_series,
    require_desk,
    select_best,
    trading_group,
)

LABELS = LabelConfig(horizon=2, alpha=1.0)
BOLD = DeskConfig(max_tokens=1000, risk_management=False, labels=LABELS)
MOVES = [0.0, 0.0, 0.10, 0.10, -0.20, 0.05]


TEXTS = {0: [("report", "The forecast is raised.")], 1: [("news", "Orders went up.")]}
MARKET, RULES = market_of(MOVES, TEXTS), Rules(commission=0.01, spread=0, lot=0)


@pytest.fixture(scope="module")
def window():
    """The desk buys at once. The order is filled at the close of bar 1, since all prices of a bar are equal."""
    return run_desk(MARKET, scripted(), BOLD, RULES)


@pytest.fixture(scope="module")
def realised(window):
    return realised_series(window, trading_env(MARKET, RULES))


def test_labels_of_a_window_match_hand_computed_values(window, realised):
    rows = list(label_calls(window, LABELS, realised))
    hits = {row.day: row for row in rows if row.call.role == "forecast"}
    # Returns two days after closes 1 and 2 are +21 % and -12 %; forecasts of closes 4 and 5 have no outcome.
    assert sorted(hits) == [0, 1, 2, 3]
    assert hits[1].realised == pytest.approx(0.21)
    # Absolute returns up to close 1: eighteen of 1 % and two of 0.
    assert hits[1].value == pytest.approx(0.6 * math.tanh(0.21 / 0.009), rel=1e-3)
    assert hits[2].realised == pytest.approx(1.1 * 0.8 - 1)
    assert hits[2].value == 0.0
    rewards = {row.day: row for row in rows if row.call.role == "decision"}
    assert sorted(rewards) == [0, 1, 2, 3, 4]
    # The whole account is invested on day 0: equity falls by the commission, and the reward subtracts it once more.
    commission = 100_000 / 1.01 * 0.01
    assert rewards[0].value == pytest.approx(-2 * commission / 100_000)
    assert rewards[1].value == pytest.approx(0.10 - 0.2 * 0.10)
    assert rewards[3].value == pytest.approx(-0.20 + 0.2 * 0.20)


def test_upstream_roles_get_the_labels_of_downstream_roles(window, realised):
    rows = list(label_calls(window, LABELS, realised))
    by_call = {(row.day, row.call.role): row for row in rows}
    assert by_call[1, "news"].value == by_call[1, "forecast"].value
    assert by_call[0, "report"].value == by_call[0, "forecast"].value
    assert by_call[1, "style"].value == by_call[1, "decision"].value
    assert (by_call[1, "news"].label, by_call[1, "style"].label) == ("w_hit", "reward")


def test_labels_use_only_outcomes_realised_so_far(window, realised):
    """A prefix of the window gives exactly the labels of the whole window whose outcomes lie in the prefix."""
    whole = list(label_calls(window, LABELS, realised))
    for close in range(len(realised.returns)):
        cut = replace(
            realised,
            returns=realised.returns[: close + 1],
            equity=realised.equity[: close + 1],
            commission=realised.commission[: close + 1],
        )
        by_then = [row for row in whole if row.day + (2 if row.label == "w_hit" else 1) <= close]
        assert list(label_calls(window, LABELS, cut)) == by_then


def test_replay_gives_the_recorded_returns(window, realised):
    gains = [after / before - 1 for before, after in zip(realised.equity, realised.equity[1:], strict=False)]
    assert gains == pytest.approx([step.reward for step in window.steps], abs=1e-15)
    assert realised.returns == pytest.approx([0.0, *MOVES[1:]])
    assert sum(realised.commission) == pytest.approx(100_000 / 1.01 * 0.01)


def rows_of(values: list[float], answers: list[str], role: str = "decision") -> list[LabelledCall]:
    call = Call(role, "?", "!", (1,), (0.0,))
    pairs = enumerate(zip(values, answers, strict=True))
    return [
        LabelledCall("t", 0, day, call, answer, "reward", value, 0.0, 1.0, "hold") for day, (value, answer) in pairs
    ]


def test_select_best_keeps_the_highest_labels():
    rows = rows_of([0.5, 0.1, 0.4, 0.3], ["buy"] * 4)
    config = SynthesisConfig(keep=0.5)
    assert [row.value for row in select_best(rows, config)] == [0.5, 0.4]
    assert select_best(rows_of([-0.1, -0.2], ["buy"] * 2), config) == []
    assert select_best(rows_of([0.9, 0.9], ["unread"] * 2), config) == []
    assert select_best([], config) == []


def test_selection_within_answers_preserves_their_shares():
    rows = rows_of([0.9, 0.8, 0.7, 0.6, 0.02, 0.01], ["buy"] * 4 + ["sell"] * 2)
    assert [row.value for row in select_best(rows, SynthesisConfig(keep=0.5))] == [0.9, 0.8, 0.02]
    pooled = SynthesisConfig(keep=0.5, within_answers=False)
    assert [row.value for row in select_best(rows, pooled)] == [0.9, 0.8, 0.7]


def test_roles_are_ranked_separately():
    rows = [*rows_of([0.9, 0.8], ["buy"] * 2), *rows_of([0.2, 0.1], ["bold"] * 2, "style")]
    assert [row.value for row in select_best(rows, SynthesisConfig(keep=0.5))] == [0.9, 0.2]


ENV = EnvSpec("trading")


def practice_windows(horizon: int = 5, **changes):
    return replace(SynthesisConfig(), **changes).windows(ENV, LabelConfig(horizon=horizon))


def test_windows_are_disjoint_and_labels_do_not_reach_into_tests(tmp_path):
    simulated = practice_windows(practice=Practice(tasks=20))
    assert len({task.params["market"] for task in simulated}) == 20
    prices = tmp_path / "prices.csv"
    days = [f"2020-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 28)]
    lines = [f"{day},A,{p},{p},{p},{p},1000" for day, p in zip(days, range(100, 1000), strict=False)]
    prices.write_text("\n".join(["date,symbol,open,high,low,close,volume", *lines]) + "\n")
    params = {"source": "file", "path": str(prices), "bars": "30", "folds": "2", "purge": "5"}
    windows = practice_windows(practice=Practice(tasks=3, params=params))
    bars = [set(range(task.params["first"], task.params["first"] + task.params["bars"])) for task in windows]
    assert len(windows) > 1
    assert sum(map(len, bars)) == len(set().union(*bars))
    with pytest.raises(UsageError, match="purge is 4 and the label horizon is 5 days"):
        practice_windows(practice=Practice(tasks=3, params={**params, "purge": "4"}))
    with pytest.raises(UsageError, match="assets is 2; expected 1"):
        practice_windows(practice=Practice(tasks=3, params={"assets": "2"}))


@pytest.fixture(scope="module")
def trading_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny seed policy after very little training."""
    tiny = replace(
        recipe_of("trading"),
        demonstrations=2,
        architecture=Architecture(16, 1, 2, 1, 32, 512),
        pretrain=PretrainConfig(tokens=6000, batch_tokens=1000, warmup=2),
    )
    return seed_model(tiny, cache=tmp_path_factory.mktemp("cache"))


def small(**changes: object) -> SynthesisConfig:
    config = SynthesisConfig(
        Practice(tasks=6, params={"bars": "8"}),
        Attempts(k=1, max_tokens=1000),
        FitConfig(lora=LoraShape(rank=2), epochs=1.0, batch_tokens=4000),
        Gate("off"),
    )
    return replace(config, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


DESK = AgentSpec("trading-group", {"labels.horizon": 2})


def desk_run(store: RunStore, script=None) -> Run:
    """Return a run in which a script acts, by default the analyst, so that some calls have good labels."""
    return replace(scripted_run(store, "trading", script or TradingExpert().script), agent=DESK)


def test_pipeline_from_windows_to_an_adapter(store):
    run = desk_run(store)
    adapter = trading_group(run, small())
    assert adapter == store.folder / "adapters" / "trading_group@1"
    again = desk_run(store)
    assert trading_group(again, small()) == adapter
    assert (backend_of(again).opened, learner_of(again).fitted) == ([], {})
    counts = results_of(store, "counts")["trading_group@1"]
    assert counts["days"] == 6 * 7
    assert counts["labelled"]["decision"] == 42
    assert counts["labelled"]["forecast"] == 6 * 6
    assert set(counts["unread"].values()) == {0.0}
    lines = [json.loads(line) for line in (store.folder / "rows" / ROWS).read_text().split("\n") if line]
    assert len(lines) == sum(counts["labelled"].values())
    assert sum(line["kept"] for line in lines) == sum(counts["kept"].values()) > 0
    assert {line["agent"] for line in lines} <= set(ROLES)
    assert [m["role"] for m in lines[0]["messages"]] == ["system", "user", "assistant"]
    kept = [[(m["role"], m["content"]) for m in line["messages"]] for line in lines if line["kept"]]
    trained_on = [[(m.role, m.content) for m in e.messages] for e in learner_of(run).fitted["trading_group@1"]]
    assert trained_on == kept


def test_gate_compares_returns_on_other_windows(store):
    """The default is 25 windows. Equal desks tie, and a tie is not adopted."""
    assert SynthesisConfig().gate == Gate("on", tasks=25)
    run = desk_run(store)
    gate = Gate("on", tasks=3)
    assert trading_group(run, small(gate=gate)) is None
    verdict = results_of(store, "verdict")["trading_group@1"]
    assert verdict["gain"]["metric"] == "return"
    assert (verdict["gain"]["n"], verdict["adopted"]) == (3, verdict["gain"]["mean"] > 0)
    gates = [stage for stage in store.trajectory_stages() if stage.kind == "gate"]
    assert [(stage.model_round, stage.tasks) for stage in gates] == [("base", "valid"), ("trading_group@1", "valid")]
    trained = {t.task.params["market"] for t in attempts_at(store, "collect/desk@1/train")}
    gated = {t.task.params["market"] for stage in gates for t in store.trajectories(stage)}
    assert not trained & gated


def test_adapter_that_fails_the_gate_is_not_adopted(store):
    assert trading_group(desk_run(store), small(gate=scripted_gate(False))) is None
    assert (store.folder / "adapters" / "trading_group@1").exists()


def test_no_trainable_calls_raises(store):
    mute = scripted(**dict.fromkeys(ANSWERS, "?"))
    with pytest.raises(UsageError, match="nothing to train"):
        trading_group(desk_run(store, mute.script), small())


def test_agent_that_is_not_a_desk_is_refused(store):
    with pytest.raises(UsageError, match="the agent is 'react.*expected a trading desk"):
        trading_group(replace(desk_run(store), agent=AgentSpec("react")), small())


def test_real_model_trains_on_the_analysts_calls(store, trading_seed):
    """A script acts and the seed policy trains: backend and learner are independent."""
    run = Run(store, ScriptedBackend(TradingExpert().script), LocalLearner(trading_seed), ENV, DESK)
    adapter = trading_group(run, small())
    assert adapter is not None
    assert LocalModel.load(trading_seed, adapter).version.startswith(LocalModel.load(trading_seed).version)


def test_seed_policy_plays_windows(store, trading_seed):
    run = Run(store, LocalBackend(trading_seed), LocalLearner(trading_seed), ENV, DESK)
    config = small(practice=Practice(tasks=2, params={"bars": "8"}), attempts=Attempts(k=1, max_tokens=24))
    desk = require_desk(run.make_agent(None, config.attempts))
    windows = collect_windows(run, desk, config)
    assert collect_windows(run, desk, config) == windows
    assert [len(window.steps) for window in windows] == [7, 7]
    calls = [call for window in windows for step in window.steps for call in step.calls]
    assert all(len(call.token_ids) == len(call.logprobs) > 0 for call in calls)
    assert windows[0].prompt_tokens > 0
