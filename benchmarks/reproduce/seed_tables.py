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
            ("tasks", each.task_sets, first.task_sets),
            ("models", sorted(each.outcomes), sorted(first.outcomes)),
        ):
            if ours != others:
                raise UsageError(
                    f"seed {each.seed} was measured with the {what} {ours}, and seed {first.seed} with {others}; "
                    "expected the same; remove the files that are out of date"
                )
    compared = [pair for pair in pairs if all(name in first.outcomes for name in pair)]
    return "\n\n".join(_table(name, results, compared) for name in first.task_sets)


def seed_difference(result: SeedResult, pair: Pair, name: str) -> tuple[float, float]:
    """Return the difference in success of two models of one seed, second minus first, and its p-value."""
    deltas = _deltas([result], pair, name)
    return _mean(deltas), _mcnemar(deltas)


def _table(name: str, results: Sequence[SeedResult], pairs: Sequence[Pair]) -> str:
    models = list(dict.fromkeys([*itertools.chain(*pairs), *results[0].outcomes]))
    heads = [f"seed ({name}, task set `{results[0].task_sets[name]}`)", *models, *(f"{b} - {a}" for a, b in pairs)]
    rates = [[_rate(found.outcomes[model][name]) for model in models] for found in results]
    deltas = [[_deltas([found], pair, name) for pair in pairs] for found in results]
    rows = [
        [str(found.seed), *map(percent, own), *map(_one_seed, compared)]
        for found, own, compared in zip(results, rates, deltas, strict=True)
    ]
    by_model = list(zip(*rates, strict=True))
    by_pair = [[_mean(each) for each in compared] for compared in zip(*deltas, strict=True)]
    means = [percentage_points(statistics.mean(each)) for each in by_pair]
    rows.append(["mean", *(percent(statistics.mean(each)) for each in by_model), *means])
    if len(results) > 1:
        spread = [f"{100 * statistics.stdev(each):.1f}" for each in [*by_model, *by_pair]]
        rows.append(["standard deviation, points", *spread])
        ranges = [f"{100 * min(each):.1f}…{100 * max(each):.1f}" for each in by_model]
        ranges += [interval(min(each), max(each), percentage_points) for each in by_pair]
        rows.append(["range", *ranges])
        shown = [sum(_is_shown(seed[number]) for seed in deltas) for number in range(len(pairs))]
        rows.append([f"seeds with p < {ALPHA}", *[""] * len(models), *(f"{n} of {len(results)}" for n in shown)])
    blank = [""] * len(models)
    rows.append(["over tasks, pooled", *blank, *(_over_tasks(_deltas(results, pair, name)) for pair in pairs)])
    if len(results) > 1:
        rows.append(["over seeds", *blank, *(_over_seeds([seed[i] for seed in deltas]) for i in range(len(pairs)))])
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows])


def _rate(outcomes: str) -> float:
    known = outcomes.replace("-", "")
    if not known:
        raise InfraError("infrastructure failures ended all attempts of a model; remove the file and repeat the seed")
    return known.count("1") / len(known)


def _deltas(results: Sequence[SeedResult], pair: Pair, name: str) -> list[list[int]]:
    """Return for each task the differences in success, one per seed in which both outcomes are known."""
    words = [[found.outcomes[model][name] for model in pair] for found in results]
    return [
        [int(b[task]) - int(a[task]) for a, b in words if "-" not in (a[task], b[task])]
        for task in range(len(words[0][0]))
    ]


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
