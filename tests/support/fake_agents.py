"""Agents that tests name as `fake_agents:Class`: odd ones, and ones that remember what their steps do not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kintsugi.agents.core import Episode, ModelAgent, RuleAgent
from kintsugi.agents.models import LanguageModel, Message, Sampling
from kintsugi.agents.models.core import derived_seed
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.trajectory import Call, Step, Trajectory


class Other(ReActAgent):
    """ReAct by another name."""


class Named(ReActAgent):
    """A subclass that a package offers under a name of its own."""

    kind = "named"


class Ready(RuleAgent):
    """A rule; `READY` is one that is ready as it is."""

    name = "ready"

    async def act(self, episode: Episode) -> Step:
        return Step(episode.observation, "", "wait")


READY = Ready()


class Sleepy(RuleAgent):
    """Its act is no coroutine."""

    name = "sleepy"

    def act(self, episode: Episode) -> Step:  # type: ignore[override]
        return Step(episode.observation, "", "wait")


class Torso:
    """Lacks nearly everything."""

    name = "torso"


def plainly(model: LanguageModel, loud: bool = False, lines: tuple[str, ...] = ("a",)) -> RuleAgent:
    """Made by a function without a configuration."""
    made = Ready()
    made.name = f"plainly-{'loud' if loud else 'quiet'}-{'+'.join(lines)}@{model.version}"
    return made


# -- Memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MindConfig:
    """Where an agent keeps what it drew at its first turn."""

    memory: Literal["steps", "notes", "reflection"] = "steps"
    """`steps` can be read by anybody; the others are forgotten with the episode."""
    questions: int = 1
    """How often it asks its model in a turn; more than once makes calls."""
    max_tokens: int = 64


class Mind(ModelAgent[MindConfig]):
    """Draws a mood at its first turn, and is led by it and by the length of its past ever after.

    What it asks its model does not depend on where the mood is kept, so that trees can be compared.
    """

    config_type = MindConfig

    async def act(self, episode: Episode) -> Step:
        mood, calls = self._mood(episode), list[Call]()
        for number in range(self.config.questions):
            seed = derived_seed(episode.seed, len(episode.steps), number)
            prompt = f"{mood}|{len(episode.steps)}|{number}|{episode.observation}"
            said = await self.model.complete(_asked(prompt), Sampling(1.0, self.config.max_tokens, seed))
            episode.prompt_tokens += said.prompt_tokens
            calls.append(Call(f"question {number}", prompt, said.text, said.token_ids, said.logprobs))
        if self.config.memory == "notes":
            episode.notes[-1].append(calls[-1].text)
        told = f"mood {mood}"
        if self.config.questions > 1:
            return Step(episode.observation, told, calls[-1].text, calls=tuple(calls))
        [call] = calls
        return Step(episode.observation, told, call.text, text=call.text, token_ids=call.token_ids)

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
            [*_asked(call.prompt), Message("assistant", call.text, call.token_ids)]
            for step in attempt.steps
            for call in step.calls
        ]


def _asked(prompt: str) -> list[Message]:
    return [Message("system", "Say what you would do."), Message("user", prompt)]
