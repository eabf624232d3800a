"""Replacements for seed policies in tests of `reproduce`: scripted models that open random doors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from door_env import COLOURS, demonstrate
from fakes import backend_of, learner_of, scripted_run
from kintsugi.agents.models import Message, Sampling, Script
from kintsugi.agents.search import Uct
from kintsugi.agents.verifier import VerifierConfig
from kintsugi.benchmarks.reproduce.agent_r import ReproduceAgentR
from kintsugi.envs import EnvSpec
from kintsugi.loops.agent_r import AgentR
from kintsugi.loops.learning.core import Example, FitConfig
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.recovery import Recovery
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe

JUDGE = "Judge."
"""System prompt of a verifier that judges every step Bad."""


AGENT_R = ReproduceAgentR(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=AgentR(
        Practice(tasks=30),
        Attempts(temperature=1.0, at_once=16),
        FitConfig(epochs=1.0, lr=1e-4),
        Gate("off"),
        data=TrainingData(replay=0.25),
        search=Uct(candidates=2, iterations=4, max_depth=2),
        continue_search=Uct(candidates=2, iterations=1, max_depth=2),
        verifier=VerifierConfig(prompt=JUDGE),
        revisions=("I try",),
        later_epochs=0.5,
        recovery=Recovery(steps=1, max_beginnings=5, temperature=1.0),
    ),
    held_out=Measure(tasks=8, temperature=0.5),
    seeds=2,
)
"""Agent-R's comparison at a very small size, without a gate."""


def by_chance(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model that opens a door selected by the seed."""
    if messages[0].content == JUDGE:
        return "Judgement: Bad"
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % len(COLOURS)]}"


def without_the_role(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model that acts like `by_chance` and does not answer as a verifier."""
    return "No comment." if messages[0].content == JUDGE else by_chance(messages, sampling)


@dataclass
class Seeds:
    """A `SeedRun` that records its calls and the runs that it made."""

    env: str = "door_env:Doors"
    adapters: Mapping[str, Script] | None = None
    """Scripts that replace adapters, by name."""
    forgetful: Sequence[int] | None = None
    """Seeds whose adapters are replaced; None for all."""
    recipes: list[SeedRecipe] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def __call__(self, recipe: SeedRecipe, store: RunStore) -> Run:
        tasks = EnvSpec(self.env).tasks("train", 20, recipe.seed)
        shown = [demonstrate(task, number) for number, task in enumerate(tasks)]
        self.recipes.append(recipe)
        adapters = self.adapters if self.forgetful is None or recipe.seed in self.forgetful else None
        self.runs.append(scripted_run(store, self.env, by_chance, adapters, demonstrations=shown))
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
