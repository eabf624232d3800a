"""Paired differences in the metric of the environment (`metric_gain`), such as success or return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...agents.trajectory import Trajectory
from ...envs.core import AgentEnv
from .evaluation import compare
from .statistics import mean, sign_flip_mean


@dataclass(frozen=True)
class Gain:
    """The mean difference between two agents, `b` minus `a`, in the metric of the environment. JSON-serialisable."""

    a: str
    """Name of the first agent."""
    b: str
    """Name of the second agent."""
    metric: str
    """`AgentEnv.metric`, such as `success` or `return`."""
    taskset: str
    """`TaskSet.hash` of the tasks of both."""
    n: int
    """Number of pairs that count: same task, same sample, no infrastructure failure."""
    dropped: int
    """Number of pairs left out because an infrastructure failure ended an attempt of the pair."""
    mean: float
    """Mean of metric(b) - metric(a) over the pairs, in the unit of the metric; a success counts 1."""
    low: float | None
    """Lower end of the interval of `mean`. None if there are too few pairs for one."""
    high: float | None
    """Upper end of the interval, or None."""
    level: float
    """Confidence level of the interval, such as 0.95."""
    p: float
    """Two-sided p-value of `test`, not adjusted for multiple comparisons."""
    test: str
    """Name of the test: as in `Comparison.test` for the metric `success`, otherwise `sign-flip by pair`."""


def metric_gain(
    a: Sequence[Trajectory], b: Sequence[Trajectory], env: type[AgentEnv], *, names: tuple[str, str] = ("a", "b")
) -> Gain:
    """Compare two agents by the metric of an environment, paired by task and sample.

    For the metric `success` this is `compare`. For other metrics the interval is Student's over pairs, and the p-value
    comes from a sign-flip test over pairs. Deterministic.

    Args:
        a: Attempts of the first agent, at most one per task and sample.
        b: Attempts of the second agent at the same tasks and samples.
        env: Environment class. Its `metric_value` maps an attempt to a number.
        names: Names of the two agents in the result.

    Returns:
        The gain of `b` over `a`.

    Raises:
        UsageError: The tasks, or the numbers of attempts, differ.
        InfraError: An infrastructure failure ended an attempt of every pair.
    """
    found = compare(a, b, names=names)
    shared: dict[str, Any] = {"a": names[0], "b": names[1], "metric": env.metric, "taskset": found.taskset}
    shared |= {"n": found.n, "dropped": found.dropped}
    if env.metric == "success":
        shared |= {"low": found.low, "high": found.high, "level": found.level}
        return Gain(**shared, mean=found.difference, p=found.p, test=found.test)
    pairs = [pair for pair in _paired(list(a), list(b)) if all(t.outcome != "infra_error" for t in pair)]
    values = [[env.metric_value(t.success, t.score, [s.reward for s in t.steps]) for t in pair] for pair in pairs]
    differences = [second - first for first, second in values]
    estimate = mean(differences)
    return Gain(
        **shared,
        mean=estimate.value,
        low=estimate.low,
        high=estimate.high,
        level=estimate.level,
        p=sign_flip_mean(differences, seed=0),
        test="sign-flip by pair",
    )


def _paired(a: Sequence[Trajectory], b: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Pair the attempts by task and sample, each of which occurs once on both sides."""
    others = {t.key: t for t in b}
    return [(t, others[t.key]) for t in a]
