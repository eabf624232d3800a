"""`Gate`: a round is adopted only if it does not lose, paired by task, on held-out tasks that no score is taken on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..agents.models.local import LocalModel
from ..agents.trajectory import Trajectory
from ..envs.registry import find
from .evaluation import compare
from .store import RunStore

if TYPE_CHECKING:
    from .practice import Practice


@dataclass(frozen=True)
class Gate:
    """When a round's model is adopted. Rounds that are not stay on record."""

    tasks: int = 0
    """Held-out tasks that each round is compared on; 0 adopts every round."""
    split: str = "valid_seen"
    seed: int = 12345
    """Of the choice of tasks: other ones than scores are taken on."""
    margin: float = 0.0
    """Adopted if success rises by at least so much."""

    def admits(self, store: RunStore, practice: Practice, base: Path, old: Path | None, new: Path) -> bool:
        """Compare two adapters of `base` (None is the base itself); the verdict is stored and stays the same."""
        if not self.tasks:
            return True
        tasks = find(practice.env).load().tasks(self.split, self.tasks, self.seed, **practice.env_params)

        def attempts(adapter: Path | None) -> list[Trajectory]:
            stage = f"gate/{adapter.name if adapter else 'base'}"
            model = LocalModel.load(base, adapter, slots=practice.together)
            jobs = [practice.job(task, practice.agent(model, 0.0), 0, stage) for task in tasks]
            return store.collect(stage, practice.make_env, jobs, at_once=practice.together)

        comparison = compare(attempts(old), attempts(new))
        verdict = {**comparison.to_json(), "adopted": comparison.difference >= self.margin}
        verdict = store.stage(f"verdict/{new.name}", dict, verdict)
        return bool(verdict["adopted"])
