"""Reflector of Re-ReST (Dou et al., 2024, section 3): reflects on a failed attempt, then plays the task itself.

The reflector sees only what the environment showed during the failed attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..arguments import to_plain
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
REFLECTION_PREFIX = "Reflection: I should have"
"""Forced beginning of the reflection, as in the original implementation."""
OUTCOME_TEXTS = {"truncated": "It ran out of steps.", "failure": "It failed.", "success": "It succeeded."}


@dataclass(frozen=True)
class ReflectorConfig:
    """Prompt and sampling of the reflector."""

    max_turns: int = 40
    """Maximum number of turns of the failed attempt in the prompt; fewer if they exceed the model's window."""
    temperature: float = 0.0
    """Sampling temperature of the reflection; later turns use that of the acting agent."""
    max_tokens: int = 48
    """Maximum number of tokens in the reflection."""
    system: str = SYSTEM
    """The system prompt."""


class ReflectingAgent:
    """ReAct agent that reflects on one failed attempt at its task before it acts."""

    def __init__(self, agent: ReActAgent, failure: Trajectory, config: ReflectorConfig | None = None) -> None:
        """Create the agent.

        Args:
            agent: The acting agent. Its model also writes the reflection.
            failure: The failed attempt.
            config: Configuration; `ReflectorConfig()` if None.
        """
        self.failure = failure
        self.config = config or ReflectorConfig()
        self._agent = agent

    @property
    def name(self) -> str:
        """`reflecting-<hash of configurations and failed attempt>@<version of the model>`."""
        failed = [step.action for step in self.failure.steps]
        hashed = content_hash([to_plain(self.config), to_plain(self._agent.config), failed])[:6]
        return f"reflecting-{hashed}@{self._agent.model.version}"

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The models of the acting agent."""
        return self._agent.models

    @property
    def spec(self) -> AgentSpec | None:
        """Specification of the acting agent, so that attempts are rendered without the reflection."""
        return self._agent.spec

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return the chats without the reflection, to train the acting agent. `reflector_chat` includes it."""
        return self._agent.chats(attempt)

    async def act(self, episode: Episode) -> Step:
        """Reflect before the first turn, then act.

        While the chat exceeds the model's window, the number of shown turns of the failed attempt is halved.
        """
        turns = self._turns_to_show(episode)
        while True:
            try:
                await self._set_prompt(episode, turns)
                return await self._agent.act(episode)
            except TooLongError:
                if not turns:
                    raise
                turns //= 2

    def _turns_to_show(self, episode: Episode) -> int:
        """Return how many turns of the failed attempt the prompt of this episode shows."""
        limit = min(self.config.max_turns, len(digest_turns(self.failure, self._agent.config)))
        if episode.reflection is None:
            return limit
        return next(n for n in range(limit, -1, -1) if self._prompt(n)[1] == episode.chat[1])

    async def _set_prompt(self, episode: Episode, turns: int) -> None:
        """Make the chat begin with `turns` turns of the failed attempt, and reflect if there is no reflection yet."""
        prompt = self._prompt(turns)
        if episode.reflection is None:
            await self._reflect(episode, prompt)
        elif episode.chat[1] != prompt[1]:
            episode.chat[1] = prompt[1]
            episode.reflection = replace(episode.reflection, observation=prompt[1].content)

    async def _reflect(self, episode: Episode, prompt: list[Message]) -> None:
        sampling = Sampling(self.config.temperature, self.config.max_tokens, derived_seed(episode.seed, "reflection"))
        completion = await self._agent.model.complete([*prompt, Message("assistant", REFLECTION_PREFIX)], sampling)
        episode.prompt_tokens += completion.prompt_tokens
        token_ids = completion.prefix_ids + completion.token_ids
        episode.reflection = Step(
            prompt[1].content,
            "",
            "",
            text=REFLECTION_PREFIX + completion.text,
            token_ids=token_ids,
            logprobs=completion.logprobs,
        )
        episode.chat += [*prompt, Message("assistant", REFLECTION_PREFIX + completion.text, token_ids)]

    def _prompt(self, turns: int) -> list[Message]:
        return reflection_prompt(self.failure, replace(self.config, max_turns=turns), self._agent.config)


def reflection_prompt(failure: Trajectory, config: ReflectorConfig, react_config: ReActConfig) -> list[Message]:
    """Return the messages that the reflector sees before it reflects: system prompt and failed attempt."""
    return [Message("system", config.system), Message("user", failure_digest(failure, config.max_turns, react_config))]


def reflector_chat(
    failure: Trajectory,
    passed: Trajectory,
    reflection: Step,
    react_config: ReActConfig,
    config: ReflectorConfig | None = None,
    *,
    trainable: bool = True,
) -> list[Message]:
    """Return a failed attempt, the reflection on it and the new attempt as one chat, to train the reflector.

    Args:
        failure: The failed attempt.
        passed: The attempt after the reflection.
        reflection: The reflection. Its observation, if not empty, is the text in which `failure` was shown.
        react_config: Configuration of the acting agent.
        config: Configuration of the reflector; `ReflectorConfig()` if None.
        trainable: Whether the loss includes the reflection. The turns of `passed` keep their own setting.
    """
    system, shown = reflection_prompt(failure, config or ReflectorConfig(), react_config)
    return [
        system,
        replace(shown, content=reflection.observation or shown.content),
        Message("assistant", turn_text(reflection), reflection.token_ids, trainable),
        *render_turns(passed, react_config),
    ]


def failure_digest(failure: Trajectory, max_turns: int, react_config: ReActConfig) -> str:
    """Return a failed attempt as text: goal, last distinct accepted turns, number of refused actions, and outcome."""
    turns = digest_turns(failure, react_config)
    refused = f"Refused actions: {failure.invalid_actions}.\n" if failure.invalid_actions else ""
    shown = "".join(turn + "\n" for turn in turns[max(0, len(turns) - max_turns) :])
    return f"Your task is to: {failure.goal}\nThe failed attempt:\n{shown}{refused}{OUTCOME_TEXTS[failure.outcome]}"


def digest_turns(failure: Trajectory, react_config: ReActConfig) -> list[str]:
    """Return the accepted turns of a failed attempt without duplicates, in order."""
    after = [step.observation for step in failure.steps[1:]] + [failure.final_observation]
    turns = dict.fromkeys(
        f"> {step.action}\n{observation_text(failure.task, observation, step.observation, react_config)}"
        for step, observation in zip(failure.steps, after, strict=False)
        if step.invalid is None
    )
    return list(turns)
