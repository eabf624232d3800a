"""How attempts become examples to learn from: which turns, how many demonstrations beside them, in which words."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...agents.core import Agent
from ...agents.models.core import Message, derived_seed
from ...agents.react import env_class, without_refused
from ...agents.trajectory import Step, Trajectory
from ...envs.core import AgentEnv
from .core import Example

Rename = Callable[[Sequence[Message], random.Random], Sequence[Message]]
"""A chat with other names in it, turn by turn."""


@dataclass(frozen=True)
class TrainingData:
    """What is learnt from attempts that passed."""

    mistakes: Literal["masked", "dropped", "learnt"] = "masked"
    """What becomes of mistakes in them: refused actions, and those that a later one superseded.

    `masked`: they stay to be seen, and what was done next is learnt, which demonstrations without mistakes lack;
    `dropped`: refused ones are left out as well, for environments where they change nothing; `learnt`: they are
    imitated like all others.
    """
    replay: float = 1.0
    """Demonstrations mixed in, as a multiple of the passed attempts; only for models that bring demonstrations."""
    rename: bool = True
    """Whether each epoch has the texts with other names, where the environment's seed family knows how to exchange
    them: so that names are read and not known by heart."""

    def examples(self, agent: Agent, trajectories: Iterable[Trajectory]) -> list[Example]:
        """Distinct attempts as `agent` sees them, each task weighing the same."""
        by_task: dict[str, dict[tuple[str, ...], Trajectory]] = {}
        for trajectory in trajectories:
            learnt = self.learnt(trajectory)
            actions = tuple(step.action for step in learnt.steps)
            if any(step.trainable for step in learnt.steps):
                by_task.setdefault(trajectory.task.id, {}).setdefault(actions, learnt)
        return [
            Example(chat, 1.0 / (len(attempts) * len(chats)))
            for attempts in by_task.values()
            for chats in map(agent.chats, attempts.values())
            for chat in chats
        ]

    def mixture(
        self, agent: Agent, passed: Sequence[Trajectory], demonstrations: Sequence[Trajectory], seed: int
    ) -> list[Example]:
        """Examples of passed attempts, with `replay` times as many demonstrations drawn by seed."""
        examples = self.examples(agent, passed)
        return [*examples, *self.demonstrated(agent, len(examples), demonstrations, seed)]

    def demonstrated(
        self, agent: Agent, examples: int, demonstrations: Sequence[Trajectory], seed: int
    ) -> list[Example]:
        """`replay` times as many demonstrations as there are `examples`, drawn by seed."""
        wanted = min(len(demonstrations), round(self.replay * examples))
        chosen = random.Random(derived_seed(seed, "replay")).sample(range(len(demonstrations)), wanted)
        return self.examples(agent, (demonstrations[i] for i in sorted(chosen)))

    def learnt(self, trajectory: Trajectory) -> Trajectory:
        """The part of an attempt that is learnt from."""
        if self.mistakes == "learnt":
            return trajectory
        steps = without_refused(trajectory.steps) if self.mistakes == "dropped" else trajectory.steps
        return replace(trajectory, steps=masked(steps, env_class(trajectory.task.env_id)))


def renamed_copies(examples: Sequence[Example], rename: Rename, copies: int, rng: random.Random) -> list[Example]:
    """So many copies of each, each in words of its own."""

    def retold(example: Example) -> Example:
        chat = zip(example.messages, rename(example.messages, rng), strict=True)
        # Tokens are those of the old words.
        return replace(
            example, messages=[old if old.content == new.content else replace(new, token_ids=None) for old, new in chat]
        )

    return [retold(example) for _ in range(copies) for example in examples]


def masked(steps: Sequence[Step], world: type[AgentEnv]) -> tuple[Step, ...]:
    """The same steps; those that were refused or superseded are not trained on."""
    bad = world.overwritten([step.action for step in steps])
    bad |= {number for number, step in enumerate(steps) if step.invalid is not None}
    return tuple(replace(step, trainable=False) if number in bad else step for number, step in enumerate(steps))
