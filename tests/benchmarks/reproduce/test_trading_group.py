"""The comparison of desks on short windows: test windows, resuming, and printed tables."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from command_line import refused
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_run
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.experts.trading_rules import RULES
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.benchmarks.reproduce.trading_group import (
    COMPARISONS,
    CONTROL,
    DESKS,
    ENV,
    TRAINED,
    HeldOutWindows,
    ReproduceTradingGroup,
)
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import FitConfig, LoraShape
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import SeedRecipe
from kintsugi.loops.seeds.registry import recipe_of
from kintsugi.loops.trading_group import SynthesisConfig
from rich.console import Console

CONFIG = ReproduceTradingGroup(
    loop=SynthesisConfig(
        Practice(tasks=4, params={"bars": "8"}),
        Attempts(k=1, max_tokens=110),
        FitConfig(lora=LoraShape(rank=2), epochs=1.0),
        Gate("off"),
        keep=0.5,
    ),
    desk=DeskConfig(max_tokens=110, labels=LabelConfig(horizon=2)),
    held_out=HeldOutWindows(params={"bars": "4"}, stocks=2),
    seeds=2,
)


@dataclass
class Analysts:
    """A stand-in for `SeedRun`: the expert acts and training is only recorded. Keeps its runs."""

    runs: list[Run] = field(default_factory=list)

    def __call__(self, recipe: SeedRecipe, store: RunStore) -> Run:
        self.runs.append(scripted_run(store, "trading", TradingExpert().script))
        return self.runs[-1]


def printed(folder: Path, config: ReproduceTradingGroup, *make: Analysts) -> str:
    text = io.StringIO()
    config.run(folder, Console(file=text, width=200), *make)
    return text.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A finished comparison: its folder, its output, and the stand-in for the seed policy."""
    folder, analysts = tmp_path_factory.mktemp("reproduce") / "run", Analysts()
    return folder, printed(folder, CONFIG, analysts), analysts


def test_all_agents_are_tested_and_compared(made):
    folder, text, _ = made
    for name in (*(rule.name for rule in RULES), *DESKS, TRAINED, CONTROL):
        assert name in text
    for a, b in COMPARISONS:
        assert f"- {a}" in text
        assert b in text
    assert '"beta":0.2' in text
    with RunStore.read(folder) as store:
        results = store.results()
        counts = [found for stage, found in results.items() if (stage.kind, stage.scope) == ("counts", "seed0")]
        assert [each["windows"] for each in counts] == [4]
        differences = results_of(store, "difference")
        assert set(differences) == {f"{b} - {a}" for a, b in COMPARISONS}
        assert len(differences[f"{TRAINED} - full"]["by_seed"]) == 2
        assert store.config["command"] == "reproduce trading-group"


def test_all_agents_are_tested_on_the_same_windows(made):
    folder, _, _ = made
    windows = [task for seed in (0, 1) for task in CONFIG.held_out.task_set(seed)]
    assert len(set(windows)) == 4
    with RunStore.read(folder) as store:
        for name in (*(rule.name for rule in RULES), *DESKS):
            assert [t.task for t in store.trajectories(Stage("eval", name, "valid_unseen"))] == windows
        for name in (TRAINED, CONTROL):
            stages = [Stage("eval", name, "valid_unseen", scope=f"seed{seed}") for seed in (0, 1)]
            assert [t.task for stage in stages for t in store.trajectories(stage)] == windows
        desks = {name: store.trajectories(Stage("eval", name, "valid_unseen"))[0].agent for name in DESKS}
        assert len(set(desks.values())) == len(DESKS)


def test_control_trains_on_as_many_calls_of_each_role(made):
    folder, _, analysts = made
    [run] = analysts.runs
    fitted = learner_of(run).fitted
    assert set(fitted) == {"trading_group@1", "control@1"}
    chosen, control = (
        sorted(example.messages[0].content for example in fitted[name]) for name in ("trading_group@1", "control@1")
    )
    assert chosen == control != []
    with RunStore.read(folder) as store:
        first, second = (attempts_at(store, f"collect/seed{seed}/desk@1/train") for seed in (0, 1))
    assert not {t.task for t in first} & {t.task for t in second}


def test_finished_comparison_is_resumed_with_the_same_tables(made):
    folder, first, _ = made
    again = Analysts()
    table = first[first.index("Backtests") :]
    assert printed(folder, CONFIG, again).endswith(table)
    [run] = again.runs
    assert (backend_of(run).opened, learner_of(run).fitted) == ([], {})


def test_without_the_control(tmp_path):
    text = printed(tmp_path / "run", replace(CONFIG, seeds=1, controls=False), Analysts())
    assert TRAINED in text
    assert CONTROL not in text


def test_other_desk_settings_are_refused_on_resume(made):
    with pytest.raises(UsageError, match=r"desk\.style: true -> false"):
        printed(made[0], replace(CONFIG, desk=replace(CONFIG.desk, style=False)), Analysts())


def test_a_seed_policy_is_trained_by_default(tmp_path, monkeypatch):
    """The tiny seed policy gives no parsable answers, so there is nothing to train on."""
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "cache"))
    tiny = replace(
        recipe_of("trading"),
        demonstrations=2,
        architecture=Architecture(16, 1, 2, 1, 32, 512),
        pretrain=PretrainConfig(tokens=6000, batch_tokens=1000, warmup=2),
    )
    brief = replace(CONFIG.loop, practice=Practice(tasks=1, params={"bars": "4"}), attempts=Attempts(1, max_tokens=4))
    desk = replace(CONFIG.desk, max_tokens=4)
    with pytest.raises(UsageError, match="nothing to train 'trading_group@1' on"):
        printed(tmp_path / "run", replace(CONFIG, recipe=tiny, seeds=1, loop=brief, desk=desk))
    assert [path.name.partition("-")[0] for path in (tmp_path / "cache/seeds").iterdir() if path.is_dir()] == [
        "trading"
    ]
    with RunStore.read(tmp_path / "run") as store:
        assert len(store.trajectories(Stage("eval", "full", "valid_unseen"))) == 2


def test_held_out_windows_have_other_markets_than_practice():
    config = SynthesisConfig()
    practice, held_out = config.windows(ENV, LabelConfig()), HeldOutWindows().task_set(0)
    assert {task.split for task in practice} == {"train"}
    assert {task.split for task in held_out} == {"valid_unseen"}
    assert not {t.params["market"] for t in practice} & {t.params["market"] for t in held_out}


def test_invalid_windows_are_refused_before_anything_is_created(tmp_path, capsys):
    command = ("reproduce", "trading-group", "--run", tmp_path / "run")
    assert "tasks is 0; expected at least 1" in refused(capsys, *command, "--loop.practice.tasks", "0")
    assert "assets is 2; expected 1" in refused(capsys, *command, "--loop.practice.params", "assets=2")
    assert "tasks is 0" in refused(capsys, *command, "--held-out.stocks", "0")
    assert not (tmp_path / "run").exists()
