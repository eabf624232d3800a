"""Going on from the middle of an attempt that somebody began: to see who recovers, and to search on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..envs.core import content_hash
from ..errors import UsageError
from .core import Agent, Episode
from .models.core import LanguageModel, Message
from .trajectory import AgentSpec, Step, Trajectory


class ResumingAgent:
    """Makes the turns of `prefix` again, which cost no model call and are not trained on, and then acts as `agent`.

    To `agent` the turns are its own. Raises `UsageError` when the environment answers them in another way than it did.
    """

    def __init__(self, agent: Agent, prefix: Sequence[Step]) -> None:
        self.prefix = tuple(replace(step, trainable=False) for step in prefix)
        self._agent = agent

    @property
    def models(self) -> Sequence[LanguageModel]:
        """Who thinks after the prefix."""
        return self._agent.models

    @property
    def name(self) -> str:
        """The agent's, and a hash of the actions that it goes on from."""
        return f"{self._agent.name}+{content_hash([step.action for step in self.prefix])[:6]}"

    @property
    def spec(self) -> AgentSpec | None:
        """The agent's."""
        return self._agent.spec

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """As the agent sees it; turns of the prefix are not trained on."""
        return self._agent.chats(attempt)

    async def act(self, episode: Episode) -> Step:
        """The recorded turn, or a new one after the last of them."""
        number = len(episode.steps)
        if number >= len(self.prefix):
            return await self._agent.act(episode)
        step = self.prefix[number]
        if step.observation != episode.observation:
            raise UsageError(
                f"task {episode.task.id!r} shows {episode.observation[:80]!r} before turn {number + 1} where "
                f"{step.observation[:80]!r} was recorded: the turns were made in another task or in another version "
                "of the environment; make them anew"
            )
        return step
