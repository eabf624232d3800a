"""Agents that tests refer to as `fake_agents:Class`: special cases, and agents with state besides their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kintsugi.agents.core import Episode, ModelAgent, RuleAgent
from kintsugi.agents.models import LanguageModel, Message, Sampling
from kintsugi.agents.models.core import derived_seed
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.trajectory import Call, Step, Trajectory


class UnnamedReAct(ReActAgent):
    """A subclass of ReAct without a registered name."""


class NamedReAct(ReActAgent):
    """A subclass of ReAct with another registered name."""

    kind = "named"


class WaitAgent(RuleAgent):
    """A rule that always waits. `WAIT_AGENT` is an instance, to be used without construction."""

    name = "ready"

    async def act(self, episode: Episode) -> Step:
        return Step(episode.observation, "", "wait")


WAIT_AGENT = WaitAgent()


class SyncAgent(RuleAgent):
    """An agent whose `act` is not a coroutine function."""

    name = "sleepy"

    def act(self, episode: Episode) -> Step:  # type: ignore[override]
        return Step(episode.observation, "", "wait")


class IncompleteAgent:
    """An agent that has only a name."""

    name = "torso"


def make_wait_agent(model: LanguageModel, loud: bool = False, lines: tuple[str, ...] = ("a",)) -> RuleAgent:
    """Create an agent from arguments, without a configuration class."""
    made = WaitAgent()
    made.name = f"plainly-{'loud' if loud else 'quiet'}-{'+'.join(lines)}@{model.version}"
    return made


# -- Memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryConfig:
    """Where `MemoryAgent` stores its mood."""

    memory: Literal["steps", "notes", "reflection"] = "steps"
    """`steps` are part of the attempt; `notes` and `reflection` exist only in the episode."""
    questions: int = 1
    """Number of model calls per turn. If more than 1, they are recorded in `Step.calls`."""
    max_tokens: int = 64


class MemoryAgent(ModelAgent[MemoryConfig]):
    """Draws a mood at its first turn. Later prompts depend on the mood and on the number of steps.

    Prompts do not depend on where the mood is stored, so that trees of different configurations can be compared.
    """

    config_type = MemoryConfig

    async def act(self, episode: Episode) -> Step:
        mood, calls = self._mood(episode), list[Call]()
        for number in range(self.config.questions):
            seed = derived_seed(episode.seed, len(episode.steps), number)
            prompt = f"{mood}|{len(episode.steps)}|{number}|{episode.observation}"
            completion = await self.model.complete(_question_chat(prompt), Sampling(1.0, self.config.max_tokens, seed))
            episode.prompt_tokens += completion.prompt_tokens
            calls.append(Call(f"question {number}", prompt, completion.text, completion.token_ids, completion.logprobs))
        if self.config.memory == "notes":
            episode.notes[-1].append(calls[-1].text)
        thought = f"mood {mood}"
        if self.config.questions > 1:
            return Step(episode.observation, thought, calls[-1].text, calls=tuple(calls))
        [call] = calls
        return Step(episode.observation, thought, call.text, text=call.text, token_ids=call.token_ids)

    def _mood(self, episode: Episode) -> int:
        drawn = derived_seed(episode.seed, "mood") % 1000
        if self.config.memory == "steps":
            return int(episode.steps[0].thought.removeprefix("mood ")) if episode.steps else drawn
        if self.config.memory == "notes":
            if not episode.notes:
                episode.notes.append([drawn])
            assert len(episode.notes[0]) == 1 + len(episode.steps), "a fork's notes are its own"
            return int(episode.notes[0][0])
        if episode.reflection is None:
            episode.reflection = Step(episode.observation, "", "", text=str(drawn), token_ids=())
        return int(episode.reflection.text or "")

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        return [
            [*_question_chat(call.prompt), Message("assistant", call.text, call.token_ids)]
            for step in attempt.steps
            for call in step.calls
        ]


def _question_chat(prompt: str) -> list[Message]:
    return [Message("system", "Say what you would do."), Message("user", prompt)]
