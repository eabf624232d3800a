"""Tables of what makes a result vary: the arithmetic of the machine, and the parts of a training run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from ...errors import UsageError
from ...loops.measuring.tables import percent, percentage_points
from .re_rest import AGAIN
from .seed_results import SeedResult
from .seed_tables import Pair, markdown, seed_deltas, seed_rate


def render_settings(settings: Mapping[str, Sequence[SeedResult]], pair: Pair, name: str) -> str:
    """Return a table of the same seeds in several settings, which stand for several machines.

    Only seeds with a result in every setting count. The spread between settings is the root mean square, over seeds, of
    the standard deviation over settings.

    Args:
        settings: Results by name of the setting, at least two.
        pair: The two models to compare.
        name: Name of the task set.

    Raises:
        UsageError: No seed has a result in every setting, or their tasks differ.
    """
    by_seed = {setting: {each.seed: each for each in results} for setting, results in settings.items()}
    seeds = sorted(set.intersection(*(set(found) for found in by_seed.values())))
    if not seeds:
        raise UsageError(f"no seed has a result in each of the settings {', '.join(settings)}; expected at least one")
    if len({found[seed].task_sets[name] for found in by_seed.values() for seed in seeds}) > 1:
        raise UsageError("the settings were measured on different tasks; remove the results that are out of date")
    rows, gains = [], []
    for seed in seeds:
        found = [results[seed] for results in by_seed.values()]
        gains.append([statistics.mean(seed_deltas(each, pair, name)) for each in found])
        rates = [[percent(seed_rate(each, model, name)) for model in pair] for each in found]
        rows.append(
            [
                str(seed),
                *(f"{a} → {b}, {percentage_points(gain)}" for (a, b), gain in zip(rates, gains[-1], strict=True)),
            ]
        )
    by_setting = list(zip(*gains, strict=True))
    rows.append(["mean", *(percentage_points(statistics.mean(each)) for each in by_setting)])
    if len(seeds) > 1:
        rows.append(["standard deviation, points", *(f"{100 * statistics.stdev(each):.1f}" for each in by_setting)])
    between = math.sqrt(statistics.mean(statistics.variance(each) for each in gains))
    table = markdown([f"seed ({name}): {pair[0]} → {pair[1]}", *settings], rows)
    return f"{table}\n\nStandard deviation between settings of one seed: {100 * between:.1f} points."


def render_variance(results: Sequence[SeedResult], pair: Pair, name: str) -> str:
    """Return a table of how much each part of a training run contributes to the spread of a difference.

    It is a nested analysis of variance. Two runs with the same attempts differ by their training alone; two runs of one
    seed policy by sampling and training; runs of different seeds by all of it. Each variance is what remains after
    those below it, and at least 0. All runs have the same held-out tasks; the last row says how much the mean over so
    many tasks varies with their choice.

    Args:
        results: At least two seeds with both models of `AGAIN`.
        pair: The two models whose difference is analysed; the second was drawn again.
        name: Name of the task set.

    Raises:
        UsageError: There are fewer than two such seeds.
    """
    drawn = [each for each in results if {*pair, *AGAIN} <= set(each.outcomes)]
    if len(drawn) < 2:
        raise UsageError(f"{len(drawn)} seeds were drawn again; expected at least 2")
    base, model = pair

    def gain(found: SeedResult, drawn: str) -> float:
        return statistics.mean(seed_deltas(found, (base, drawn), name))

    gains = [[gain(found, each) for each in (model, *AGAIN)] for found in drawn]
    training = statistics.mean((first - trained) ** 2 / 2 for first, trained, _ in gains)
    one_policy = statistics.mean(
        ((first - sampled) ** 2 + (trained - sampled) ** 2) / 4 for first, trained, sampled in gains
    )
    everything = statistics.variance([first for first, _, _ in gains])
    per_task = [
        statistics.variance(deltas) / len(deltas) for deltas in (seed_deltas(each, pair, name) for each in drawn)
    ]
    variances: list[tuple[str, float]] = [
        ("seed policy", everything - one_policy),
        ("practice tasks and sampling", one_policy - training),
        ("training: initial weights and order", training),
        ("all of them: one run", everything),
        (f"choice of {len(drawn[0].outcomes[base][name])} held-out tasks", statistics.mean(per_task)),
    ]
    return markdown(
        (f"source of variation of {model} - {base} ({name}, {len(drawn)} seeds)", "standard deviation, points"),
        [[source, f"{100 * math.sqrt(max(0.0, variance)):.1f}"] for source, variance in variances],
    )
