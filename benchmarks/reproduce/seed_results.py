"""What each seed of a comparison showed: one small JSON file per seed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ...envs.reading import parse_json
from ...errors import UsageError


@dataclass(frozen=True)
class SeedResult:
    """What one seed showed. JSON-serialisable through `asdict` and `from_json`."""

    seed: int
    """Number of the seed."""
    task_sets: dict[str, str]
    """`TaskSet.hash` of the held-out tasks, by name."""
    outcomes: dict[str, dict[str, str]]
    """For each model and task set one character per task, ordered by id: `1` success, `0` none, `-` not known."""
    examples: dict[str, int]
    """Number of training examples per epoch, by trained model."""
    updates: dict[str, int]
    """Number of optimiser steps, by trained model. Empty if the learner does not record it."""
    counts: dict[str, Any]
    """What the loop counted, such as the numbers of attempts that passed, failed and were mended."""
    seconds: float | None = None
    """Wall time in seconds. None if the seed was resumed."""
    cpu_seconds: float | None = None
    """CPU time of all threads in seconds. None if the seed was resumed."""
    tasks: dict[str, list[str]] = field(default_factory=dict)
    """Task ids of the sets that differ between seeds, such as bad beginnings: one per character of the outcomes."""
    missing: dict[str, str] = field(default_factory=dict)
    """Models that this seed does not have, and why."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What the arithmetic depends on: the number of threads and the instruction set of torch's kernels."""

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Return the result of one file. Raises `UsageError` if the text is not one; `path` names the file."""
        try:
            found = cls(**parse_json(text))
            words = [word for sets in found.outcomes.values() for word in sets.values()]
            if not words or not all(set(word) <= set("01-") for word in words):
                raise ValueError("outcomes are other characters than 0, 1 and -")
            for name, ids in found.tasks.items():
                if any(len(sets[name]) != len(ids) for sets in found.outcomes.values()):
                    raise ValueError(f"the outcomes of {name} are not one for each of its tasks")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{path} is not the result of a seed ({error}); remove it, and the seed is played again"
            ) from None
        return found


def result_file(folder: Path, seed: int) -> Path:
    """Return the file of a seed's result."""
    return folder / f"seed-{seed}.json"


def write_result(folder: Path, result: SeedResult) -> None:
    """Write a seed's result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    final = result_file(folder, result.seed)
    unfinished = final.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(result), indent=1, sort_keys=True) + "\n")
    os.replace(unfinished, final)


def read_results(folder: Path) -> list[SeedResult]:
    """Return the results of all finished seeds, ordered by seed. Raises `UsageError` if a file is not a result."""
    files = folder.glob("seed-*.json")
    return sorted((SeedResult.from_json(each.read_text(), each) for each in files), key=lambda found: found.seed)
