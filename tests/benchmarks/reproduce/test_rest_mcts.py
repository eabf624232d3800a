"""ReST-MCTS*'s comparison at a very small size: equal budgets, training data, resuming and the tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused
from comparisons import Seeds
from fakes import attempts_at, learner_of
from kintsugi.agents.search import MctsStar, Uct
from kintsugi.agents.trajectory import Call, Trajectory
from kintsugi.benchmarks.reproduce.core import run_in
from kintsugi.benchmarks.reproduce.over_seeds import STUDIES, play
from kintsugi.benchmarks.reproduce.rest_mcts import ReproduceReSTMCTS, model_calls, sample
from kintsugi.benchmarks.reproduce.seed_results import read_results
from kintsugi.benchmarks.reproduce.seed_tables import render_tables
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.learning.core import FitConfig, ValueExample
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.rest_mcts import ReSTMCTS
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console

CONFIG = ReproduceReSTMCTS(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=ReSTMCTS(
        Practice(tasks=10),
        Attempts(k=1, temperature=1.0, at_once=8),
        FitConfig(epochs=1.0, lr=1e-4),
        Gate("off"),
        data=TrainingData(replay=0.5),
        first_search=Uct(candidates=2, iterations=2),
        search=MctsStar(candidates=2, iterations=3),
        traces=1,
        min_value=0.0,
    ),
    held_out=Measure(splits=("valid_unseen",), tasks=8, temperature=0.5),
    seeds=2,
)
MODELS = ["base", "rest-mcts 1", "rest-em 1", "rest-mcts 2", "rest-em 2", "rest-em 1 few", "demonstrations"]


def printed(folder: Path, config: ReproduceReSTMCTS, seeds: Seeds) -> str:
    console = Console(record=True, width=160, force_terminal=False)
    run_in(folder, config, console, seeds)
    return console.export_text()


def counts(folder: Path) -> dict[str, dict[str, int]]:
    """Return the counts of all rounds by `<seed> <model>@<round>`."""
    with RunStore.read(folder) as store:
        found = store.results().items()
        return {f"{stage.scope} {stage.model_round}": each for stage, each in found if stage.kind == "counts"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A finished comparison: its folder, the printed text and the stand-ins of the seed policies."""
    folder, seeds = tmp_path_factory.mktemp("reproduce") / "run", Seeds()
    return folder, printed(folder, CONFIG, seeds), seeds


def test_every_model_is_measured_on_the_same_tasks(made):
    folder, _, _ = made
    with RunStore.read(folder) as store:
        for seed in range(2):
            attempts = [attempts_at(store, f"eval/seed{seed}/{name}/valid_unseen") for name in MODELS]
            assert len(attempts[0]) == 8
            assert all([t.task for t in each] == [t.task for t in attempts[0]] for each in attempts)


def test_a_round_of_samples_makes_as_many_model_calls_as_the_search_of_the_same_round(made):
    folder, _, _ = made
    found = counts(folder)
    with RunStore.read(folder) as store:
        for seed in ("seed0", "seed1"):
            first, searched = found[f"{seed} rest_mcts_first"], [found[f"{seed} rest_mcts@{i}"] for i in (1, 2)]
            budgets = [first["model_calls"] + searched[0]["model_calls"], searched[1]["model_calls"]]
            for i, budget in enumerate(budgets, 1):
                sampled = found[f"{seed} rest_em@{i}"]
                assert sampled["budget"] == budget > 0
                # An episode has at most two turns, so the last attempt exceeds the budget by at most one call.
                assert budget <= sampled["model_calls"] <= budget + 1
                stored = attempts_at(store, f"collect/{seed}/rest_em@{i}/train")
                assert 0 <= len(stored) - sampled["attempts"] < 8
                assert len(stored) % 8 == 0
                assert [t.sample for t in stored] == [number // 10 for number in range(len(stored))]


def test_both_train_on_what_they_found_and_the_control_is_updated_as_often(made):
    folder, _, seeds = made
    found = counts(folder)
    with RunStore.read(folder) as store:
        for seed in range(2):
            for i in (1, 2):
                sampled = found[f"seed{seed} rest_em@{i}"]
                passed = [t for t in attempts_at(store, f"collect/seed{seed}/rest_em@{i}/train") if t.success]
                assert 0 < sampled["traces"] <= len(passed)
                assert len(seeds.trained[f"{seed}/rest_em@{i}"]) == sampled["examples"]
                assert sampled["solved"] <= sampled["tasks"] == 10
            few = found[f"seed{seed} rest_em_few@1"]
            assert few["attempts"] == found[f"seed{seed} rest_em@1"]["attempts"]
            assert 0 < few["traces"] == few["solved"]
            assert few["traces"] < found[f"seed{seed} rest_em@1"]["traces"]
            assert len(seeds.trained[f"{seed}/rest_em_few@1"]) == few["examples"]
            alone = seeds.trained[f"{seed}/demonstrations"]
            steps = learner_of(seeds.runs[seed]).configs["demonstrations"].steps
            assert steps == found[f"seed{seed} rest_mcts@2"]["examples"]
            assert all("I try" in example.messages[-1].content for example in alone)
            values = [seeds.trained[f"{seed}/value@{i}"] for i in (0, 1)]
            assert all(isinstance(example, ValueExample) for each in values for example in each)
            assert len(values[0]) < len(values[1])


def test_tables_name_the_comparisons_and_the_budget_of_each_round(made):
    folder, output, _ = made
    for expected in ("Paired on the same tasks", "rest-em 2", "rest-mcts 2", "demonstrations", "report/index.html"):
        assert expected in output
    table = output.partition("Search and sampling at an equal number of model calls")[2].splitlines()
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in table if line.strip().startswith("seed")}
    found = counts(folder)
    assert rows.keys() == found.keys()
    for name, cells in rows.items():
        assert cells[-2] == f"{found[name]['model_calls']:,}"
        assert f"{found[name]['solved']}/10" in cells
    assert "gate verdicts" not in output
    assert (folder / "report/trees.html").exists()


def test_finished_work_is_not_repeated(made):
    folder, output, first = made
    assert len(first.trained) == 2 * (2 + 2 + 2 + 1 + 1)
    again = Seeds()
    tables = [
        [line for line in text.splitlines() if "%" in line or ("seed" in line and "/10" in line)]
        for text in (output, printed(folder, CONFIG, again))
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) > len(MODELS)
    assert (len(again.runs), again.trained, again.asked) == (2, {}, [])


def test_an_interrupted_round_of_samples_ends_with_the_same_attempts(tmp_path):
    """The second run finds only the first wave and plays the others."""
    stage, found = Stage("collect", "rest_em", "train", 1), list[list[Trajectory]]()
    for name, kept in (("whole", 0), ("interrupted", 8)):
        with RunStore.open(tmp_path / name, {}) as store:
            store.add(stage, found[0][:kept] if found else [])
            found.append(sample(Seeds()(CONFIG.recipe, store), None, CONFIG.loop, 1, 40))
    assert [t.key for t in found[0]] == [t.key for t in found[1]]
    assert [t.steps for t in found[0]] == [t.steps for t in found[1]]
    assert 40 <= sum(map(model_calls, found[0])) <= 41


def test_a_wave_without_a_turn_is_an_infrastructure_failure(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = Seeds("broken_envs:DoorsNeverBegin")(CONFIG.recipe, store)
        with pytest.raises(InfraError, match="ended all 8 attempts of a wave in stage 'collect/rest_em@1/train'"):
            sample(run, None, CONFIG.loop, 1, 40)


def test_verdicts_are_printed_where_rounds_are_gated(tmp_path):
    loop = replace(CONFIG.loop, gate=Gate(tasks=6, split="valid_seen"))
    output = printed(tmp_path / "run", replace(CONFIG, loop=loop, seeds=1), Seeds())
    verdicts = [line.split()[1] for line in output.splitlines() if "adopted" in line and "seed0" in line]
    assert verdicts == ["rest_mcts@1", "rest_em@1", "rest_mcts@2", "rest_em@2"]


def test_the_study_writes_one_result_per_seed(tmp_path):
    play("rest-mcts", CONFIG, [0, 1], tmp_path / "runs", tmp_path / "results", Console(quiet=True), Seeds())
    results = read_results(tmp_path / "results")
    assert [sorted(found.outcomes) for found in results] == [sorted(MODELS)] * 2
    assert all(found.counts["counts/rest_em@1/train"]["budget"] > 0 for found in results)
    text = render_tables(results, CONFIG.pairs)
    assert "rest-mcts 2 - rest-em 2" in text
    assert "| over seeds |" in text
    assert isinstance(STUDIES["rest-mcts"](), ReproduceReSTMCTS)
    assert STUDIES["rest-mcts"]().seeds == 3


def test_calls_of_a_turn_with_several_model_calls_are_counted(made):
    with RunStore.read(made[0]) as store:
        attempt = attempts_at(store, "collect/seed0/rest_em@1/train")[0]
    assert model_calls(attempt) == len(attempt.steps)
    calls = tuple(Call("actor", "", "", (1,), (0.0,)) for _ in range(3))
    assert model_calls(replace(attempt, steps=(replace(attempt.steps[0], calls=calls),))) == 3


def test_settings_that_cannot_work_are_refused_before_the_run(made, tmp_path, capsys):
    flags = ("reproduce", "rest-mcts", "--run", tmp_path / "run")
    for wrong, message in (
        (("--loop.attempts.temperature", "0"), "temperature is 0, so all attempts of ReST-EM at a task would be equal"),
        (("--loop.rounds", "0"), "rounds is 0; expected at least 1"),
        (("--loop.traces", "0"), "traces is 0; expected at least 1"),
        (("--loop.min-value", "1.5"), "min_value is 1.5; expected a value in [0, 1]"),
        (("--env", "hosehold"), "unknown environment 'hosehold'; did you mean 'household'?"),
        (("--gate", "on", "--loop.gate.split", "valid_unseen"), "the gate's split 'valid_unseen' is also scored"),
        (("--gate", "on", "--loop.gate.split", "train", "--loop.gate.seed", "0"), "gate would reward memorisation"),
    ):
        assert message in refused(capsys, *flags, *wrong)
        assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"loop\.traces: 1 -> 3"):
        printed(made[0], replace(CONFIG, loop=replace(CONFIG.loop, traces=3)), Seeds())
