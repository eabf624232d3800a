"""Tables of scores and comparisons for the terminal. Each score shows n, its interval and the hash of its task set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from ..runs.stages import Stage
from .evaluation import Comparison, Score
from .statistics import Rate

if TYPE_CHECKING:
    from .gate import Verdict


def score_table(scores: Iterable[Score], title: str = "Success") -> Table:
    """Return a table with one row per score. It fits into 80 columns if the names are short."""
    scores = list(scores)
    timed = any(score.seconds is not None for score in scores)
    right = ["success", "95 %", "n", "steps", "refused", "tokens", *(["s"] if timed else [])]
    table = plain_table(title, ["model"], right, ["TaskSet"])
    for score in scores:
        infra = f"\n+{score.infra_errors} infra" if score.infra_errors else ""
        seconds = "" if score.seconds is None else f"{score.seconds:.0f}"
        table.add_row(
            Text(score.name),
            percent(score.success.value),
            percent_interval(score.success),
            f"{score.n}{infra}",
            f"{score.mean_steps:.1f}",
            percent(score.invalid_share),
            short_count(score.sampled_tokens),
            *([seconds] if timed else []),
            Text(score.taskset),
        )
    table.caption = Text(evaluation_note(scores), style="dim")
    return table


def type_table(scores: Sequence[Score], title: str = "Success by task type") -> Table:
    """Return a table with one row per task type and one column per score. Each cell has the rate, interval and n."""
    table = plain_table(title, ["task type"], [f"{score.name}\n{score.taskset}" for score in scores], [])
    for kind in sorted({kind for score in scores for kind in score.by_type}):
        cells = [score.by_type.get(kind) for score in scores]
        table.add_row(Text(kind), *[f"{percent(c.value)}\n{percent_interval(c)} n={c.n}" if c else "" for c in cells])
    return table


def comparison_table(comparisons: Iterable[Comparison], title: str = "Paired on the same tasks") -> Table:
    """Return a table with one row per comparison: the second minus the first, in percentage points."""
    comparisons = list(comparisons)
    right = ["points", "95 %", "only 1st\n: only 2nd", "p", "n"]
    table = plain_table(title, ["second\n- first"], right, ["TaskSet"])
    for found in comparisons:
        dropped = f"\n-{found.dropped} infra" if found.dropped else ""
        table.add_row(
            Text(f"{found.b}\n- {found.a}"),
            percentage_points(found.difference),
            interval(found.low, found.high, percentage_points),
            f"{found.only_a} : {found.only_b}",
            p_value(found.p),
            f"{found.n}{dropped}",
            Text(found.taskset),
        )
    tests = ", ".join(sorted({found.test for found in comparisons})) or "none"
    table.caption = Text(f"two-sided {tests}; p not adjusted for multiple comparisons", style="dim")
    return table


def verdict_table(verdicts: Mapping[Stage, Verdict], title: str = "Rounds and gate verdicts") -> Table:
    """Return a table with one row per round: raw difference to the previous model, and the gate's decision."""
    table = plain_table(title, ["round", "against"], ["raw", "95 %", "p", "n"], ["verdict", "TaskSet"])
    for stage, verdict in verdicts.items():
        found = verdict.gain
        dropped = f"\n-{found.dropped} infra" if found.dropped else ""
        table.add_row(
            Text(" ".join(filter(None, (stage.scope, stage.model_round)))),
            Text(found.a),
            percentage_points(found.mean),
            interval(found.low, found.high, percentage_points),
            p_value(found.p),
            f"{found.n}{dropped}",
            "adopted" if verdict.adopted else "not adopted",
            Text(found.taskset),
        )
    metrics = ", ".join(sorted({verdict.gain.metric for verdict in verdicts.values()}))
    table.caption = Text(f"raw: difference in {metrics} in percentage points, paired by task", style="dim")
    return table


def evaluation_note(scores: Sequence[Score]) -> str:
    """Return one line on decoding, limits, seeds and repeatability of `scores`, as far as they are stated."""
    notes: dict[str, list[str]] = {
        "decoding": sorted({score.decoding for score in scores} - {"unstated"}),
        "step limit": sorted({str(score.step_limit) for score in scores if score.step_limit is not None}),
        "seeds": _short_seed_list(sorted({seed for score in scores for seed in score.seeds})),
        "answers at the token limit": [str(cut)] if (cut := sum(score.cut_answers for score in scores)) else [],
        "repeatable": sorted({"yes" if score.repeatable else "no" for score in scores if score.repeatable is not None}),
    }
    parts = [f"{name} {', '.join(values)}" for name, values in notes.items() if values]
    return "; ".join([*parts, "intervals over tasks"])


def _short_seed_list(seeds: Sequence[int]) -> list[str]:
    return list(map(str, seeds)) if len(seeds) <= 6 else [f"{len(seeds)} different"]


def percent(share: float) -> str:
    """Return a share in [0, 1] as `40.0 %`."""
    return f"{100 * share:.1f} %"


def percent_interval(rate: Rate) -> str:
    """Return the interval of a rate in percent, as `32.0…48.0`."""
    return f"{100 * rate.low:.1f}…{100 * rate.high:.1f}"


def interval(low: float | None, high: float | None, show: Callable[[float], str]) -> str:
    """Return an interval as `-0.3…+2.1`, each end as `show` writes it, or `too few` if there is none."""
    return "too few" if low is None or high is None else f"{show(low)}…{show(high)}"


def percentage_points(difference: float) -> str:
    """Return a difference in percentage points, as `+4.9`.

    Differences that one decimal would round to 0 get their first significant digit, so that they do not look like ties.
    """
    found = 100 * difference
    return f"{found:+.1f}" if found == 0 or abs(found) >= 0.05 else f"{found:+.1g}"


def p_value(p: float) -> str:
    """Return a p-value with enough digits to tell 0.049 from 0.051."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def short_count(number: int) -> str:
    """Return a count as `999`, `12.3 k` or `4.5 M`."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def plain_table(title: str, left: Sequence[str], right: Sequence[str], after: Sequence[str]) -> Table:
    """Return an empty table with columns `left`, right-aligned columns `right`, and columns `after`."""
    style = {"title_justify": "left", "caption_justify": "left", "title_style": "bold yellow", "header_style": "bold"}
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, **style)  # type: ignore[arg-type]
    for name in left:
        table.add_column(Text(name), overflow="fold")
    for name in right:
        table.add_column(Text(name), justify="right", no_wrap="\n" not in name)
    for name in after:
        table.add_column(Text(name), no_wrap=True)
    return table
