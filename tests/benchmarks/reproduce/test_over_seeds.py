"""Comparisons over many seeds: what is trained and measured, resuming, and the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from comparisons import AGENT_R, Seeds, without_the_role
from fakes import attempts_at
from kintsugi.benchmarks.reproduce.over_seeds import (
    SETTINGS,
    STUDIES,
    all_tables,
    environment_of,
    play,
    results_folder,
    seed_numbers,
)
from kintsugi.benchmarks.reproduce.re_rest import AGAIN, ReproduceReReST
from kintsugi.benchmarks.reproduce.seed_results import SeedResult, read_results, result_file, write_result
from kintsugi.benchmarks.reproduce.seed_tables import render_tables
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.learning.core import FitConfig
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.re_rest import ReReST
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console

CONFIG = ReproduceReReST(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=ReReST(Practice(tasks=24), Attempts(k=1, temperature=0.7), FitConfig(epochs=1.0), Gate("off")),
    held_out=Measure(splits=("valid_seen", "valid_unseen"), tasks=6),
    models=("base", "demonstrations", "re-rest"),
)
PAIRS = (("base", "re-rest"), ("demonstrations", "re-rest"))
RESULT = SeedResult(
    seed=0,
    task_sets={"valid": "abc"},
    outcomes={
        "base": {"valid": "00000000"},
        "demonstrations": {"valid": "10000000"},
        "re-rest": {"valid": "1111100-"},
    },
    examples={"re-rest": 4, "demonstrations": 4},
    updates={},
    counts={"passed": 3},
)

WRONG = json.dumps({**RESULT.__dict__, "tasks": {"valid": ["a"]}})
"""A result with one task and eight outcomes."""


def test_each_seed_is_played_once_and_trains_a_control_with_as_many_updates(tmp_path):
    seeds = Seeds()
    play("doors", CONFIG, [0, 1], tmp_path / "runs", tmp_path / "results", Console(quiet=True), seeds)
    assert [recipe.seed for recipe in seeds.recipes] == [0, 1]
    results = read_results(tmp_path / "results")
    assert [found.seed for found in results] == [0, 1]
    for number, found in enumerate(results):
        assert tuple(sorted(found.outcomes)) == tuple(sorted(CONFIG.models))
        assert all(len(word) == 6 for splits in found.outcomes.values() for word in splits.values())
        alone = seeds.trained[f"{number}/demonstrations@1"]
        assert found.updates["demonstrations"] == found.updates["re-rest"] > 0
        assert all("I try" in example.messages[-1].content for example in alone)
    assert results[0].task_sets == results[1].task_sets
    text = render_tables(results, CONFIG.pairs)
    assert "| mean |" in text
    assert "| over tasks, pooled |" in text

    again, console = Seeds(), Console(record=True, width=200)
    play("doors", CONFIG, [1, 2], tmp_path / "runs", tmp_path / "results", console, again)
    assert [recipe.seed for recipe in again.recipes] == [2]
    assert "seed 1 is finished" in console.export_text()

    result_file(tmp_path / "results", 1).unlink()
    third = Seeds()
    play("doors", CONFIG, [1], tmp_path / "runs", tmp_path / "results", Console(quiet=True), third)
    assert (third.trained, third.asked) == ({}, [])
    resumed = read_results(tmp_path / "results")[1]
    assert results[1].seconds is not None
    assert resumed == replace(results[1], seconds=None, cpu_seconds=None)


def test_the_table_has_each_seed_the_mean_the_spread_and_the_pooled_test():
    other = replace(RESULT, seed=1, outcomes={**RESULT.outcomes, "re-rest": {"valid": "11100000"}})
    lines = render_tables([RESULT, other], PAIRS).splitlines()
    assert lines[0] == (
        "| seed (valid, task set `abc`) | base | re-rest | demonstrations | re-rest - base | re-rest - demonstrations |"
    )
    assert lines[2] == "| 0 | 0.0 % | 71.4 % | 12.5 % | +71.4, p = 0.062 | +57.1, p = 0.125 |"
    assert lines[3] == "| 1 | 0.0 % | 37.5 % | 12.5 % | +37.5, p = 0.250 | +25.0, p = 0.500 |"
    assert lines[4] == "| mean | 0.0 % | 54.5 % | 12.5 % | +54.5 | +41.1 |"
    assert lines[5] == "| standard deviation, points | 0.0 | 24.0 | 0.0 | 24.0 | 22.7 |"
    assert lines[6] == "| range | 0.0…0.0 | 37.5…71.4 | 12.5…12.5 | +37.5…+71.4 | +25.0…+57.1 |"
    assert lines[7] == "| seeds with a gain, p < 0.05 |  |  |  | 0 of 2 | 0 of 2 |"
    assert lines[8].startswith("| over tasks, pooled |  |  |  | +53.3 (")
    assert lines[8].endswith("n = 15 |")
    # Both seeds gain. Of the four ways to flip two signs, two have a sum as large as this one.
    assert lines[9] == "| over seeds |  |  |  | +54.5 (-161.1…+270.0), p = 0.500 | +41.1 (-163.1…+245.3), p = 0.500 |"
    assert "standard deviation" not in render_tables([RESULT], PAIRS)


def test_files_are_read_back_and_other_tasks_are_refused(tmp_path):
    write_result(tmp_path, RESULT)
    write_result(tmp_path, replace(RESULT, seed=10))
    write_result(tmp_path, replace(RESULT, seed=2))
    assert [found.seed for found in read_results(tmp_path)] == [0, 2, 10]
    assert read_results(tmp_path)[0] == RESULT
    with pytest.raises(UsageError, match="seed 1 was measured with the tasks"):
        render_tables([RESULT, replace(RESULT, seed=1, task_sets={"valid": "xyz"})], PAIRS)
    with pytest.raises(UsageError, match="no finished seed"):
        render_tables([], PAIRS)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"seed": 1}', json.dumps({**RESULT.__dict__, "outcomes": {}}), WRONG]
)
def test_a_damaged_file_is_named_before_anything_is_played(tmp_path, text):
    result_file(tmp_path, 3).write_text(text)
    seeds = Seeds()
    with pytest.raises(UsageError, match=r"seed-3\.json is not the result of a seed"):
        play("doors", CONFIG, [0], tmp_path / "runs", tmp_path, Console(quiet=True), seeds)
    assert seeds.runs == []


def test_infrastructure_failures_are_no_failures():
    unknown = {name: {"valid": "--------"} for name in CONFIG.models}
    with pytest.raises(InfraError, match="ended all attempts"):
        render_tables([replace(RESULT, outcomes=unknown)], PAIRS)


def test_the_share_of_seeds_that_show_a_difference():
    words = ["1" * 10 + "0" * 2, "1" * 5 + "0" * 7, "0" * 12]
    results = [
        replace(RESULT, seed=n, outcomes={"base": {"valid": "0" * 12}, "re-rest": {"valid": w}})
        for n, w in enumerate(words)
    ]
    assert "| seeds with a gain, p < 0.05 |  |  | 1 of 3 |" in render_tables(results, PAIRS)


def test_models_must_be_the_same(tmp_path):
    other = replace(RESULT, seed=1, outcomes={"base": {"valid": "00000000"}})
    with pytest.raises(UsageError, match="seed 1 was measured with the models"):
        render_tables([RESULT, other], PAIRS)


@pytest.mark.parametrize("gate", [Gate(tasks=6, split="valid_seen"), Gate("off")])
def test_agent_r_has_recovery_and_the_gated_model_beside_the_raw_rounds(gate, tmp_path):
    """The adapters of seed 1 lose the role of the verifier, and are no better: without a gate, its round 2 stops."""
    loop = replace(AGENT_R.loop, verifier_role="paper", gate=gate, alpha=(1.0, 1.0))
    seeds = Seeds(adapters={"agent_r": without_the_role}, forgetful=[1])
    config = replace(AGENT_R, loop=loop, baselines=False)
    play("doors", config, [0, 1], tmp_path / "runs", tmp_path / "results", Console(quiet=True), seeds)
    results = read_results(tmp_path / "results")
    text = render_tables(results, config.pairs)
    gated = gate.mode == "on"
    names = {"base", "agent-r 1", "agent-r 2", *(["agent-r gated"] if gated else [])}
    assert set(results[0].outcomes) == names
    assert set(results[1].outcomes) == (names if gated else {"base", "agent-r 1"})
    for found in results:
        measured = {name: name for name in names}
        if gated:
            measured["agent-r gated"] = found.counts["counts/agent_r/-"]["adopted"].replace("agent_r@", "agent-r ")
        with RunStore.read(tmp_path / "runs" / f"seed-{found.seed}") as store:
            for name, sets in found.outcomes.items():
                for tasks, word in sets.items():
                    played = sorted(attempts_at(store, f"eval/{measured[name]}/{tasks}"), key=lambda t: t.task.id)
                    assert word == "".join("1" if t.success else "0" for t in played)
                    assert tasks not in found.tasks or found.tasks[tasks] == [t.task.id for t in played]
                assert list(found.tasks) == ["recovery"]
    # The beginnings are those of each seed's own base model.
    assert "| seed (recovery, tasks of each seed) |" in text
    assert ("| agent-r gated |" in text) == gated
    assert ("seed 1 has no agent-r 2: agent_r@2 stopped and is not trained" in text) != gated


def test_seeds_with_tasks_of_their_own_are_paired_by_task():
    base = {"recovery": "000"}
    one = replace(
        RESULT,
        task_sets={"recovery": "abc"},
        tasks={"recovery": ["a", "b", "c"]},
        outcomes={"base": base, "demonstrations": base, "re-rest": {"recovery": "110"}},
    )
    two = replace(
        one,
        seed=1,
        task_sets={"recovery": "xyz"},
        tasks={"recovery": ["b", "d"]},
        outcomes={"base": {"recovery": "00"}, "demonstrations": {"recovery": "00"}, "re-rest": {"recovery": "10"}},
    )
    lines = render_tables([one, two], PAIRS).splitlines()
    assert lines[0].startswith("| seed (recovery, tasks of each seed) |")
    # Tasks a and b gain, b twice: of the four ways to flip, two have a sum as large as this one.
    [pooled] = [line for line in lines if line.startswith("| over tasks, pooled |")]
    assert "+60.0 (" in pooled
    assert "p = 0.500, n = 5" in pooled
    with pytest.raises(UsageError, match="seed 1 was measured with the tasks"):
        render_tables([one, replace(two, tasks={})], PAIRS)


def test_a_model_that_a_seed_lacks_is_left_out_and_the_reason_is_printed():
    outcomes = {name: RESULT.outcomes[name] for name in ("base", "demonstrations")}
    lacking = replace(RESULT, seed=1, outcomes=outcomes, missing={"re-rest": "its round stopped"})
    whole, both = (render_tables(found, PAIRS).splitlines() for found in ([RESULT], [RESULT, lacking]))
    assert both[3] == "| 1 | 0.0 % |  | 12.5 % |  |  |"
    assert "| seeds with a gain, p < 0.05 |  |  |  | 0 of 1 | 0 of 1 |" in both
    assert [line for line in both if "pooled" in line] == [line for line in whole if "pooled" in line]
    assert both[-1] == "seed 1 has no re-rest: its round stopped"
    assert render_tables([lacking, RESULT], PAIRS).splitlines()[0] == both[0]
    with pytest.raises(UsageError, match="seed 1 was measured with the models"):
        render_tables([RESULT, replace(lacking, missing={})], PAIRS)


def test_seed_numbers():
    assert seed_numbers("0-3,7") == [0, 1, 2, 3, 7]
    assert seed_numbers("") == []
    with pytest.raises(ValueError, match="invalid literal"):
        seed_numbers("all")


@pytest.mark.parametrize("name", STUDIES)
def test_studies_have_valid_settings(name):
    STUDIES[name]().check()


def test_a_study_has_its_own_results_and_seed_policies_in_each_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path))
    first, second, third = map(environment_of, SETTINGS)
    assert len({each["KINTSUGI_CACHE"] for each in (first, second, third)}) == 3
    assert (first["OMP_NUM_THREADS"], second["OMP_NUM_THREADS"]) == ("1", "2")
    assert third["ATEN_CPU_CAPABILITY"] == "default"
    assert [results_folder(tmp_path, "demo", each).name for each in SETTINGS] == [
        "demo",
        "demo-threads-2",
        "demo-default-kernels",
    ]


def test_all_tables_compare_settings_and_draws(tmp_path):
    drawn = replace(
        RESULT, outcomes={**RESULT.outcomes, **{name: {"valid": "11110000"} for name in AGAIN}}, updates={}, seed=1
    )
    for setting, results in (("threads-1", [replace(drawn, seed=0), drawn]), ("threads-2", [drawn])):
        for each in results:
            write_result(results_folder(tmp_path, "doors", setting), each)
    text = all_tables(tmp_path, "doors", replace(CONFIG, models=tuple(drawn.outcomes)))
    assert "| seed (valid): base → re-rest | threads-1 | threads-2 |" in text
    assert "| seed policy | 0.0 |" in text
    assert text.count("| seed (valid, task set `abc`)") == 2


@pytest.mark.parametrize("setting", ["threads-1", "default-kernels"])
def test_a_setting_changes_the_arithmetic_of_a_process(setting, tmp_path):
    code = "import torch; print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment_of(setting), capture_output=True, text=True, check=True
    )
    threads, kernels = found.stdout.split()
    assert threads == "1"
    assert (kernels == "DEFAULT") == (setting == "default-kernels")
