"""Re-ReST on code tasks over several seed policies, with a control.

`python -m kintsugi.benchmarks.reproduce.code_re_rest`. Each seed trains its own seed policy, runs Re-ReST from it, and
trains the control: as many examples for as many epochs, all of them demonstrations. All three models are measured on
the same held-out tasks. A finished seed is one JSON file and is not played again. An unfinished seed is resumed. The
table is built from the files alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from ...agents.models.weights import MANIFEST
from ...arguments import to_plain
from ...envs.core import TaskSet
from ...envs.registry import EnvSpec
from ...errors import InfraError, UsageError
from ...loops.measuring.measure import Measure, MeasuredAttempts, measure
from ...loops.measuring.statistics import mcnemar, paired_difference, sign_flip
from ...loops.measuring.tables import p_value, percent, percentage_points
from ...loops.re_rest import ReReST, re_rest
from ...loops.run import Run, resolved
from ...loops.runs.store import RunStore
from ...loops.seeds.family import SeedRecipe
from ...loops.seeds.registry import recipe_of
from ..progress import bar
from ..scripts import natural, run
from .core import UNGATED, Say, SeedRun, elapsed_time_printer, seed_run

MODELS = ("base", "demonstrations", "re-rest")
PAIRS = (("base", "re-rest"), ("demonstrations", "re-rest"))
"""Pairs of models that the table compares."""


@dataclass(frozen=True)
class CodeReReST:
    """What is trained and measured for each seed."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("code"))
    """Recipe of the seed policy."""
    env: str = "code"
    """Environment of practice and measurement."""
    loop: ReReST = field(default_factory=lambda: ReReST(gate=UNGATED))
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid", "valid_unseen"), tasks=400))

    def resolved(self) -> Self:
        """Return a copy with the environment's defaults in place of None."""
        env = EnvSpec(self.env)
        return replace(self, loop=resolved(self.loop, env), held_out=resolved(self.held_out, env))


@dataclass(frozen=True)
class SeedResult:
    """What one seed showed. JSON-serialisable through `asdict` and `from_json`."""

    seed: int
    """Number of the seed."""
    task_sets: dict[str, str]
    """`TaskSet.hash` of the held-out tasks, by split."""
    outcomes: dict[str, dict[str, str]]
    """For each model and split one character per task, ordered by id: `1` success, `0` none, `-` not known."""
    examples: dict[str, int]
    """Number of training examples per epoch, by trained model."""
    updates: dict[str, int]
    """Number of optimiser steps, by trained model. Empty if the learner does not record it."""
    counts: dict[str, int]
    """Numbers of attempts that passed, failed and were mended."""

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Return the result of one file. Raises `UsageError` if the text is not one; `path` names the file."""
        try:
            found = cls(**json.loads(text))
            words = [word for name in MODELS for word in found.outcomes[name].values()]
            if not all(set(word) <= set("01-") for word in words):
                raise ValueError("outcomes are other characters than 0, 1 and -")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{path} is not the result of a seed ({error}); remove it, and the seed is played again"
            ) from None
        return found


def play_seed(store: RunStore, config: CodeReReST, seed: int, make: SeedRun, say: Say) -> SeedResult:
    """Train and measure all models of one seed, or resume this.

    Args:
        store: Store of this seed alone.
        config: What is trained and measured, resolved.
        seed: Number of the seed.
        make: Trains the seed policy and makes its run.
        say: Is passed one line per step.
    """
    say(f"seed {seed}: the seed policy")
    played = make(config.recipe.with_seed_offset(seed), store)
    loop = replace(config.loop, seed=config.loop.seed + seed)
    say(f"seed {seed}: measuring base")
    attempts = {"base": measure(played, "base", None, config.held_out)}
    say(f"seed {seed}: Re-ReST")
    adapters = {"re-rest": re_rest(played, loop)}
    [counts] = [value for stage, value in store.results().items() if (stage.kind, stage.model) == ("counts", "re_rest")]
    say(f"seed {seed}: the control, {counts['examples']} examples")
    adapters["demonstrations"] = train_control(played, loop, counts["examples"])
    for name, adapter in adapters.items():
        say(f"seed {seed}: measuring {name}")
        attempts[name] = measure(played, name, adapter, config.held_out)
    return SeedResult(
        seed=seed,
        task_sets={split: TaskSet({t.task for t in found}).hash for split, found in attempts["base"].items()},
        outcomes={name: outcomes_of(attempts[name]) for name in MODELS},
        examples=dict.fromkeys(adapters, counts["examples"]),
        updates={name: steps for name, adapter in adapters.items() if (steps := updates_of(adapter))},
        counts=counts,
    )


def train_control(played: Run, loop: ReReST, examples: int) -> Path:
    """Train on demonstrations alone, repeated until there are this many examples per epoch."""
    own = loop.data.examples(played.make_agent(None, loop.attempts), played.demonstrations)
    repeated = list(itertools.islice(itertools.cycle(own), examples))
    return played.train("demonstrations@1", repeated, loop.fit, seed=loop.seed, rename=loop.data.rename)


def outcomes_of(attempts: MeasuredAttempts) -> dict[str, str]:
    """Return one character per task and split, in the order of the task ids; see `SeedResult.outcomes`."""
    marks = {"success": "1", "infra_error": "-"}
    return {
        split: "".join(marks.get(t.outcome, "0") for t in sorted(found, key=lambda t: t.task.id))
        for split, found in attempts.items()
    }


def updates_of(adapter: Path | None) -> int:
    """Return the number of optimiser steps that an adapter's manifest names, or 0."""
    manifest = adapter / MANIFEST if adapter else None
    if manifest is None or not manifest.exists():
        return 0
    return int(json.loads(manifest.read_text()).get("result", {}).get("steps", 0))


# -- files and table --------------------------------------------------------------------------------------------------


def result_file(folder: Path, seed: int) -> Path:
    """Return the file of a seed's result."""
    return folder / f"seed-{seed}.json"


def write_result(folder: Path, result: SeedResult) -> None:
    """Write a seed's result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    final = result_file(folder, result.seed)
    unfinished = final.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(result), indent=1, sort_keys=True) + "\n")
    os.replace(unfinished, final)


def read_results(folder: Path) -> list[SeedResult]:
    """Return the results of all finished seeds, ordered by seed. Raises `UsageError` if a file is not a result."""
    files = folder.glob("seed-*.json")
    return sorted((SeedResult.from_json(each.read_text(), each) for each in files), key=lambda found: found.seed)


def render_tables(results: Sequence[SeedResult]) -> str:
    """Return the tables in Markdown: one per split, with each seed, their mean and spread, and the pooled paired test.

    The pooled test is an exact sign-flip test by task over all seeds, and that of one seed an exact McNemar test.

    Raises:
        UsageError: If there are no results, or if two of them are about different tasks.
        InfraError: If no pair of outcomes is known.
    """
    if not results:
        raise UsageError("there is no finished seed; run the benchmark first")
    for each in results:
        if each.task_sets != results[0].task_sets:
            raise UsageError(
                f"seed {each.seed} was measured on the tasks {each.task_sets}, and seed {results[0].seed} on "
                f"{results[0].task_sets}; expected the same; remove the files that are out of date"
            )
    return "\n\n".join(_table(split, results) for split in results[0].task_sets)


def _table(split: str, results: Sequence[SeedResult]) -> str:
    heads = [f"seed ({split}, task set `{results[0].task_sets[split]}`)", *MODELS, *(f"{b} - {a}" for a, b in PAIRS)]
    rates = [[_rate(found.outcomes[name][split]) for name in MODELS] for found in results]
    pairs = [[_deltas([found], pair, split) for pair in PAIRS] for found in results]
    rows = [
        [str(found.seed), *map(percent, own), *(_one_seed(each) for each in compared)]
        for found, own, compared in zip(results, rates, pairs, strict=True)
    ]
    differences = [[_mean(each) for each in compared] for compared in pairs]
    by_model, by_pair = list(zip(*rates, strict=True)), list(zip(*differences, strict=True))
    rows.append(["mean", *(percent(statistics.mean(each)) for each in by_model), *map(_mean_points, by_pair)])
    if len(results) > 1:
        spread = [f"{100 * statistics.stdev(each):.1f}" for each in [*by_model, *by_pair]]
        rows.append(["standard deviation, points", *spread])
    pooled = [_pooled(_deltas(results, pair, split)) for pair in PAIRS]
    rows.append(["pooled, by task", *[""] * len(MODELS), *pooled])
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rate(outcomes: str) -> float:
    known = outcomes.replace("-", "")
    if not known:
        raise InfraError("infrastructure failures ended all attempts of a model; remove the file and repeat the seed")
    return known.count("1") / len(known)


def _deltas(results: Sequence[SeedResult], pair: tuple[str, str], split: str) -> list[list[int]]:
    """Return for each task the differences in success, one per seed in which both outcomes are known."""
    words = [[found.outcomes[name][split] for name in pair] for found in results]
    return [
        [int(b[task]) - int(a[task]) for a, b in words if "-" not in (a[task], b[task])]
        for task in range(len(words[0][0]))
    ]


def _mean(deltas: Sequence[Sequence[int]]) -> float:
    flat = list(itertools.chain(*deltas))
    if not flat:
        raise InfraError("infrastructure failures ended all pairs of attempts; remove the file and repeat the seed")
    return statistics.mean(flat)


def _one_seed(deltas: Sequence[Sequence[int]]) -> str:
    flat = list(itertools.chain(*deltas))
    return f"{percentage_points(_mean(deltas))}, p = {p_value(mcnemar(flat.count(-1), flat.count(1)))}".replace(
        "= <", "<"
    )


def _mean_points(differences: Sequence[float]) -> str:
    return percentage_points(statistics.mean(differences))


def _pooled(deltas: Sequence[Sequence[int]]) -> str:
    sums, pairs = [sum(each) for each in deltas], [len(each) for each in deltas]
    interval = paired_difference(sums, pairs)
    low, high = percentage_points(interval.low), percentage_points(interval.high)
    text = f"{percentage_points(_mean(deltas))} ({low}…{high}), p = {p_value(sign_flip(sums))}, n = {sum(pairs):,}"
    return text.replace("= <", "<")


def play(
    seeds: Sequence[int], runs: Path, folder: Path, config: CodeReReST, console: Console, make: SeedRun | None = None
) -> None:
    """Play or resume the seeds that have no result yet, write their results, and print the tables of all results.

    Args:
        seeds: Numbers of the seeds.
        runs: Folder of the runs, one per seed.
        folder: Folder of the results.
        config: What is trained and measured.
        console: Where progress and tables are printed.
        make: Trains seed policies and makes their runs; in this process when None.
    """
    config, say, env = config.resolved(), elapsed_time_printer(console), EnvSpec(config.env)
    config.loop.refuse_shared_tasks(env, config.held_out.task_sets(env))
    read_results(folder)  # A damaged file is reported before hours of work.
    for seed in seeds:
        if result_file(folder, seed).exists():
            say(f"seed {seed} is finished")
            continue
        record: Mapping[str, Any] = {"command": "code re-rest", "seed": seed, **to_plain(config)}
        with RunStore.open(runs / f"seed-{seed}", record) as store, bar(console) as store.on_status:
            result = play_seed(store, config, seed, make or seed_run(env, store.on_status), say)
        write_result(folder, result)
        say(f"seed {seed}: written to {result_file(folder, seed)}")
    console.print(render_tables(read_results(folder)), soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    """Play the seeds named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=natural, nargs="*", default=[0, 1, 2], help="none: print the tables only")
    parser.add_argument("--run", type=Path, default=Path("runs/code-re-rest"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/code-re-rest"))
    options = parser.parse_args()
    play(options.seeds, options.run, options.results, CodeReReST(), Console())


if __name__ == "__main__":
    run(main)
