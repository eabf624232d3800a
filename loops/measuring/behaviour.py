"""How an agent goes about it, beside whether it succeeds: loops, and how soon it turns round after a bad beginning.

An attempt's own steps are those after its bad beginning, which are the steps at its start that are not trainable.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from ...agents.trajectory import Step, Trajectory


@dataclass(frozen=True)
class Behaviour:
    """Means over attempts; infra errors are left out."""

    attempts: int
    own_steps: float
    """Steps an attempt, its bad beginning not counted."""
    repeated: float
    """Share of own steps that the attempt had made before and that were answered as before: loops."""
    stuck: float
    """Share of attempts in which no own step was both accepted and new."""
    turns_until_new: float | None
    """Own steps up to the first that was accepted and not made before, in attempts that have one; 1 is at once."""
    revising: float
    """Share of attempts in which an own thought takes back what was done."""
    turns_until_revision: float | None
    """Own steps up to the first such thought, in attempts that have one."""

    def to_json(self) -> dict[str, Any]:
        """JSON-clean."""
        return asdict(self)


def behaviour(attempts: Iterable[Trajectory], revisions: Sequence[str]) -> Behaviour:
    """Measure `attempts`; `revisions` are the thoughts that take something back."""
    counted = [attempt for attempt in attempts if attempt.outcome != "infra_error"]
    own = [len(attempt.steps) - beginning(attempt) for attempt in counted]
    new = [turns for attempt in counted if (turns := _first(attempt, _is_new)) is not None]
    revised = [turns for attempt in counted if (turns := _first(attempt, lambda a, n: _takes_back(a, n, revisions)))]
    return Behaviour(
        attempts=len(counted),
        own_steps=fmean(own) if own else 0.0,
        repeated=sum(map(_repeated, counted)) / max(1, sum(own)),
        stuck=1 - len(new) / len(counted) if counted else 0.0,
        turns_until_new=fmean(new) if new else None,
        revising=len(revised) / len(counted) if counted else 0.0,
        turns_until_revision=fmean(revised) if revised else None,
    )


def beginning(attempt: Trajectory) -> int:
    """How many steps the attempt was begun with."""
    return len(list(itertools.takewhile(lambda step: not step.trainable, attempt.steps)))


def answers(attempt: Trajectory) -> list[str]:
    """What each step led to."""
    return [*(step.observation for step in attempt.steps[1:]), attempt.final_observation]


def _repeated(attempt: Trajectory) -> int:
    seen = set[tuple[str, str]]()
    count, begun = 0, beginning(attempt)
    for number, (step, answer) in enumerate(zip(attempt.steps, answers(attempt), strict=True)):
        count += number >= begun and (step.action, answer) in seen
        seen.add((step.action, answer))
    return count


def _first(attempt: Trajectory, fits: Any) -> int | None:
    begun = beginning(attempt)
    found = (number - begun + 1 for number in range(begun, len(attempt.steps)) if fits(attempt, number))
    return next(found, None)


def _is_new(attempt: Trajectory, number: int) -> bool:
    step = attempt.steps[number]
    return step.invalid is None and all(step.action != earlier.action for earlier in attempt.steps[:number])


def _takes_back(attempt: Trajectory, number: int, revisions: Sequence[str]) -> bool:
    step: Step = attempt.steps[number]
    return step.thought.startswith(tuple(revisions))
