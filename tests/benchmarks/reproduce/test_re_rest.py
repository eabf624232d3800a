"""Re-ReST's comparison at a very small size: comparisons, training data and resuming."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import refused
from comparisons import Seeds
from fakes import attempts_at
from kintsugi.agents.trajectory import Trajectory
from kintsugi.benchmarks.reproduce.core import comparisons, pooled, reproduce, run_in
from kintsugi.benchmarks.reproduce.re_rest import AGAIN, PAIRS, ReproduceReReST, counts_of
from kintsugi.loops.learning.core import FitConfig
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.re_rest import Mended, ReReST
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console
from small_runs import make_task, make_trajectory

LOOP = ReReST(Practice(tasks=24), Attempts(k=1, temperature=0.7), FitConfig(epochs=1.0), Gate("off"))
CONFIG = ReproduceReReST(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=LOOP,
    held_out=Measure(splits=("valid_seen", "valid_unseen"), tasks=6),
    seeds=2,
)
MODELS = ["base", "self-training", "samples", "re-rest zero-shot", "re-rest", "demonstrations"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A finished comparison: its folder, attempts, requested seeds and printed lines."""
    folder = tmp_path_factory.mktemp("reproduce") / "run"
    seeds, lines = Seeds(), list[str]()
    with RunStore.open(folder, {}) as store:
        attempts = pooled(reproduce(store, CONFIG, seeds, lines.append))
    return folder, attempts, seeds, lines


def collected(folder: Path, seed: int) -> dict[str, list[Trajectory]]:
    """Return the attempts of one seed by model."""
    with RunStore.read(folder) as store:
        stages = [s for s in store.trajectory_stages() if (s.kind, s.scope) == ("collect", f"seed{seed}")]
        return {stage.model: store.trajectories(stage) for stage in stages}


def test_every_model_is_measured_on_the_same_tasks_for_every_seed(made):
    _, attempts, _, lines = made
    assert list(attempts) == MODELS
    tasks = {split: [t.task for t in attempts["base"][split]] for split in ("valid_seen", "valid_unseen")}
    for splits in attempts.values():
        assert {split: [t.task for t in found] for split, found in splits.items()} == tasks
        assert all(len(found) == 12 for found in splits.values())
    assert sum(line.startswith("measuring") for line in lines) == 2 * len(MODELS)


def test_seeds_differ_in_the_seed_policy_and_in_the_practice(made):
    folder, _, seeds, _ = made
    assert [(r.seed, r.pretrain.seed, r.family) for r in seeds.recipes] == [(0, 0, "doors"), (1, 1, "doors")]
    with RunStore.read(folder) as store:
        first, second = (attempts_at(store, f"collect/seed{seed}/policy@1/train") for seed in range(2))
    assert not {t.seed for t in first} & {t.seed for t in second}
    assert len(first) == len(second) == 24


def test_each_model_is_trained_on_its_own_data(made):
    folder, _, seeds, _ = made
    for seed, run in enumerate(seeds.runs):
        stages = collected(folder, seed)
        policy, zero, again, extra = (
            [t for t in stages.get(stage, []) if t.success]
            for stage in ("policy", "reflection", "reflection_trained", "samples")
        )
        assert policy
        assert zero
        assert extra
        passed = {
            "self-training": policy,
            "samples": policy + extra,
            "re-rest_zero-shot": policy + zero,
            "re-rest": policy + zero + again,
        }
        agent = run.make_agent(None, LOOP.attempts)
        for name, own in passed.items():
            examples = LOOP.data.examples(agent, own)
            learnt = seeds.trained[f"{seed}/{name}@1"]
            assert learnt[: len(examples)] == examples
            assert len(learnt) == len(examples) + min(len(run.demonstrations), len(examples))
            assert all("I try" in e.messages[-1].content for e in learnt[len(examples) :])
        alone = seeds.trained[f"{seed}/demonstrations@1"]
        assert alone == LOOP.data.examples(agent, run.demonstrations) != []


def test_the_control_has_as_many_samples_as_reflections(made):
    folder, _, _, _ = made
    for seed in range(2):
        stages = collected(folder, seed)
        reflections = stages["reflection"] + stages.get("reflection_trained", [])
        assert Counter(t.task.id for t in stages["samples"]) == Counter(t.task.id for t in reflections)
        assert len({t.key for t in stages["samples"] + stages["policy"]}) == len(stages["samples"]) + 24
        assert all(t.source == "policy" and t.reflection is None for t in stages["samples"])


def test_finished_work_is_not_repeated(made):
    folder, attempts, first, _ = made
    # Each seed trains every model except the base, and a reflector.
    assert len(first.trained) == 2 * len(MODELS)
    assert set(first.asked) >= {"base", "reflector@1", "re-rest@1"}
    again = Seeds()
    with RunStore.open(folder, {}) as store:
        assert pooled(reproduce(store, CONFIG, again, lambda _: None)) == attempts
    assert (len(again.runs), again.trained, again.asked) == (2, {}, [])


def test_the_planned_comparisons_pool_splits_and_seeds(made):
    _, attempts, _, _ = made
    [tasks] = CONFIG.pools().values()
    found = comparisons([attempts], PAIRS, tasks)
    assert [(c.a, c.b) for c in found] == list(PAIRS)
    for comparison in found:
        assert comparison.n == 2 * 2 * 6
        own = [t for split in attempts[comparison.b].values() for t in split]
        assert comparison.rate_b == sum(t.success for t in own) / len(own)
    few = {name: attempts[name] for name in ("base", "re-rest")}
    assert [(c.a, c.b) for c in comparisons([few], PAIRS, tasks)] == [("base", "re-rest")]


def test_counts():
    win, loss = (make_trajectory(make_task(0), success) for success in (True, False))
    assert counts_of(Mended([win], [win, loss, loss], [loss, win])) == {
        "passed": 1,
        "failed": 3,
        "mended_zero_shot": 1,
        "reflections_trained": 2,
        "mended_trained": 1,
    }


def printed(folder: Path, config: ReproduceReReST, *make: Any) -> str:
    console = Console(record=True, width=110, force_terminal=False)
    run_in(folder, config, console, *make)
    return console.export_text()


def test_tables_and_report_without_controls(doors_world, tmp_path, monkeypatch):
    """Uses real seed policies, training and sampling."""
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "cache"))
    small = SeedRecipe(
        family="doors",
        demonstrations=80,
        reflections=60,
        architecture=Architecture(32, 2, 2, 1, 64, 256),
        pretrain=PretrainConfig(tokens=30_000, batch_tokens=512, warmup=10),
    )
    held_out = replace(CONFIG.held_out, splits=("valid_seen",))
    config = replace(
        CONFIG,
        recipe=small,
        env="doors",
        seeds=1,
        models=("base", "self-training", "re-rest"),
        held_out=held_out,
        parts=1,
    )
    outputs = [printed(tmp_path / "run", config) for _ in range(2)]
    for expected in (
        "base",
        "self-training",
        "re-rest",
        "Paired on the same tasks",
        "the zero-shot reflector mended",
        "report/index.html",
    ):
        assert expected in outputs[0]
    assert "samples" not in outputs[0]
    assert "gate" not in outputs[0]
    assert (tmp_path / "run/report/index.html").exists()
    tables = [[line for line in text.splitlines() if "%" in line or "TaskSet" in line] for text in outputs]
    assert tables[0] == tables[1]
    with RunStore.read(tmp_path / "run") as store:
        compared = [str(stage) for stage in store.results() if stage.kind == "comparison"]
        recorded = store.config
    assert len(compared) == 3
    assert compared[0] == "comparison/self-training - base/Paired on the same tasks"
    assert recorded["command"] == "reproduce re-rest"
    assert (recorded["env"], recorded["env_args"]["max_steps"]) == ("tiny/Doors-v0", 2)
    assert (recorded["loop"]["attempts"]["at_once"], recorded["held_out"]["max_tokens"]) == (128, 32)


def test_bad_settings_are_refused_before_any_work(tmp_path, capsys):
    command = ("reproduce", "re-rest", "--run", tmp_path / "run")
    assert "unknown environment 'hosehold'; did you mean 'household'" in refused(capsys, *command, "--env", "hosehold")
    assert "argument 'max_step' of environment 'household'; did you mean 'max_steps'" in refused(
        capsys, *command, "--env-args", "max_step=3"
    )
    assert "unknown model of this comparison 'samlpes'; did you mean 'samples'" in refused(
        capsys, *command, "--models", "base", "samlpes"
    )
    assert "expected 're-rest' beside 'demonstrations'" in refused(
        capsys, *command, "--models", "base", "demonstrations"
    )
    assert "tasks is 0; expected at least 1" in refused(capsys, *command, "--loop.practice.tasks", "0")
    assert "every model; expected 'off'; pass --gate off" in refused(capsys, *command, "--gate", "on")
    assert "the seed policy's family is 'household'" in refused(capsys, *command, "--env", "code")
    assert not (tmp_path / "run").exists()


def test_re_rest_is_drawn_again_with_the_same_and_with_other_attempts(tmp_path):
    config = replace(CONFIG, models=("base", "re-rest", *AGAIN), seeds=1)
    seeds = Seeds()
    with RunStore.open(tmp_path / "run", {}) as store:
        attempts = pooled(reproduce(store, config, seeds, lambda line: None))
    assert list(attempts) == ["base", "re-rest", *AGAIN]
    first, trained, sampled = (
        [example.messages[-1].content for example in seeds.trained[f"0/{name}@1"]]
        for name in ("re-rest", "re-rest_trained_again", "re-rest_sampled_again")
    )
    assert first == trained != sampled
    with RunStore.read(tmp_path / "run") as store:
        tasks = {
            stage.scope: {t.task for t in store.trajectories(stage)}
            for stage in store.trajectory_stages()
            if (stage.kind, stage.model) == ("collect", "policy")
        }
    assert set(tasks) == {"seed0", "seed0again"}
    assert tasks["seed0"] != tasks["seed0again"]
