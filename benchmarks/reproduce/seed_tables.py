"""Tables over many seeds: each seed, mean and spread, and tests over tasks and over seeds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from ...errors import InfraError, UsageError
from ...loops.measuring.statistics import mcnemar, mean, paired_difference, sign_flip
from ...loops.measuring.tables import interval, p_value, percent, percentage_points
from .seed_results import SeedResult

Pair = tuple[str, str]
ALPHA = 0.05
"""Largest p-value of a difference that one seed is said to show."""


def render_tables(results: Sequence[SeedResult], pairs: Sequence[Pair]) -> str:
    """Return the tables in Markdown, one per task set.

    The p-value of one seed is that of an exact McNemar test. The pooled test over tasks is an exact sign-flip test by
    task. It says whether these seeds differ on other tasks. The test over seeds is a sign-flip test by seed. It says
    whether other seeds differ on these tasks, and counts only differences between whole training runs.

    A model that a seed does not have is left out of the rows over seeds. The lines after the tables say why it is
    missing. If the tasks differ between seeds, a row over seeds is also over these tasks.

    Args:
        results: Results of all seeds.
        pairs: Pairs of models to compare, if both were measured.

    Raises:
        UsageError: There are no results, or two of them are about different tasks or models.
        InfraError: No pair of outcomes is known.
    """
    if not results:
        raise UsageError("there is no finished seed; run the benchmark first")
    first = results[0]
    for each in results:
        for what, ours, others in (
            ("tasks", _shared_tasks(each), _shared_tasks(first)),
            ("models", sorted({*each.outcomes, *each.missing}), sorted({*first.outcomes, *first.missing})),
        ):
            if ours != others:
                raise UsageError(
                    f"seed {each.seed} was measured with the {what} {ours}, and seed {first.seed} with {others}; "
                    "expected the same; remove the files that are out of date"
                )
    compared = [pair for pair in pairs if any(_has(found, pair) for found in results)]
    missing = [f"seed {found.seed} has no {model}: {why}" for found in results for model, why in found.missing.items()]
    return "\n\n".join([*(_table(name, results, compared) for name in first.task_sets), *missing])


def seed_difference(result: SeedResult, pair: Pair, name: str) -> tuple[float, float]:
    """Return the difference in success of two models of one seed, second minus first, and its p-value."""
    deltas = _deltas([result], pair, name)
    return _mean(deltas), _mcnemar(deltas)


def seed_deltas(result: SeedResult, pair: Pair, name: str) -> list[int]:
    """Return the differences in success of two models of one seed, second minus first, one per pair of attempts."""
    return list(itertools.chain(*_deltas([result], pair, name)))


def seed_rate(result: SeedResult, model: str, name: str) -> float:
    """Return the success rate of a model of one seed."""
    return _rate(result.outcomes[model][name])


def _shared_tasks(found: SeedResult) -> dict[str, str]:
    return {name: "its own" if name in found.tasks else taskset for name, taskset in found.task_sets.items()}


def _has(found: SeedResult, models: Sequence[str]) -> bool:
    return all(model in found.outcomes for model in models)


def _table(name: str, results: Sequence[SeedResult], pairs: Sequence[Pair]) -> str:
    measured = itertools.chain.from_iterable(found.outcomes for found in results)
    models = list(dict.fromkeys([*itertools.chain(*pairs), *measured]))
    tasks = "tasks of each seed" if name in results[0].tasks else f"task set `{results[0].task_sets[name]}`"
    heads = [f"seed ({name}, {tasks})", *models, *(f"{b} - {a}" for a, b in pairs)]
    rows = [
        [
            str(found.seed),
            *(percent(_rate(found.outcomes[model][name])) if _has(found, [model]) else "" for model in models),
            *(_one_seed(_deltas([found], pair, name)) if _has(found, pair) else "" for pair in pairs),
        ]
        for found in results
    ]
    by_model = [[_rate(found.outcomes[model][name]) for found in results if _has(found, [model])] for model in models]
    deltas = [[_deltas([found], pair, name) for found in results if _has(found, pair)] for pair in pairs]
    by_pair = [[_mean(each) for each in seeds] for seeds in deltas]
    means = [percentage_points(statistics.mean(each)) for each in by_pair]
    rows.append(["mean", *(percent(statistics.mean(each)) for each in by_model), *means])
    if len(results) > 1:
        spread = [f"{100 * statistics.stdev(each):.1f}" if len(each) > 1 else "" for each in [*by_model, *by_pair]]
        rows.append(["standard deviation, points", *spread])
        ranges = [f"{100 * min(each):.1f}…{100 * max(each):.1f}" for each in by_model]
        ranges += [interval(min(each), max(each), percentage_points) for each in by_pair]
        rows.append(["range", *ranges])
        shown = [f"{sum(map(_is_shown, seeds))} of {len(seeds)}" for seeds in deltas]
        rows.append([f"seeds with a gain, p < {ALPHA}", *[""] * len(models), *shown])
    blank = [""] * len(models)
    rows.append(["over tasks, pooled", *blank, *(_over_tasks(_deltas(results, pair, name)) for pair in pairs)])
    if len(results) > 1:
        rows.append(["over seeds", *blank, *map(_over_seeds, deltas)])
    return markdown(heads, rows)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows])


def _rate(outcomes: str) -> float:
    known = outcomes.replace("-", "")
    if not known:
        raise InfraError("infrastructure failures ended all attempts of a model; remove the file and repeat the seed")
    return known.count("1") / len(known)


def _deltas(results: Sequence[SeedResult], pair: Pair, name: str) -> list[list[int]]:
    """Return for each task the differences in success, one per attempt pair of which both outcomes are known."""
    by_task: dict[str | int, list[int]] = {}
    for found in results:
        if _has(found, pair):
            words = [found.outcomes[model][name] for model in pair]
            for task, a, b in zip(found.tasks.get(name) or range(len(words[0])), *words, strict=True):
                by_task.setdefault(task, []).extend([] if "-" in (a, b) else [int(b) - int(a)])
    return list(by_task.values())


def _mean(deltas: Sequence[Sequence[int]]) -> float:
    flat = list(itertools.chain(*deltas))
    if not flat:
        raise InfraError("infrastructure failures ended all pairs of attempts; remove the file and repeat the seed")
    return statistics.mean(flat)


def _mcnemar(deltas: Sequence[Sequence[int]]) -> float:
    flat = list(itertools.chain(*deltas))
    return mcnemar(flat.count(-1), flat.count(1))


def _is_shown(deltas: Sequence[Sequence[int]]) -> bool:
    return _mean(deltas) > 0 and _mcnemar(deltas) < ALPHA


def _with_p(text: str, p: float) -> str:
    return f"{text}, p = {p_value(p)}".replace("= <", "<")


def _one_seed(deltas: Sequence[Sequence[int]]) -> str:
    return _with_p(percentage_points(_mean(deltas)), _mcnemar(deltas))


def _over_tasks(deltas: Sequence[Sequence[int]]) -> str:
    sums, pairs = [sum(each) for each in deltas], [len(each) for each in deltas]
    found = paired_difference(sums, pairs)
    ends = interval(found.low, found.high, percentage_points)
    return f"{_with_p(f'{percentage_points(_mean(deltas))} ({ends})', sign_flip(sums))}, n = {sum(pairs):,}"


def _over_seeds(seeds: Sequence[Sequence[Sequence[int]]]) -> str:
    found = mean([_mean(each) for each in seeds])
    ends = interval(found.low, found.high, percentage_points)
    p = sign_flip([sum(itertools.chain(*each)) for each in seeds])
    return _with_p(f"{percentage_points(found.value)} ({ends})", p)
