"""`TrainingData`: turns attempts and demonstrations into training examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...agents.core import Agent
from ...agents.models.core import Message, derived_seed
from ...agents.react import drop_refused_steps, env_class
from ...agents.trajectory import Step, Trajectory
from ...envs.core import AgentEnv
from .core import Example

Rename = Callable[[Sequence[Message], random.Random], Sequence[Message]]
"""Returns a chat with entity names exchanged, turn by turn."""


@dataclass(frozen=True)
class TrainingData:
    """How passed attempts become training examples."""

    mistakes: Literal["masked", "dropped", "trained"] = "masked"
    """Refused and overwritten actions: `masked` (no loss), `dropped` (refused ones; others masked), or `trained`."""
    replay: float = 1.0
    """Number of demonstrations to mix in, as a multiple of the examples from passed attempts."""
    rename: bool = True
    """Exchange entity names each epoch to prevent memorisation, where the environment's seed family supports it."""

    def examples(self, agent: Agent, trajectories: Iterable[Trajectory]) -> list[Example]:
        """Render attempts as training examples.

        Attempts at a task with equal actions count once. The weights of each task sum to 1.

        Args:
            agent: Agent whose prompt and chat format are used.
            trajectories: Attempts to train on, normally those that passed.

        Returns:
            One example per chat of an attempt, grouped by task; attempts without a trainable step are left out.
        """
        by_task: dict[str, dict[tuple[str, ...], Trajectory]] = {}
        for trajectory in trajectories:
            trained = self.for_training(trajectory)
            actions = tuple(step.action for step in trained.steps)
            if any(step.trainable for step in trained.steps):
                by_task.setdefault(trajectory.task.id, {}).setdefault(actions, trained)
        return [
            Example(chat, 1.0 / (len(attempts) * len(chats)))
            for attempts in by_task.values()
            for chats in map(agent.chats, attempts.values())
            for chat in chats
        ]

    def mixture(
        self, agent: Agent, passed: Sequence[Trajectory], demonstrations: Sequence[Trajectory], seed: int
    ) -> list[Example]:
        """Return the examples of passed attempts, followed by those of sampled demonstrations.

        Args:
            agent: Agent whose prompt and chat format are used.
            passed: Attempts that passed.
            demonstrations: Attempts of an expert to sample from without replacement.
            seed: Seed of the sampling.

        Returns:
            The examples of `examples(agent, passed)`, then those of `demonstration_examples`.
        """
        examples = self.examples(agent, passed)
        return [*examples, *self.demonstration_examples(agent, len(examples), demonstrations, seed)]

    def demonstration_examples(
        self, agent: Agent, examples: int, demonstrations: Sequence[Trajectory], seed: int
    ) -> list[Example]:
        """Return the examples of sampled demonstrations.

        Args:
            agent: Agent whose prompt and chat format are used.
            examples: Number of examples to mix the demonstrations with; `replay` times as many are sampled.
            demonstrations: Attempts of an expert to sample from without replacement.
            seed: Seed of the sampling.

        Returns:
            The examples, in the order of `demonstrations`.
        """
        count = min(len(demonstrations), round(self.replay * examples))
        sampled = random.Random(derived_seed(seed, "replay")).sample(range(len(demonstrations)), count)
        return self.examples(agent, (demonstrations[i] for i in sorted(sampled)))

    def for_training(self, trajectory: Trajectory) -> Trajectory:
        """Return a copy of an attempt with its mistakes masked or dropped, as `mistakes` configures.

        Args:
            trajectory: The attempt, with its refused actions marked in `Step.invalid`.
        """
        if self.mistakes == "trained":
            return trajectory
        steps = drop_refused_steps(trajectory.steps) if self.mistakes == "dropped" else trajectory.steps
        return replace(trajectory, steps=mask_mistakes(steps, env_class(trajectory.task.env_id)))


def renamed_copies(examples: Sequence[Example], rename: Rename, copies: int, rng: random.Random) -> list[Example]:
    """Return `copies` copies of each example, each with other entity names.

    Args:
        examples: Examples to copy.
        rename: Exchanges names in one chat.
        copies: Number of copies per example.
        rng: Random source for `rename`.

    Returns:
        All examples in order, `copies` times; renamed turns have no token ids.
    """

    def rename_example(example: Example) -> Example:
        chat = zip(example.messages, rename(example.messages, rng), strict=True)
        # The token ids of a renamed turn spell the old names.
        return replace(
            example, messages=[old if old.content == new.content else replace(new, token_ids=None) for old, new in chat]
        )

    return [rename_example(example) for _ in range(copies) for example in examples]


def mask_mistakes(steps: Sequence[Step], env_type: type[AgentEnv]) -> tuple[Step, ...]:
    """Return the steps with refused and overwritten actions marked as not trainable."""
    accepted = [number for number, step in enumerate(steps) if step.invalid is None]
    overwritten = {accepted[i] for i in env_type.overwritten([steps[number].action for number in accepted])}
    trainable = set(accepted) - overwritten
    return tuple(step if number in trainable else replace(step, trainable=False) for number, step in enumerate(steps))
