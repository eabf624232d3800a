"""A loop that attempts each task until it is solved, and trains on the successful attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kintsugi.loops import Loop, LoopConfig, Run, Stage, TrainingData, job


@dataclass(frozen=True)
class PersistConfig(LoopConfig):
    """Configuration of the loop. Each task gets at most `attempts.k` attempts."""

    data: TrainingData = field(default_factory=TrainingData)


def persist(run: Run, config: PersistConfig) -> Path | None:
    """Run the loop. Return the adapter, or None if the gate rejects it."""
    agent, split = run.make_agent(None, config.attempts), config.practice.split
    unsolved, passed = list(config.practice.task_set(run.env, config.seed)), []
    for i in range(config.attempts.k):
        # Each pass over the unsolved tasks is a stage, so that an interrupted run resumes within it.
        stage = Stage("collect", "policy", split, i + 1)
        jobs = [job(task, agent, i, config.seed, f"persist/{i}") for task in unsolved]
        solved = [attempt for attempt in run.play(stage, jobs, config.attempts) if attempt.success]
        passed += solved
        unsolved = [task for task in unsolved if task.id not in {attempt.task.id for attempt in solved}]
    run.store.result(Stage("counts", "my_loop", split), lambda: {"passed": len(passed), "left": len(unsolved)})
    examples = config.data.mixture(agent, passed, run.demonstrations, config.seed)
    adapter = run.train("my_loop@1", examples, config.fit, seed=config.seed)
    return adapter if config.passes_gate(run, None, adapter) else None


LOOP = Loop("my-loop", "attempt each task until it is solved", PersistConfig, persist, env="opposites")
