"""Replacements for seed policies in tests of `reproduce`: scripted models that open random doors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from door_env import COLOURS, demonstrate
from fakes import backend_of, learner_of, scripted_run
from kintsugi.agents.models import Message, Sampling
from kintsugi.envs import EnvSpec
from kintsugi.loops.learning.core import Example
from kintsugi.loops.run import Run
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe

JUDGE = "Judge."
"""System prompt of a verifier that judges every step Bad."""


def by_chance(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model that opens a door selected by the seed."""
    if messages[0].content == JUDGE:
        return "Judgement: Bad"
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % len(COLOURS)]}"


@dataclass
class Seeds:
    """A `SeedRun` that records its calls and the runs that it made."""

    env: str = "door_env:Doors"
    recipes: list[SeedRecipe] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def __call__(self, recipe: SeedRecipe, store: RunStore) -> Run:
        tasks = EnvSpec(self.env).tasks("train", 20, recipe.seed)
        shown = [demonstrate(task, number) for number, task in enumerate(tasks)]
        self.recipes.append(recipe)
        self.runs.append(scripted_run(store, self.env, by_chance, demonstrations=shown))
        return self.runs[-1]

    @property
    def trained(self) -> dict[str, list[Example]]:
        """Training examples of each adapter, by `<seed>/<name>`."""
        return {
            f"{n}/{name}": found for n, run in enumerate(self.runs) for name, found in learner_of(run).fitted.items()
        }

    @property
    def asked(self) -> list[str]:
        """Names of the models that were used."""
        return [name for run in self.runs for name in backend_of(run).opened]
