"""The reflector of Re-ReST: reads a failed attempt, says what should have been done, then plays the task live.

The attempt reaches it as the environment showed it; nothing hidden is added (Dou et al., 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments import plain
from ..envs.core import content_hash
from ..errors import TooLongError
from .core import Episode
from .models.core import LanguageModel, Message, Sampling, derived_seed
from .react import ReActAgent, ReActConfig, observation_text, render_turns, turn_text
from .trajectory import AgentSpec, Step, Trajectory

SYSTEM = (
    "You are shown a failed attempt at a task in a text world. First say in one line that starts with 'Reflection:' "
    "what should have been done. Then act: answer each observation with one line that starts with 'Thought:' and one "
    "line that starts with 'Action:'."
)
OPENING = "Reflection: I should have"
"""The assistant's first turn is made to start so (the original's forced start)."""
OUTCOMES = {"truncated": "It ran out of steps.", "failure": "It failed.", "success": "It succeeded."}


@dataclass(frozen=True)
class ReflectorConfig:
    """How failed attempts are shown and reflections drawn."""

    max_turns: int = 40
    """Of the attempt's distinct turns, the last so many are shown; fewer where these do not fit the model's window."""
    temperature: float = 0.0
    """Of the reflection; the turns after it use the acting agent's."""
    max_tokens: int = 48
    """Of the reflection."""
    system: str = SYSTEM
    """The system prompt."""


class ReflectingAgent:
    """A ReAct agent that first reads one failed attempt at its task."""

    def __init__(self, acting: ReActAgent, failure: Trajectory, config: ReflectorConfig | None = None) -> None:
        """`acting` takes the turns; its model reflects."""
        self.failure = failure
        self.config = config or ReflectorConfig()
        self._acting = acting

    @property
    def name(self) -> str:
        """E.g. `reflecting-1f0c2a@<version of the model>`; the hash is of the configuration and the failed attempt."""
        failed = [step.action for step in self.failure.steps]
        hashed = content_hash([plain(self.config), plain(self._acting.config), failed])[:6]
        return f"reflecting-{hashed}@{self._acting.model.version}"

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The acting agent's."""
        return self._acting.models

    @property
    def spec(self) -> AgentSpec | None:
        """The acting agent's: its attempts are read, and learnt, as if nobody had reflected."""
        return self._acting.spec

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """The attempt without the reflection, for the agent that is to do without it; see `reflector_chat`."""
        return self._acting.chats(attempt)

    async def act(self, episode: Episode) -> Step:
        """Before the first turn, reflect; then act.

        As often as the chat does not fit the model's window, half of what is shown of the failed attempt goes.
        """
        turns = self._shown(episode)
        while True:
            try:
                await self._show(episode, turns)
                return await self._acting.act(episode)
            except TooLongError:
                if not turns:
                    raise
                turns //= 2

    def _shown(self, episode: Episode) -> int:
        """How many turns of the failed attempt are shown in this episode."""
        most = min(self.config.max_turns, len(turns_shown(self.failure, self._acting.config)))
        if episode.reflection is None:
            return most
        return next(n for n in range(most, -1, -1) if self._opening(n)[1] == episode.chat[1])

    async def _show(self, episode: Episode, turns: int) -> None:
        opening = self._opening(turns)
        if episode.reflection is None:
            await self._reflect(episode, opening)
        elif episode.chat[1] != opening[1]:
            episode.chat[1] = opening[1]
            episode.reflection = replace(episode.reflection, observation=opening[1].content)

    async def _reflect(self, episode: Episode, opening: list[Message]) -> None:
        sampling = Sampling(self.config.temperature, self.config.max_tokens, derived_seed(episode.seed, "reflection"))
        completion = await self._acting.model.complete([*opening, Message("assistant", OPENING)], sampling)
        episode.prompt_tokens += completion.prompt_tokens
        turn_text = completion.opening_ids + completion.token_ids
        episode.reflection = Step(
            opening[1].content,
            "",
            "",
            text=OPENING + completion.text,
            token_ids=turn_text,
            logprobs=completion.logprobs,
        )
        episode.chat += [*opening, Message("assistant", OPENING + completion.text, turn_text)]

    def _opening(self, turns: int) -> list[Message]:
        return opening_of(self.failure, replace(self.config, max_turns=turns), self._acting.config)


def opening_of(failure: Trajectory, config: ReflectorConfig, acting: ReActConfig) -> list[Message]:
    """System prompt and the failed attempt: what the reflector is shown."""
    return [Message("system", config.system), Message("user", digest(failure, config.max_turns, acting))]


def reflector_chat(
    failure: Trajectory,
    passed: Trajectory,
    reflection: Step,
    acting: ReActConfig,
    config: ReflectorConfig | None = None,
    *,
    trainable: bool = True,
) -> list[Message]:
    """(failed, passed) as the reflector's chat; `trainable` is of the reflection, the turns keep their own.

    The failed attempt is shown as it was when `reflection` was sampled, if it was; otherwise as `acting` sees it.
    """
    system, shown = opening_of(failure, config or ReflectorConfig(), acting)
    return [
        system,
        replace(shown, content=reflection.observation or shown.content),
        Message("assistant", turn_text(reflection), reflection.token_ids, trainable),
        *render_turns(passed, acting),
    ]


def digest(failure: Trajectory, max_turns: int, acting: ReActConfig) -> str:
    """A failed attempt in few words: each distinct accepted turn once, in order, refused actions only counted."""
    turns = turns_shown(failure, acting)
    refused = f"Refused actions: {failure.invalid_actions}.\n" if failure.invalid_actions else ""
    shown = "".join(turn + "\n" for turn in turns[max(0, len(turns) - max_turns) :])
    return f"Your task is to: {failure.goal}\nThe failed attempt:\n{shown}{refused}{OUTCOMES[failure.outcome]}"


def turns_shown(failure: Trajectory, acting: ReActConfig) -> list[str]:
    """Each distinct accepted turn of a failed attempt, in order."""
    after = [step.observation for step in failure.steps[1:]] + [failure.final_observation]
    turns = dict.fromkeys(
        f"> {step.action}\n{observation_text(failure.task, seen, step.observation, acting)}"
        for step, seen in zip(failure.steps, after, strict=False)
        if step.invalid is None
    )
    return list(turns)
