"""Self-training in ReST-EM's manner (Singh et al., 2024): sample, keep what the environment passed, train, repeat.

E-step: D_i = {(x, y): y ~ M_i(x), E(x, y) = 1}        M-step: M_{i+1} = SFT(M_0, D_i)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..agents.models.local import LocalModel
from ..agents.trajectory import Trajectory
from .gate import Gate
from .practice import Practice
from .store import RunStore


@dataclass(frozen=True)
class SelfTraining:
    """Configuration of self-training."""

    practice: Practice = field(default_factory=Practice)
    rounds: int = 1
    """Each round samples with the model of the last adopted one and trains anew from the base."""
    gate: Gate = field(default_factory=Gate)


def self_training(
    store: RunStore, base: Path, demonstrations: Sequence[Trajectory], config: SelfTraining
) -> Path | None:
    """Run the loop in `store`; returns the last adopted adapter, None when no round helped."""
    practice = config.practice
    tasks = practice.task_set()
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        # E-STEP: sample from the current policy, keep what passed
        model = LocalModel.load(base, adopted, slots=practice.together)
        stage = "collect/policy" if i == 1 else f"collect/policy@{i}"
        attempts = practice.attempt(store, stage, model, tasks, range(practice.k))
        passed = [attempt for attempt in attempts if attempt.success]

        # M-STEP: always from the base, so that errors of early rounds do not pile up
        examples = practice.mixture(passed, demonstrations)
        adapter = practice.train(store, f"self_training@{i}", base, examples)
        counts = {"attempts": len(attempts), "passed": len(passed), "examples": len(examples)}
        store.stage(f"self_training/round{i}", dict, counts)
        if config.gate.admits(store, practice, base, adopted, adapter):
            adopted = adapter
    return adopted
