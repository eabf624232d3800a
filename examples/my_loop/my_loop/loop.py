"""A loop: attempt each task until it passes, and learn from the attempts that did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kintsugi.loops import Loop, LoopConfig, Run, Stage, TrainingData, job


@dataclass(frozen=True)
class Persistence(LoopConfig):
    """At most `attempts.k` attempts at each task; those that passed need no further one."""

    data: TrainingData = field(default_factory=TrainingData)


def persist(run: Run, config: Persistence) -> Path | None:
    """Run the loop; returns the adapter, None when it did not help."""
    agent, split = run.acting(None, config.attempts), config.practice.split
    left, passed = list(config.practice.task_set(run.env, config.seed)), []
    for i in range(config.attempts.k):
        # Each go at what is left is a stage: a run that was killed goes on within it.
        stage = Stage("collect", "policy", split, i + 1)
        jobs = [job(task, agent, i, config.seed, f"persist/{i}") for task in left]
        done = [attempt for attempt in run.play(stage, jobs, config.attempts) if attempt.success]
        passed += done
        left = [task for task in left if task.id not in {attempt.task.id for attempt in done}]
    run.store.result(Stage("counts", "my_loop", split), lambda: {"passed": len(passed), "left": len(left)})
    examples = config.data.mixture(agent, passed, run.demonstrations, config.seed)
    adapter = run.train("my_loop@1", examples, config.fit, seed=config.seed)
    return adapter if config.admits(run, None, adapter) else None


LOOP = Loop("my-loop", "attempt each task until it passes", Persistence, persist, env="opposites")
