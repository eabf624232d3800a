"""`kintsugi demo` and `kintsugi reproduce re-rest`: the paper's comparison, and the controls that it lacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..agents.trajectory import Trajectory
from ..loops.evaluation import Comparison, compare
from ..loops.re_rest import Mended, ReReST, collect_and_mend
from ..loops.seeds.recipe import SeedRecipe, demonstrations_of, seed_model
from ..loops.store import RunStore
from .measure import Measure, measure, score_of, where_time_went
from .progress import bar
from .report import write_report
from .tables import comparison_table, score_table

COMPARISONS = (
    ("base", "self-training"),
    ("self-training", "re-rest"),
    ("base", "re-rest"),
    ("demonstrations", "self-training"),
    ("samples", "re-rest"),
    ("re-rest zero-shot", "re-rest"),
)
"""Pairs that are printed with a test, where both were measured."""


@dataclass(frozen=True)
class ReproduceReReST:
    """The comparison of Re-ReST, self-training, the base and the controls, over several seeds."""

    recipe: SeedRecipe = field(default_factory=SeedRecipe)
    """Of the seed policy; each seed of the comparison makes its own."""
    loop: ReReST = field(default_factory=ReReST)
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_seen", "valid_unseen"), tasks=200))
    seeds: int = 3
    controls: bool = True
    """Also: as many extra samples as reflections, demonstrations alone, the zero-shot reflector alone."""


Attempts = dict[str, dict[str, list[Trajectory]]]
"""Model to split to held-out attempts, all seeds together."""


def reproduce(
    store: RunStore, config: ReproduceReReST, make_seed: Callable[[SeedRecipe], Path], say: Callable[[str], None]
) -> Attempts:
    """Run or continue the comparison in `store`; `say` gets a line at each step."""
    attempts: Attempts = {}
    for seed in range(config.seeds):
        say(f"seed {seed}: the seed policy")
        pretrain = replace(config.recipe.pretrain, seed=config.recipe.pretrain.seed + seed)
        base = make_seed(replace(config.recipe, seed=config.recipe.seed + seed, pretrain=pretrain))
        practice = replace(config.loop.practice, seed=config.loop.practice.seed + seed)
        loop = replace(config.loop, practice=practice)
        for name, splits in _one_seed(store.scoped(f"seed{seed}"), base, loop, config, say).items():
            for split, found in splits.items():
                attempts.setdefault(name, {}).setdefault(split, []).extend(found)
    return attempts


def _one_seed(
    store: RunStore, base: Path, loop: ReReST, config: ReproduceReReST, say: Callable[[str], None]
) -> Attempts:
    practice, demonstrations = loop.practice, demonstrations_of(base)
    attempts: Attempts = {}

    def evaluate(name: str, adapter: Path | None) -> None:
        say(f"measuring {name}")
        attempts[name] = measure(store, name, base, adapter, config.held_out)

    def trained(name: str, passed: list[Trajectory]) -> None:
        examples = practice.mixture(passed, demonstrations)
        say(f"training {name} on {len(examples)} examples")
        evaluate(name, practice.train(store, f"{name.replace(' ', '_')}@1", base, examples))

    evaluate("base", None)
    say("sampling, reflecting, reflecting again with a trained reflector")
    mended = collect_and_mend(store, base, None, loop)
    store.stage("mended/counts", lambda: counts_of(mended))
    trained("self-training", mended.passed)
    if config.controls:
        size = len(practice.mixture([*mended.passed, *mended.corrected], demonstrations))
        alone = replace(practice, replay=1.0).examples(demonstrations[:size])
        say(f"training demonstrations on {len(alone)} examples")
        evaluate("demonstrations", practice.train(store, "demonstrations@1", base, alone))
        trained("samples", [*mended.passed, *_extra_samples(store, base, loop, mended)])
        trained("re-rest zero-shot", [*mended.passed, *(t for t in mended.zero_shot if t.success)])
    trained("re-rest", [*mended.passed, *mended.corrected])
    return attempts


def _extra_samples(store: RunStore, base: Path, loop: ReReST, mended: Mended) -> list[Trajectory]:
    """One more plain attempt for every reflection, at the same task: what the reflector's budget buys without it."""
    from ..agents.models.local import LocalModel

    practice = loop.practice
    model = LocalModel.load(base, slots=practice.at_once)
    agent, drawn = practice.agent(model), dict[str, int]()
    jobs = []
    for reflected in [*mended.zero_shot, *mended.trained]:
        sample = practice.k + drawn.get(reflected.task.id, 0)
        drawn[reflected.task.id] = drawn.get(reflected.task.id, 0) + 1
        jobs.append(practice.job(reflected.task, agent, sample, "collect/samples"))
    return [t for t in store.collect("collect/samples", practice.make_env, jobs, at_once=practice.at_once) if t.success]


def counts_of(mended: Mended) -> dict[str, int]:
    """How many attempts passed, failed and were mended."""
    return {
        "passed": len(mended.passed),
        "failed": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
    }


def comparisons(attempts: Attempts) -> list[Comparison]:
    """The planned comparisons, on each split and on all splits together."""
    found = []
    for a, b in COMPARISONS:
        if a in attempts and b in attempts:
            pooled = [[t for split in attempts[name].values() for t in split] for name in (a, b)]
            found.append(compare(*pooled, names=(a, b)))
    return found


@dataclass(frozen=True)
class ReproduceConfig:
    """`kintsugi reproduce re-rest`."""

    what: Annotated[ReproduceReReST, tyro.conf.arg(name="")] = field(default_factory=ReproduceReReST)
    run: Path = Path("runs/reproduce-re-rest")
    """The run's folder; the same command again continues it."""


def run(config: ReproduceConfig, console: Console) -> None:
    """The command `kintsugi reproduce re-rest`."""
    run_in(config.run, config.what, console)


def run_in(folder: Path, config: ReproduceReReST, console: Console) -> None:
    """Run or continue the comparison in `folder`, print its tables and write its report."""
    start = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/dim]  {line}", highlight=False)

    config.loop.practice.task_set()
    for split in config.held_out.splits:
        config.held_out.task_set(split)
    with RunStore.open(folder, {"command": "reproduce re-rest", **asdict(config)}) as store:
        with bar(console) as store.watch:
            attempts = reproduce(store, config, lambda recipe: seed_model(recipe, progress=store.watch), say)
        found = comparisons(attempts)
        for number, comparison in enumerate(found):
            store.stage(f"comparison/{number}", comparison.to_json)
        time_went = where_time_went(store.results())
        mended = [result for name, result in store.results().items() if name.startswith("mended/")]
    for split in config.held_out.splits:
        tasks = config.held_out.task_set(split)
        console.print(
            score_table([score_of(name, tasks, a[split], config.held_out) for name, a in attempts.items()], split)
        )
    console.print(comparison_table(found))
    for counts in mended:
        console.print(
            f"of {counts['failed']} failures the zero-shot reflector mended {counts['mended_zero_shot']}, "
            f"the trained one {counts['mended_trained']} of the {counts['reflections_trained']} left"
        )
    console.print(time_went, highlight=False)
    say("report")
    console.print(str(write_report(folder, folder / "report")), soft_wrap=True, highlight=False)
