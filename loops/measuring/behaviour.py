"""Behaviour of an agent beyond its success rate: repeated steps, new actions and revisions.

A recovery attempt starts with pre-filled steps of a failed attempt. They are the leading steps that are not trainable.
All steps after them are the agent's *own steps*.
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
    """Means over attempts, without those that an infrastructure failure ended. JSON-serialisable through `to_json`."""

    attempts: int
    own_steps: float
    """Mean number of own steps per attempt."""
    repeated_share: float
    """Share of own steps that repeat an earlier step of the attempt: same action, same next observation."""
    stuck_share: float
    """Share of attempts without an own step that was both accepted and new."""
    turns_until_new: float | None
    """Mean number of own steps up to and including the first accepted new action, over attempts that have one."""
    revising_share: float
    """Share of attempts with a revision among the own thoughts."""
    turns_until_revision: float | None
    """Mean number of own steps up to and including the first revision, over attempts that have one."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-serialisable dictionary."""
        return asdict(self)


def measure_behaviour(attempts: Iterable[Trajectory], revisions: Sequence[str]) -> Behaviour:
    """Measure the behaviour in `attempts`.

    Args:
        attempts: Attempts of one agent.
        revisions: Beginnings of thoughts that count as a revision.

    Returns:
        The means over all attempts that no infrastructure failure ended; zeros and None if there are none.
    """
    counted = [attempt for attempt in attempts if attempt.outcome != "infra_error"]
    own = [len(attempt.steps) - prefilled_steps(attempt) for attempt in counted]
    new = [turns for attempt in counted if (turns := _first_own_step(attempt, _is_new)) is not None]
    revised = [
        turns for attempt in counted if (turns := _first_own_step(attempt, lambda a, n: _is_revision(a, n, revisions)))
    ]
    return Behaviour(
        attempts=len(counted),
        own_steps=fmean(own) if own else 0.0,
        repeated_share=sum(map(_count_repeated, counted)) / max(1, sum(own)),
        stuck_share=1 - len(new) / len(counted) if counted else 0.0,
        turns_until_new=fmean(new) if new else None,
        revising_share=len(revised) / len(counted) if counted else 0.0,
        turns_until_revision=fmean(revised) if revised else None,
    )


def prefilled_steps(attempt: Trajectory) -> int:
    """Return the number of pre-filled steps: leading steps that are not trainable."""
    return len(list(itertools.takewhile(lambda step: not step.trainable, attempt.steps)))


def next_observations(attempt: Trajectory) -> list[str]:
    """Return the observation that followed each step."""
    return [*(step.observation for step in attempt.steps[1:]), attempt.final_observation]


def _count_repeated(attempt: Trajectory) -> int:
    seen = set[tuple[str, str]]()
    count, start = 0, prefilled_steps(attempt)
    for number, (step, next_observation) in enumerate(zip(attempt.steps, next_observations(attempt), strict=True)):
        count += number >= start and (step.action, next_observation) in seen
        seen.add((step.action, next_observation))
    return count


def _first_own_step(attempt: Trajectory, predicate: Any) -> int | None:
    start = prefilled_steps(attempt)
    positions = (number - start + 1 for number in range(start, len(attempt.steps)) if predicate(attempt, number))
    return next(positions, None)


def _is_new(attempt: Trajectory, number: int) -> bool:
    step = attempt.steps[number]
    return step.invalid is None and all(step.action != earlier.action for earlier in attempt.steps[:number])


def _is_revision(attempt: Trajectory, number: int, revisions: Sequence[str]) -> bool:
    step: Step = attempt.steps[number]
    return step.thought.startswith(tuple(revisions))
