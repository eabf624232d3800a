"""Self-training as in ReST-EM (Singh et al., 2024): sample, keep attempts that passed, train, repeat.

E-step: D_i = {(x, y): y ~ M_i(x), E(x, y) = 1}        M-step: M_{i+1} = SFT(M_0, D_i)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .learning.training_data import TrainingData
from .registry import Loop, LoopConfig
from .run import Run
from .runs.stages import Stage


@dataclass(frozen=True)
class SelfTraining(LoopConfig):
    """Self-training (ReST-EM)."""

    data: TrainingData = field(default_factory=TrainingData)
    rounds: int = 1
    """Number of rounds; each samples with the last adopted adapter and trains a new one from the base."""


def self_training(run: Run, config: SelfTraining) -> Path | None:
    """Run the loop; return the last adopted adapter, or None if none was adopted."""
    practice, seed = config.practice, config.seed
    tasks = practice.task_set(run.env, seed)
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        # E-STEP: sample from the current policy, keep attempts that passed
        agent = run.make_agent(adopted, config.attempts)
        stream = "collect/policy" if i == 1 else f"collect/policy@{i}"
        stage = Stage("collect", "policy", practice.split, i)
        attempts = run.attempt(stage, agent, tasks, config.attempts, seed=seed, stream=stream)
        passed = [attempt for attempt in attempts if attempt.success]

        # M-STEP: train from the base, so that errors of early rounds do not accumulate
        examples = config.data.mixture(agent, passed, run.demonstrations, seed)
        adapter = run.train(f"self_training@{i}", examples, config.fit, seed=seed, rename=config.data.rename)
        counts = {"attempts": len(attempts), "passed": len(passed), "examples": len(examples)}
        run.store.result(Stage("counts", "self_training", practice.split, i), dict, counts)
        if config.passes_gate(run, adopted, adapter):
            adopted = adapter
    return adopted


LOOP = Loop("self-training", "train on attempts that passed (ReST-EM)", SelfTraining, self_training)
