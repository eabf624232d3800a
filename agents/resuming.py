"""`ResumingAgent` continues an attempt from recorded steps, for measuring recovery and for search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..envs.core import content_hash
from ..errors import UsageError
from .core import Agent, Episode
from .models.core import LanguageModel, Message
from .trajectory import AgentSpec, Step, Trajectory


class ResumingAgent:
    """Replays recorded steps, then acts as another agent.

    The replayed steps need no model call and are excluded from the loss. The other agent treats them as its own.
    """

    def __init__(self, agent: Agent, prefix: Sequence[Step]) -> None:
        """Create the agent.

        Args:
            agent: Acts after the last step of `prefix`.
            prefix: The steps to replay.
        """
        self.prefix = tuple(replace(step, trainable=False) for step in prefix)
        self._agent = agent

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The models of the other agent."""
        return self._agent.models

    @property
    def name(self) -> str:
        """Name of the other agent, followed by a hash of the replayed actions."""
        return f"{self._agent.name}+{content_hash([step.action for step in self.prefix])[:6]}"

    @property
    def spec(self) -> AgentSpec | None:
        """Specification of the other agent."""
        return self._agent.spec

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return the chats of the other agent. Turns of the prefix are excluded from the loss."""
        return self._agent.chats(attempt)

    async def act(self, episode: Episode) -> Step:
        """Return the next recorded step, or a step of the other agent after the last one.

        Raises:
            UsageError: If the observation differs from the recorded one.
        """
        number = len(episode.steps)
        if number >= len(self.prefix):
            return await self._agent.act(episode)
        step = self.prefix[number]
        if step.observation != episode.observation:
            raise UsageError(
                f"task {episode.task.id!r} shows {episode.observation[:80]!r} before turn {number + 1}; expected the "
                f"recorded observation {step.observation[:80]!r}: record the steps again with this task and this "
                "version of the environment"
            )
        return step
