"""`gain`: how much better one agent is than another by the metric that the environment itself names."""

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
    """How much better `b` is than `a` on the same tasks, by the environment's own metric. JSON-clean."""

    a: str
    b: str
    metric: str
    """`AgentEnv.metric`: `success`, `return`, ..."""
    taskset: str
    """`TaskSet.hash` of the tasks that both were measured on."""
    n: int
    """Pairs that count: same task, same sample, neither ended by an infra error."""
    dropped: int
    """Pairs left out because an infra error ended one of them."""
    mean: float
    """Mean of worth(b) - worth(a) over the pairs."""
    low: float
    """Lower end of its bootstrap interval."""
    high: float
    """Upper end of its bootstrap interval."""
    level: float
    """How often such intervals hold the truth."""
    p: float
    """Two-sided, of the test named in `test`."""
    test: str


def gain(
    a: Sequence[Trajectory], b: Sequence[Trajectory], env: type[AgentEnv], *, names: tuple[str, str] = ("a", "b")
) -> Gain:
    """Compare two agents by the metric of `env`, paired by task and sample. Raises what `compare` raises."""
    found = compare(a, b, names=names)
    shared: dict[str, Any] = {"a": names[0], "b": names[1], "metric": env.metric, "taskset": found.taskset}
    shared |= {"n": found.n, "dropped": found.dropped}
    if env.metric == "success":
        shared |= {"low": found.low, "high": found.high, "level": found.level}
        return Gain(**shared, mean=found.difference, p=found.p, test=found.test)
    pairs = [pair for pair in _paired(list(a), list(b)) if all(t.outcome != "infra_error" for t in pair)]
    values = [[env.metric_value(t.success, t.score, [s.reward for s in t.steps]) for t in pair] for pair in pairs]
    differences = [second - first for first, second in values]
    estimate = mean(differences, seed=0)
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
    """Pairs of the same task and sample, where both have each of them once."""
    others = {t.key: t for t in b}
    return [(t, others[t.key]) for t in a]
