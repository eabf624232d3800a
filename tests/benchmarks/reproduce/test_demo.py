"""What the demo says: the steps, the costs and the conclusion; and what becomes of it when it is interrupted."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from comparisons import Seeds
from kintsugi.benchmarks.reproduce.core import run_in
from kintsugi.benchmarks.reproduce.demo import Demo, conclude
from kintsugi.benchmarks.reproduce.re_rest import MODELS, ReproduceReReST
from kintsugi.benchmarks.reproduce.seed_results import SeedResult
from kintsugi.benchmarks.scripts import interruption
from kintsugi.loops.learning.core import FitConfig
from kintsugi.loops.measuring.evaluation import Comparison
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.statistics import mcnemar_power
from kintsugi.loops.re_rest import ReReST
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console

DEMO = Demo(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=ReReST(Practice(tasks=24), Attempts(k=1, temperature=0.7, at_once=8), FitConfig(epochs=1.0), Gate("off")),
    held_out=Measure(splits=("valid_seen",), tasks=6, at_once=3),
)

RESULT = SeedResult(
    seed=0,
    task_sets={"valid_unseen": "abc"},
    outcomes={"base": {"valid_unseen": "0" * 12}, "re-rest": {"valid_unseen": "1" * 9 + "0" * 3}},
    examples={},
    updates={},
    counts={},
)


def comparison(difference: float, p: float) -> Comparison:
    """Return a comparison of the base model with Re-ReST."""
    return Comparison(
        a="base", b="re-rest", taskset="abc", n=200, dropped=0, rate_a=0.5, rate_b=0.5 + difference,
        difference=difference, low=-0.1, high=0.3, level=0.95, only_a=10, only_b=20, p=p, test="exact McNemar",
    )  # fmt: skip


def test_a_run_that_shows_an_improvement_says_so():
    said = conclude([comparison(0.12, 0.0001)], [])
    assert said == (
        "Re-ReST solves 62.0 % of 200 tasks that no model was trained on, the base model 50.0 %: +12.0 points, "
        "p = 0.0001. This run shows an improvement."
    )


def test_a_run_that_shows_none_tells_what_others_showed():
    other = replace(RESULT, outcomes={**RESULT.outcomes, "re-rest": {"valid_unseen": "1" * 3 + "0" * 9}})
    said = conclude([comparison(0.05, 0.13)], [RESULT, other])
    assert "p = 0.130. This run alone does not show an improvement. Of 2 recorded runs, each with its own seed, 1 showed one" in said
    assert said.endswith("the difference was +50.0 points on average, from +25.0 to +75.0.")
    assert "does not show" in conclude([comparison(-0.12, 0.0001)], [])


def test_nothing_is_said_without_the_pair():
    assert conclude([replace(comparison(0.1, 0.1), a="self-training")], [RESULT]) == ""
    assert Demo().conclusion([]) == ""


# -- A whole run ------------------------------------------------------------------------------------------------------


@dataclass
class InterruptedSeeds(Seeds):
    """A `SeedRun` whose runs are interrupted, as by Ctrl-C, when a number of reports of progress have been made."""

    after: int = 10**9
    reports: int = 0

    def __call__(self, recipe: SeedRecipe, store: RunStore) -> Run:
        run, show = super().__call__(recipe, store), store.on_status

        def on_status(stage: str, share: float) -> None:
            show(stage, share)
            self.reports += 1
            if self.reports == self.after:
                raise KeyboardInterrupt

        store.on_status = on_status
        for what in ("corpus", "training"):
            on_status(f"seed policy {recipe.seed}: {what}", 0.0)
            on_status(f"seed policy {recipe.seed}: {what}", 1.0)
        return run


def played(folder: Path, seeds: Seeds) -> list[str]:
    """Run the small demo, and return its lines."""
    console = Console(file=io.StringIO(), width=200)
    run_in(folder, DEMO, console, seeds)
    assert isinstance(console.file, io.StringIO)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]


def records(folder: Path) -> Any:
    """Return everything that a run holds, except times."""
    with RunStore.read(folder) as store:
        attempts = {stage: [t.to_json() for t in store.trajectories(stage)] for stage in store.trajectory_stages()}
        results = {stage: value for stage, value in store.results().items() if stage.kind != "timing"}
    scores = {stage: {**value, "seconds": None} if stage.kind == "score" else value for stage, value in results.items()}
    files = {path.relative_to(folder): path.read_bytes() for path in folder.glob("adapters/**/*") if path.is_file()}
    return attempts, scores, files


def steps_said(lines: Sequence[str]) -> list[str]:
    return [found[1] for line in lines if (found := re.match(r"0:\d\d  step (\d+ of \d+): [a-z]", line))]


def test_every_step_is_said_in_its_order_and_the_end_has_the_costs_and_the_conclusion(tmp_path):
    lines = played(tmp_path / "run", InterruptedSeeds())
    assert steps_said(lines) == [f"{number} of 12" for number in range(1, 13)]
    assert "measuring base on 6 held-out tasks: what it solves before it learns from its own attempts;" in lines[2]
    assert re.fullmatch(r"this took \d+ s, and \d+ CPU seconds on all cores together", lines[-3])
    assert lines[-2] == f"report: {tmp_path / 'run/report/index.html'}"
    assert lines[-1].startswith("Re-ReST solves ")


def test_finished_steps_are_not_said_again(tmp_path):
    played(tmp_path / "run", Seeds())
    assert steps_said(played(tmp_path / "run", Seeds())) == ["12 of 12"]


def stages_of_a_run(folder: Path, config: ReproduceReReST) -> set[str]:
    seen: dict[str, None] = {}

    @dataclass
    class Listening(Seeds):
        def __call__(self, recipe: SeedRecipe, store: RunStore) -> Run:
            store.on_status = lambda stage, share: seen.setdefault(stage)
            return super().__call__(recipe, store)

    run_in(folder, config, Console(quiet=True), Listening())
    return set(seen)


def test_every_stage_of_the_comparison_belongs_to_one_step(tmp_path):
    config = ReproduceReReST(
        DEMO.recipe, DEMO.env, held_out=replace(DEMO.held_out, splits=("valid_seen", "valid_unseen")), seeds=2,
        loop=DEMO.loop, models=MODELS,
    )  # fmt: skip
    steps = [step for seed in range(2) for step in config.steps(seed)]
    assert len({step.stage for step in steps}) == len(steps)
    stages = stages_of_a_run(tmp_path / "run", config)
    for stage in stages:
        assert sum(stage.startswith(step.stage) for step in steps) == 1, stage
    unused = [step.stage for step in steps if not any(stage.startswith(step.stage) for stage in stages)]
    assert all(stage.startswith("seed policy ") for stage in unused)


def test_an_interrupted_demo_says_what_is_kept_and_ends_like_an_uninterrupted_one(tmp_path):
    counter = InterruptedSeeds()
    played(tmp_path / "whole", counter)
    expected, folder, said, seeds = records(tmp_path / "whole"), tmp_path / "run", set[str](), InterruptedSeeds()
    # Each call is interrupted a little later than the one before: at the start of stages, between waves, in training.
    for after in range(2, counter.reports, 5):
        seeds = InterruptedSeeds(after=after)
        try:
            played(folder, seeds)
        except KeyboardInterrupt as interrupt:
            line, code = interruption(interrupt)
            assert code == 130
            assert line.startswith("interrupted; step")
            assert line.endswith("; repeat the command to go on")
            said.add(line)
            assert not list(folder.glob("**/*.unfinished"))
            with RunStore.read(folder) as store:
                attempts = sum(len(store.trajectories(stage)) for stage in store.trajectory_stages())
            assert f"; {folder} keeps {attempts or 'no'} attempt" in line
    assert len(said) > 5
    played(folder, InterruptedSeeds())
    assert records(folder) == expected


def test_processes_are_ended_after_an_interruption(tmp_path):
    closed = list[bool]()

    class Player:
        def play(self, *arguments: object, **options: object) -> Any:
            raise KeyboardInterrupt

        def close(self) -> None:
            closed.append(True)

    def make(recipe: SeedRecipe, store: RunStore) -> Run:
        return replace(Seeds()(recipe, store), player=Player())

    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "run", DEMO, Console(quiet=True), make)
    assert closed == [True]


def test_there_are_enough_held_out_tasks_to_show_five_points():
    held_out = Demo().held_out
    assert mcnemar_power(held_out.tasks * len(held_out.splits), 0.05, 0.22) >= 0.8
