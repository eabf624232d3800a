"""Scores of attempts (`score`) and paired comparisons of two agents (`compare`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeVar

from ...agents.trajectory import Trajectory
from ...envs.core import Task, TaskSet
from ...errors import InfraError, UsageError
from .statistics import Rate, mcnemar, paired_difference, rate, sign_flip

Decoding = Literal["free", "constrained", "unstated"]
"""How actions were sampled: freely, by constrained decoding, or not stated."""
T = TypeVar("T")
UNTYPED = "any"
"""The type of tasks without `params["type"]`."""


@dataclass(frozen=True)
class AttemptSummary:
    """The numbers of a `Trajectory` that a score needs. Small, so that 100,000 of them fit in memory."""

    task: Task
    sample: int
    outcome: str
    steps: int
    invalid_actions: int
    sampled_tokens: int
    """Number of sampled tokens."""
    read_tokens: int
    """Number of prompt tokens, cached ones included."""
    model: str
    seed: int
    agent: str = ""
    cut_answers: int = 0
    """See `Trajectory.cut_answers`."""

    @classmethod
    def from_trajectory(cls, trajectory: Trajectory) -> Self:
        """Return the summary of a trajectory."""
        return cls(
            task=trajectory.task,
            sample=trajectory.sample,
            outcome=trajectory.outcome,
            steps=len(trajectory.steps),
            invalid_actions=trajectory.invalid_actions,
            sampled_tokens=trajectory.sampled_tokens,
            read_tokens=trajectory.prompt_tokens,
            model=trajectory.model,
            seed=trajectory.seed,
            agent=trajectory.agent,
            cut_answers=trajectory.cut_answers,
        )

    @property
    def counts(self) -> bool:
        """Whether the attempt counts in a score. Infrastructure failures do not count."""
        return self.outcome != "infra_error"

    @property
    def success(self) -> bool:
        """Whether the outcome is `success`."""
        return self.outcome == "success"


ScorableAttempts = Iterable[Trajectory | AttemptSummary]


@dataclass(frozen=True)
class Score:
    """The success rate of one agent on one task set, with the settings of the evaluation.

    Attempts that an infrastructure failure ended count only in `infra_errors` and `outcomes`. All other numbers are
    over the remaining `n` attempts. JSON-serialisable through `to_json` and `from_json`.
    """

    name: str
    """Name of the measured model or agent."""
    taskset: str
    """`TaskSet.hash`. Only scores with the same hash are comparable."""
    n: int
    """Number of attempts that count."""
    infra_errors: int
    """Number of attempts that an infrastructure failure ended."""
    success: Rate
    """Success rate over all `n` attempts."""
    by_type: dict[str, Rate]
    """Success rate by `Task.params["type"]`. Types without an attempt that counts are absent."""
    outcomes: dict[str, int]
    """Number of attempts by outcome, infrastructure failures included."""
    mean_steps: float
    """Mean number of actions per attempt."""
    invalid_share: float
    """Share of refused actions among all actions, in [0, 1]."""
    sampled_tokens: int
    """Number of sampled tokens."""
    read_tokens: int
    """Number of prompt tokens, cached ones included."""
    models: tuple[str, ...]
    """Versions of the models that acted. Several if training seeds are pooled."""
    seeds: tuple[int, ...]
    """Seeds that reproduce the attempts."""
    seconds: float | None = None
    """Wall time of the evaluation; None if not measured."""
    decoding: Decoding = "unstated"
    """How actions were sampled."""
    step_limit: int | None = None
    """Maximum number of actions per attempt; None if not stated."""
    agents: tuple[str, ...] = ()
    """`Agent.name` of the agents that acted. Several if training seeds are pooled."""
    repeatable: bool | None = None
    """Whether the backend samples the same tokens again (`Backend.repeatable`); None if not stated."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further settings that reproduce the evaluation; JSON-serialisable."""
    cut_answers: int = 0
    """Number of answers that have as many tokens as the limit allows, so that most of them were cut."""

    def to_json(self) -> dict[str, Any]:
        """Return the score as a JSON-serialisable dictionary, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a score from the result of `to_json`.

        Args:
            data: Result of `to_json`, which may have passed through JSON.

        Raises:
            KeyError: A field with a fixed type is missing.
            TypeError: Another field is missing, or a key is unknown.
        """
        values = dict(data)
        values["success"] = Rate(**values["success"])
        values["by_type"] = {name: Rate(**part) for name, part in values["by_type"].items()}
        values |= {name: tuple(values[name]) for name in ("models", "seeds", "agents")}
        return cls(**values)


@dataclass(frozen=True)
class Comparison:
    """The difference in success rate between two agents, `b` minus `a`, paired by task and sample.

    All rates are in [0, 1] and the difference is in [-1, 1]; multiply by 100 for percentage points. JSON-serialisable
    through `to_json` and `from_json`.
    """

    a: str
    """Name of the first agent."""
    b: str
    """Name of the second agent."""
    taskset: str
    """`TaskSet.hash` of the tasks of both."""
    n: int
    """Number of pairs that count: same task, same sample, no infrastructure failure."""
    dropped: int
    """Number of pairs left out because an infrastructure failure ended an attempt of the pair."""
    rate_a: float
    """Success rate of `a` over the pairs."""
    rate_b: float
    """Success rate of `b` over the pairs."""
    difference: float
    """`rate_b - rate_a`."""
    low: float
    """Lower end of the interval of `difference`: `statistics.paired_difference`."""
    high: float
    """Upper end of the interval of `difference`."""
    level: float
    """Confidence level of the interval, such as 0.95."""
    only_a: int
    """Number of pairs in which only `a` succeeded."""
    only_b: int
    """Number of pairs in which only `b` succeeded."""
    p: float
    """Two-sided p-value of `test`, not adjusted for multiple comparisons."""
    test: Literal["exact McNemar", "exact sign-flip by task"]
    """Exact McNemar test for one pair per task; otherwise an exact sign-flip test that swaps `a` and `b` by task."""

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-serialisable dictionary, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a comparison from the result of `to_json`.

        Args:
            data: Result of `to_json`, which may have passed through JSON.

        Raises:
            TypeError: A field is missing or unknown.
        """
        return cls(**data)


def score(
    name: str,
    tasks: TaskSet,
    trajectories: ScorableAttempts,
    *,
    seconds: float | None = None,
    decoding: Decoding = "unstated",
    step_limit: int | None = None,
    seeds: Sequence[int] | None = None,
    repeatable: bool | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Score:
    """Return the score of an agent on a task set.

    The intervals treat tasks as independent (`statistics.rate`). Deterministic.

    Args:
        name: Name of the score in tables.
        tasks: The task set. Every task needs an attempt, because the score carries the hash of the whole set.
        trajectories: Attempts at `tasks`, possibly of several training seeds.
        seconds: Wall time of the evaluation.
        decoding: How actions were sampled.
        step_limit: Maximum number of actions per attempt.
        seeds: Seeds that reproduce the attempts. By default, those of the attempts.
        repeatable: Whether the backend samples the same tokens again.
        settings: Further settings that reproduce the evaluation; JSON-serialisable.

    Returns:
        The score. Infrastructure failures are counted apart.

    Raises:
        UsageError: An attempt belongs to another task set, or a task has no attempt.
        InfraError: Infrastructure failures ended every attempt.
    """
    attempts = _check_complete(name, tasks, trajectories)
    counted = _without_infra_failures(name, attempts)
    steps = sum(a.steps for a in counted)
    return Score(
        name=name,
        taskset=tasks.hash,
        n=len(counted),
        infra_errors=len(attempts) - len(counted),
        success=_rate(counted),
        by_type={kind: _rate(part) for kind, part in _group_by(counted, _attempt_task_type).items()},
        outcomes=dict(sorted(Counter(a.outcome for a in attempts).items())),
        mean_steps=steps / len(counted),
        invalid_share=sum(a.invalid_actions for a in counted) / steps if steps else 0.0,
        sampled_tokens=sum(a.sampled_tokens for a in counted),
        read_tokens=sum(a.read_tokens for a in counted),
        models=tuple(sorted({a.model for a in counted})),
        seeds=tuple(sorted({a.seed for a in counted})) if seeds is None else tuple(seeds),
        seconds=seconds,
        decoding=decoding,
        step_limit=step_limit,
        agents=tuple(sorted({a.agent for a in counted} - {""})),
        repeatable=repeatable,
        settings=dict(settings or {}),
        cut_answers=sum(a.cut_answers for a in counted),
    )


def compare(a: ScorableAttempts, b: ScorableAttempts, *, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Compare the success of two agents on the same tasks, paired by task and sample.

    The p-value comes from the exact McNemar test for one pair per task, otherwise from an exact sign-flip test over
    tasks. The interval is that of `statistics.paired_difference`. Deterministic.

    Args:
        a: Attempts of the first agent.
        b: Attempts of the second agent. If training seeds are pooled, a task and sample occur several times: the first
            one in `a` is paired with the first one in `b`, and so on.
        names: Names of the two agents in the comparison.

    Returns:
        The comparison, `b` minus `a`.

    Raises:
        UsageError: The tasks, or the numbers of attempts, differ.
        InfraError: An infrastructure failure ended an attempt of every pair.
    """
    first, second = [_as_summary(t) for t in a], [_as_summary(t) for t in b]
    tasks = _check_same_tasks(names, first, second)
    sides = _by_occurrence(first), _by_occurrence(second)
    _check_same_samples(names, *sides)
    pairs = [(one, sides[1][key]) for key, one in sides[0].items()]
    counted = [(one, two) for one, two in pairs if one.counts and two.counts]
    if not counted:
        raise InfraError(
            f"cannot compare {names[0]!r} and {names[1]!r}: infrastructure failures ended all {len(pairs)} pairs; "
            "fix the cause and repeat"
        )
    by_task = list(_group_by(counted, lambda pair: pair[0].task.id).values())
    deltas = [sum(two.success - one.success for one, two in part) for part in by_task]
    interval = paired_difference(deltas, [len(part) for part in by_task])
    only_a = sum(one.success and not two.success for one, two in counted)
    only_b = sum(two.success and not one.success for one, two in counted)
    alone = all(len(part) == 1 for part in by_task)
    return Comparison(
        a=names[0],
        b=names[1],
        taskset=tasks.hash,
        n=len(counted),
        dropped=len(pairs) - len(counted),
        rate_a=sum(one.success for one, _ in counted) / len(counted),
        rate_b=sum(two.success for _, two in counted) / len(counted),
        difference=sum(deltas) / len(counted),
        low=interval.low,
        high=interval.high,
        level=interval.level,
        only_a=only_a,
        only_b=only_b,
        p=mcnemar(only_a, only_b) if alone else sign_flip(deltas),
        test="exact McNemar" if alone else "exact sign-flip by task",
    )


def task_type(task: Task) -> str:
    """Return the type that scores are split by: `params["type"]`, or `any`."""
    return str(task.params.get("type", UNTYPED))


def _attempt_task_type(attempt: AttemptSummary) -> str:
    return task_type(attempt.task)


def _as_summary(item: Trajectory | AttemptSummary) -> AttemptSummary:
    return AttemptSummary.from_trajectory(item) if isinstance(item, Trajectory) else item


def _without_infra_failures(name: str, attempts: Sequence[AttemptSummary]) -> list[AttemptSummary]:
    counted = [a for a in attempts if a.counts]
    if not counted:
        raise InfraError(
            f"score {name!r}: infrastructure failures ended all {len(attempts)} attempts; nothing was measured; "
            "fix the cause and repeat"
        )
    return counted


def _rate(attempts: Sequence[AttemptSummary]) -> Rate:
    clusters = _group_by(attempts, lambda a: a.task.id).values()
    return rate([sum(a.success for a in c) for c in clusters], [len(c) for c in clusters])


def _group_by(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(sorted(groups.items()))


def _check_complete(name: str, tasks: TaskSet, trajectories: ScorableAttempts) -> list[AttemptSummary]:
    attempts = [_as_summary(t) for t in trajectories]
    for attempt in attempts:
        if tasks[attempt.task.id] != attempt.task:
            raise UsageError(
                f"score {name!r}: the attempt at {attempt.task.id!r} was made on another task than that with this id "
                f"in task set {tasks.hash}; pass the task set that the attempt was made on"
            )
    missing = {task.id for task in tasks} - {attempt.task.id for attempt in attempts}
    if missing or not attempts:
        raise UsageError(
            f"score {name!r}: {len(missing)} of the {len(tasks)} tasks of task set {tasks.hash} have no attempt, "
            f"the first is {min(missing, default='none')!r}; play all tasks, or pass a smaller task set"
        )
    return attempts


def _check_same_tasks(names: tuple[str, str], a: Sequence[AttemptSummary], b: Sequence[AttemptSummary]) -> TaskSet:
    one, two = TaskSet({t.task for t in a}), TaskSet({t.task for t in b})
    if one.hash != two.hash:
        shared = len({t.hash for t in one} & {t.hash for t in two})
        raise UsageError(
            f"cannot compare {names[0]!r} and {names[1]!r}: they were measured on different task sets, {one.hash} with "
            f"{len(one)} tasks and {two.hash} with {len(two)}, which share {shared}; evaluate both on the same task set"
        )
    return one


def _by_occurrence(attempts: Sequence[AttemptSummary]) -> dict[tuple[str, int, int], AttemptSummary]:
    """Map (task id, sample, number of earlier attempts at this task and sample) to the attempt."""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for attempt in attempts:
        key = (attempt.task.id, attempt.sample)
        found[(*key, seen[key])] = attempt
        seen[key] += 1
    return found


def _check_same_samples(
    names: tuple[str, str], a: Mapping[Any, AttemptSummary], b: Mapping[Any, AttemptSummary]
) -> None:
    if a.keys() != b.keys():
        task, sample, repeat = min(a.keys() ^ b.keys())
        have, lack = names if (task, sample, repeat) in a else names[::-1]
        raise UsageError(
            f"{have!r} has sample {sample} of task {task!r} (repeat {repeat}), but {lack!r} does not; "
            "compare the same number of samples and seeds"
        )
