"""The whole comparison, very small: what is compared, what each model is trained on, and that it can be continued."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kintsugi.benchmarks.reproduce import core as module
from kintsugi.benchmarks.reproduce.core import comparisons, reproduce
from kintsugi.benchmarks.reproduce.core.re_rest import PAIRS, ReproduceReReST, counts_of
from kintsugi.cli import main as cli
from kintsugi.loops.learning import practice as practice_module
from kintsugi.loops.learning.learner import Example, FitConfig, fit
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.re_rest import Mended, ReReST
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from kintsugi.loops.seeds.recipe import demonstrations_of
from rich.console import Console
from small_runs import make_task, make_trajectory

PRACTICE = Practice(env="doors", tasks=12, k=1, temperature=0.7, fit=FitConfig(epochs=1))
CONFIG = ReproduceReReST(
    recipe=SeedRecipe(family="doors"),
    loop=ReReST(PRACTICE),
    held_out=Measure(env="doors", splits=("valid_seen", "valid_unseen"), tasks=6),
    seeds=2,
)
MODELS = ["base", "self-training", "demonstrations", "samples", "re-rest zero-shot", "re-rest"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, doors_seed: Path, doors_site: Path):
    """A finished comparison: its folder, attempts, what was trained on, which seeds were asked for, what was said."""
    folder = tmp_path_factory.mktemp("reproduce") / "run"
    trained: dict[str, list[Example]] = {}
    recipes: list[SeedRecipe] = []
    lines: list[str] = []

    def noted(base: Path, examples: list[Example], config: FitConfig, out: Path, *, name: str, **more: Any) -> object:
        trained[f"{len(recipes) - 1}/{name}"] = examples
        return fit(base, examples, config, out, name=name, **more)

    def seed_of(recipe: SeedRecipe) -> Path:
        recipes.append(recipe)
        return doors_seed

    with pytest.MonkeyPatch.context() as patch, RunStore.open(folder, {}) as store:
        patch.syspath_prepend(str(doors_site))
        patch.setattr(practice_module, "fit", noted)
        attempts = reproduce(store, CONFIG, seed_of, lines.append)
    return folder, attempts, trained, recipes, lines


def test_every_model_is_measured_on_the_same_tasks_for_every_seed(made):
    _, attempts, _, _, lines = made
    assert list(attempts) == MODELS
    tasks = {split: [t.task for t in attempts["base"][split]] for split in ("valid_seen", "valid_unseen")}
    for splits in attempts.values():
        assert {split: [t.task for t in found] for split, found in splits.items()} == tasks
        assert all(len(found) == 12 for found in splits.values())
    assert sum(line.startswith("measuring") for line in lines) == 2 * len(MODELS)


def test_seeds_differ_in_the_seed_policy_and_in_the_practice(made):
    folder, _, _, recipes, _ = made
    assert [(r.seed, r.pretrain.seed, r.family) for r in recipes] == [(0, 0, "doors"), (1, 1, "doors")]
    with RunStore.read(folder) as store:
        first, second = (store.trajectories(f"collect/seed{i}/policy") for i in range(2))
    assert not {t.seed for t in first} & {t.seed for t in second}
    assert len(first) == len(second) == 12


def test_each_model_is_trained_on_what_its_name_says(made, doors_seed):
    folder, _, trained, _, _ = made
    demonstrations = len(demonstrations_of(doors_seed))
    with RunStore.read(folder) as store:
        for seed in range(2):
            stages = {
                s.rpartition("/")[2]: store.trajectories(s)
                for s in store.trajectory_stages()
                if f"seed{seed}" in s and "collect" in s
            }
            policy, zero, again, extra = (
                [t for t in stages.get(stage, []) if t.success]
                for stage in ("policy", "reflection", "reflection_trained", "samples")
            )
            passed = {
                "self-training": policy,
                "samples": policy + extra,
                "re-rest_zero-shot": policy + zero,
                "re-rest": policy + zero + again,
            }
            for name, own in passed.items():
                wanted = len(PRACTICE.examples(own))
                assert len(trained[f"{seed}/{name}@1"]) == wanted + min(demonstrations, wanted)
            alone = trained[f"{seed}/demonstrations@1"]
            assert all("I try" in e.messages[-1].content for e in alone)
            assert len(alone) <= len(trained[f"{seed}/re-rest@1"])


def test_the_control_samples_cost_what_the_reflections_cost(made):
    folder, _, _, _, _ = made
    with RunStore.read(folder) as store:
        for seed in range(2):
            stages = {
                s.rpartition("/")[2]: store.trajectories(s)
                for s in store.trajectory_stages()
                if f"collect/seed{seed}" in s
            }
            reflections = stages["reflection"] + stages.get("reflection_trained", [])
            assert Counter(t.task.id for t in stages["samples"]) == Counter(t.task.id for t in reflections)
            assert len({t.key for t in stages["samples"] + stages["policy"]}) == len(stages["samples"]) + 12
            assert all(t.source == "policy" and t.reflection is None for t in stages["samples"])


def test_what_was_done_is_not_done_again(made, doors_seed, doors_world, monkeypatch):
    folder, attempts, _, _, _ = made
    monkeypatch.setattr(practice_module, "fit", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("kintsugi.agents.rollout.play", lambda *_: pytest.fail("played again"))
    with RunStore.open(folder, {}) as store:
        assert reproduce(store, CONFIG, lambda _: doors_seed, lambda _: None) == attempts


def test_the_planned_comparisons_pool_splits_and_seeds(made):
    _, attempts, _, _, _ = made
    [tasks] = CONFIG.pools().values()
    found = comparisons(attempts, PAIRS, tasks)
    assert [(c.a, c.b) for c in found] == list(PAIRS)
    for comparison in found:
        assert comparison.n == 2 * 2 * 6
        pooled = [t for split in attempts[comparison.b].values() for t in split]
        assert comparison.rate_b == sum(t.success for t in pooled) / len(pooled)
    few = {name: attempts[name] for name in ("base", "re-rest")}
    assert [(c.a, c.b) for c in comparisons(few, PAIRS, tasks)] == [("base", "re-rest")]


def test_counts():
    win, loss = (make_trajectory(make_task(0), success) for success in (True, False))
    assert counts_of(Mended([win], [win, loss, loss], [loss, win])) == {
        "passed": 1,
        "failed": 3,
        "mended_zero_shot": 1,
        "reflections_trained": 2,
        "mended_trained": 1,
    }


def test_tables_and_report_without_controls(doors_seed, doors_world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "seed_model", lambda recipe, progress: doors_seed)
    config = replace(CONFIG, seeds=1, controls=False, held_out=replace(CONFIG.held_out, splits=("valid_seen",)))
    outputs = []
    for _ in range(2):
        console = Console(record=True, width=110, force_terminal=False)
        module.run_in(tmp_path / "run", config, console)
        outputs.append(console.export_text())
    for expected in (
        "base",
        "self-training",
        "re-rest",
        "Paired on the same tasks",
        "failures the zero-shot reflector",
        "report/index.html",
    ):
        assert expected in outputs[0]
    assert "samples" not in outputs[0]
    assert (tmp_path / "run/report/index.html").exists()
    tables = [[line for line in text.splitlines() if "%" in line or "TaskSet" in line] for text in outputs]
    assert tables[0] == tables[1]
    with RunStore.read(tmp_path / "run") as store:
        compared = [name for name in store.results() if name.startswith("comparison/")]
        assert len(compared) == 3
        assert compared[0] == "comparison/Paired on the same tasks/self-training - base"


def test_bad_tasks_are_said_before_anything_is_made(doors_world, tmp_path, capsys):
    flags = ("--loop.practice.env", "dors", "--run", str(tmp_path / "run"))
    assert cli.main(["reproduce", "re-rest", *flags]) == 2
    assert "unknown environment 'dors'; did you mean 'doors'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
