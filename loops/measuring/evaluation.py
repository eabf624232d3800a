"""`score` and `compare`: what a list of attempts is worth, and whether another list is worth more."""

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
"""Whether actions were sampled freely or among the admissible ones."""
T = TypeVar("T")
UNTYPED = "any"
"""The type of a task whose `params` name none."""


@dataclass(frozen=True)
class Attempt:
    """What a score needs to know of a `Trajectory`: small, so that a hundred thousand of them fit in memory."""

    task: Task
    sample: int
    outcome: str
    steps: int
    invalid: int
    """Actions that the environment refused."""
    sampled: int
    """Tokens that the model wrote."""
    read: int
    """Tokens that the model read, cached ones included."""
    model: str
    seed: int
    agent: str = ""

    @classmethod
    def of(cls, trajectory: Trajectory) -> Self:
        """The facts of a trajectory, without its texts."""
        return cls(
            task=trajectory.task,
            sample=trajectory.sample,
            outcome=trajectory.outcome,
            steps=len(trajectory.steps),
            invalid=trajectory.invalid_actions,
            sampled=trajectory.sampled_tokens,
            read=trajectory.prompt_tokens,
            model=trajectory.model,
            seed=trajectory.seed,
            agent=trajectory.agent,
        )

    @property
    def counts(self) -> bool:
        """Whether the attempt says anything about the agent: infra errors do not."""
        return self.outcome != "infra_error"

    @property
    def success(self) -> bool:
        """Whether the environment said that the task was done."""
        return self.outcome == "success"


Attempts = Iterable[Trajectory | Attempt]


@dataclass(frozen=True)
class Score:
    """How well one agent did on one TaskSet. JSON-clean through `to_json` and `from_json`."""

    name: str
    """Who was measured."""
    taskset: str
    """`TaskSet.hash`: only scores with the same one can be compared."""
    n: int
    """Attempts that count: infra errors are not among them."""
    infra_errors: int
    """Attempts that a broken browser, container or server ended; in no other number here."""
    success: Rate
    by_type: dict[str, Rate]
    """By `Task.params["type"]`; types that only infra errors were met on are absent."""
    outcomes: dict[str, int]
    """How many attempts ended how, infra errors included."""
    mean_steps: float
    """Actions an attempt."""
    invalid_share: float
    """Share of all actions that the environment refused, in [0, 1]."""
    sampled_tokens: int
    """Tokens that the model wrote, in all attempts that count."""
    read_tokens: int
    """Tokens that the model read, cached ones included, in all attempts that count."""
    models: tuple[str, ...]
    """Versions of the models that acted; more than one when training seeds are pooled."""
    seeds: tuple[int, ...]
    """What to start from to make the attempts again."""
    seconds: float | None = None
    """Wall time of the evaluation, where it was measured."""
    decoding: Decoding = "unstated"
    step_cap: int | None = None
    """Actions after which the environment cut an attempt off, where it was stated."""
    agents: tuple[str, ...] = ()
    """`Agent.name` of who acted; more than one when training seeds are pooled."""
    repeatable: bool | None = None
    """Whether the same tokens would be sampled again (`Backend.repeatable`); None where nobody said."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else has to be known to measure this again; JSON-clean."""

    def to_json(self) -> dict[str, Any]:
        """JSON-clean; `from_json` gives an equal score."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave, before or after JSON; raises `KeyError` or `TypeError` when it is not that."""
        values = dict(data)
        values["success"] = Rate(**values["success"])
        values["by_type"] = {name: Rate(**part) for name, part in values["by_type"].items()}
        values |= {name: tuple(values[name]) for name in ("models", "seeds", "agents")}
        return cls(**values)


@dataclass(frozen=True)
class Comparison:
    """Whether `b` beats `a` on the same tasks, attempt by attempt. JSON-clean through `to_json` and `from_json`."""

    a: str
    """The first one's name."""
    b: str
    """The second one's name."""
    taskset: str
    """`TaskSet.hash` of the tasks that both were measured on."""
    n: int
    """Pairs that count: same task, same sample, neither ended by an infra error."""
    dropped: int
    """Pairs left out because an infra error ended one of them."""
    rate_a: float
    """Share of the pairs in which `a` succeeded."""
    rate_b: float
    """Share of the pairs in which `b` succeeded."""
    difference: float
    """`rate_b - rate_a`, in [-1, 1]."""
    low: float
    """Lower end of the difference's bootstrap interval, whole tasks drawn again."""
    high: float
    """Upper end of the difference's bootstrap interval."""
    level: float
    """How often such intervals hold the truth."""
    only_a: int
    """Pairs in which only `a` succeeded."""
    only_b: int
    """Pairs in which only `b` succeeded."""
    p: float
    """Two-sided, of the test named in `test`; not adjusted for other comparisons made beside this one."""
    test: Literal["exact McNemar", "exact sign-flip by task"]
    """McNemar for one pair a task; with several, `a` and `b` are swapped within whole tasks."""

    def to_json(self) -> dict[str, Any]:
        """JSON-clean; `from_json` gives an equal comparison."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave; raises `TypeError` when it is not that."""
        return cls(**data)


def score(
    name: str,
    tasks: TaskSet,
    trajectories: Attempts,
    *,
    seed: int = 0,
    seconds: float | None = None,
    decoding: Decoding = "unstated",
    step_cap: int | None = None,
    seeds: Sequence[int] | None = None,
    repeatable: bool | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Score:
    """Measure an agent by its attempts at `tasks`, those of several training seeds together if need be.

    `seed` is the bootstrap's; `seeds` replace those of the attempts where these are derived from them. Raises
    `UsageError` for an attempt at another task and for a task without any (a score of part of a set must not carry the
    set's hash), and `InfraError` when infra errors ended every attempt, for then nothing was measured.
    """
    attempts = _checked(name, tasks, trajectories)
    counted = _counted(name, attempts)
    steps = sum(a.steps for a in counted)
    return Score(
        name=name,
        taskset=tasks.hash,
        n=len(counted),
        infra_errors=len(attempts) - len(counted),
        success=_rate(counted, seed),
        by_type={kind: _rate(part, seed) for kind, part in _grouped(counted, task_type_of).items()},
        outcomes=dict(sorted(Counter(a.outcome for a in attempts).items())),
        mean_steps=steps / len(counted),
        invalid_share=sum(a.invalid for a in counted) / steps if steps else 0.0,
        sampled_tokens=sum(a.sampled for a in counted),
        read_tokens=sum(a.read for a in counted),
        models=tuple(sorted({a.model for a in counted})),
        seeds=tuple(sorted({a.seed for a in counted})) if seeds is None else tuple(seeds),
        seconds=seconds,
        decoding=decoding,
        step_cap=step_cap,
        agents=tuple(sorted({a.agent for a in counted} - {""})),
        repeatable=repeatable,
        settings=dict(settings or {}),
    )


def compare(a: Attempts, b: Attempts, *, names: tuple[str, str] = ("a", "b"), seed: int = 0) -> Comparison:
    """Compare two agents on the same tasks, paired by task and sample; `seed` is the bootstrap's.

    When a task and sample occur several times (training seeds pooled), the first of `a` is paired with the first of `b`
    and so on. Raises `UsageError` when the tasks or the numbers of attempts differ, `InfraError` when no pair counts.
    """
    first, second = [_attempt(t) for t in a], [_attempt(t) for t in b]
    tasks = _check_same_tasks(names, first, second)
    sides = _occurrences(first), _occurrences(second)
    _check_same_samples(names, *sides)
    pairs = [(one, sides[1][key]) for key, one in sides[0].items()]
    counted = [(one, two) for one, two in pairs if one.counts and two.counts]
    if not counted:
        raise InfraError(
            f"{names[0]!r} against {names[1]!r}: infra errors ended every one of {len(pairs)} pairs; "
            "mend the cause and repeat"
        )
    by_task = list(_grouped(counted, lambda pair: pair[0].task.id).values())
    deltas = [sum(two.success - one.success for one, two in part) for part in by_task]
    interval = paired_difference(deltas, [len(part) for part in by_task], seed=seed)
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
    """The type that scores are split by: `params["type"]`, or `any`."""
    return str(task.params.get("type", UNTYPED))


def task_type_of(attempt: Attempt) -> str:
    """`task_type` of the attempt's task."""
    return task_type(attempt.task)


def _attempt(item: Trajectory | Attempt) -> Attempt:
    return Attempt.of(item) if isinstance(item, Trajectory) else item


def _counted(name: str, attempts: Sequence[Attempt]) -> list[Attempt]:
    counted = [a for a in attempts if a.counts]
    if not counted:
        raise InfraError(
            f"score {name!r}: infra errors ended all {len(attempts)} attempts, so nothing was measured; "
            "mend the cause and repeat"
        )
    return counted


def _rate(attempts: Sequence[Attempt], seed: int) -> Rate:
    clusters = _grouped(attempts, lambda a: a.task.id).values()
    return rate([sum(a.success for a in c) for c in clusters], [len(c) for c in clusters], seed=seed)


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(sorted(groups.items()))


def _checked(name: str, tasks: TaskSet, trajectories: Attempts) -> list[Attempt]:
    attempts = [_attempt(t) for t in trajectories]
    for attempt in attempts:
        if tasks[attempt.task.id] != attempt.task:
            raise UsageError(
                f"score {name!r}: the attempt at {attempt.task.id!r} was made on another task of that id than the one "
                f"in the set {tasks.hash}; score it against the set that it was made on"
            )
    missing = {task.id for task in tasks} - {attempt.task.id for attempt in attempts}
    if missing or not attempts:
        raise UsageError(
            f"score {name!r}: {len(missing)} of the {len(tasks)} tasks of the set {tasks.hash} have no attempt, "
            f"the first is {min(missing, default='none')!r}; play them all, or score against the smaller set"
        )
    return attempts


def _check_same_tasks(names: tuple[str, str], a: Sequence[Attempt], b: Sequence[Attempt]) -> TaskSet:
    one, two = TaskSet({t.task for t in a}), TaskSet({t.task for t in b})
    if one.hash != two.hash:
        shared = len({t.hash for t in one} & {t.hash for t in two})
        raise UsageError(
            f"{names[0]!r} was measured on the TaskSet {one.hash} of {len(one)} tasks and {names[1]!r} on {two.hash} "
            f"of {len(two)}; they share {shared}, so their scores cannot be compared: evaluate both on the same set"
        )
    return one


def _occurrences(attempts: Sequence[Attempt]) -> dict[tuple[str, int, int], Attempt]:
    """Attempts by task id, sample, and how many of the same task and sample came before."""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for attempt in attempts:
        key = (attempt.task.id, attempt.sample)
        found[(*key, seen[key])] = attempt
        seen[key] += 1
    return found


def _check_same_samples(names: tuple[str, str], a: Mapping[Any, Attempt], b: Mapping[Any, Attempt]) -> None:
    if a.keys() != b.keys():
        task, sample, repeat = min(a.keys() ^ b.keys())
        have, lack = names if (task, sample, repeat) in a else names[::-1]
        raise UsageError(
            f"{have!r} has attempt {sample} at task {task!r} (repeat {repeat}) and {lack!r} has not; "
            "compare the same number of samples and seeds"
        )
