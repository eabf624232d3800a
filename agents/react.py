"""ReAct (Yao et al., 2023): each turn is a short thought and an action, given the whole history of the episode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..envs.core import AgentEnv, Task
from ..envs.fences import closing_line, opens_fence
from ..envs.registry import find
from ..errors import UsageError
from .core import Episode, ModelAgent
from .models.core import Completion, Message, Sampling, derived_seed
from .trajectory import Step, Trajectory

SYSTEM = (
    "You act in a text world. Answer each observation with one line that starts with 'Thought:' and one line that "
    "starts with 'Action:'."
)
ACTION = "\nAction: "


@dataclass(frozen=True)
class ReActConfig:
    """Configuration of `ReActAgent`."""

    decoding: Literal["free", "constrained"] = "free"
    """`constrained` samples the action among the admissible ones; `free` samples any text."""
    temperature: float = 0.0
    """Sampling temperature; 0 is greedy."""
    max_tokens: int = 48
    """Maximum number of tokens in one turn."""
    restate_goal: bool = True
    """Whether to repeat the goal after every observation but the first, which contains it."""
    system: str = SYSTEM
    """The system prompt."""
    condense: bool = True
    """Whether to shorten observations with `AgentEnv.condense`, which omits text that the previous one had."""


class ReActAgent(ModelAgent[ReActConfig]):
    """ReAct agent. Each turn extends the chat, so that a backend can reuse its key/value cache."""

    config_type = ReActConfig
    kind = "react"

    async def act(self, episode: Episode) -> Step:
        """Complete one turn. A turn that cannot be parsed becomes the action, which the environment then refuses."""
        prompt = self.prompt(episode)
        completion = await self.model.complete(prompt, self._sampling(episode))
        episode.chat = [*prompt, Message("assistant", completion.text, completion.token_ids)]
        episode.prompt_tokens += completion.prompt_tokens
        return step_from_completion(completion, episode.observation)

    def prompt(self, episode: Episode) -> list[Message]:
        """Return the chat that the model completes next. Steps of another agent appear as this agent's own turns.

        Args:
            episode: The episode so far. Its current observation becomes the last message.
        """
        previous = episode.steps[-1].observation if episode.steps else None
        text = observation_text(episode.task, episode.observation, previous, self.config)
        turn = observation_turn(text, episode.goal, self.config, first=not episode.steps)
        return [*(episode.chat or render_chat(episode, self.config)), turn]

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return one chat with all turns."""
        return [render_chat(attempt, self.config)]

    def _sampling(self, episode: Episode) -> Sampling:
        constrained = self.config.decoding == "constrained" and bool(episode.info.get("admissible"))
        return Sampling(
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            seed=derived_seed(episode.seed, len(episode.steps)),
            choices=tuple(episode.info["admissible"]) if constrained else None,
            choices_after=ACTION if constrained else "",
        )


def render_chat(trajectory: Trajectory | Episode, config: ReActConfig) -> list[Message]:
    """Return the chat of an attempt as an agent with this configuration sees it, whichever agent made the attempt.

    Args:
        trajectory: An attempt or an unfinished episode.
        config: Configuration of the agent.

    Returns:
        System prompt, then observations (user) and turns (assistant).
    """
    return [Message("system", config.system), *render_turns(trajectory, config)]


def render_turns(trajectory: Trajectory | Episode, config: ReActConfig) -> list[Message]:
    """Return the chat of an attempt without the system prompt."""
    chat: list[Message] = []
    previous: str | None = None
    for step in trajectory.steps:
        text = observation_text(trajectory.task, step.observation, previous, config)
        chat.append(observation_turn(text, trajectory.goal, config, first=previous is None))
        previous = step.observation
        chat.append(Message("assistant", turn_text(step), step.token_ids, step.trainable))
    return chat


def observation_text(task: Task, observation: str, previous: str | None, config: ReActConfig) -> str:
    """Return the text shown to the model for an observation, given the previous one (None for the first)."""
    return env_class(task.env_id).condense(observation, previous) if config.condense else observation


def env_class(env_id: str) -> type[AgentEnv]:
    """Return the class of an environment, or `AgentEnv` if the id is neither imported nor registered.

    Raises:
        UsageError: If the environment is registered but cannot be imported.
    """
    if (imported := AgentEnv.imported_classes.get(env_id)) is not None:
        return imported
    try:
        registered = find(env_id)
    except UsageError:
        return AgentEnv
    return registered.load()


def observation_turn(text: str, goal: str, config: ReActConfig, *, first: bool) -> Message:
    """Return the user message for an observation."""
    restated = f"\nYour task is to: {goal}" if config.restate_goal and goal and not first else ""
    return Message("user", text + restated)


def turn_text(step: Step) -> str:
    """Return the text of a step as an assistant message."""
    return step.text if step.text is not None else f"Thought: {step.thought}{ACTION}{step.action}"


def step_from_completion(completion: Completion, observation: str) -> Step:
    """Return the step for a completed turn, with thought and action parsed."""
    thought, action = parse(completion.text)
    return Step(
        observation=observation,
        thought=thought,
        action=action,
        text=completion.text,
        token_ids=completion.token_ids,
        logprobs=completion.logprobs,
    )


def parse(text: str) -> tuple[str, str]:
    """Split the text of a turn into thought and action.

    An action is one line, plus a Markdown fence that begins on that line, or after empty lines and at most one line of
    text. An unclosed fence ends with the text. Without a line `Action:`, the whole text is the action.

    Returns:
        Thought and action.
    """
    match = re.search(
        r"^(?:Thought:\s*(?P<thought>.*?)\s*)?^Action:[ \t]*(?P<action>[^\n]*)", text, re.DOTALL | re.MULTILINE
    )
    if match is None:
        return "", text.strip()
    return match["thought"] or "", (match["action"] + _fence_after(match["action"], text[match.end() :])).strip()


def _fence_after(line: str, rest: str) -> str:
    """Return the part of `rest`, the text after a line, that belongs to the line: up to the end of its fence."""
    lines = rest.split("\n")[1:]
    opening, number, texts = opens_fence(line, after_text=True), 0, 0
    while opening is None:
        if number == len(lines) or texts > 1 or lines[number].startswith(("Thought:", "Action:", "Observation:")):
            return ""
        opening = opens_fence(lines[number])
        texts += bool(lines[number].strip())
        number += 1
    end = closing_line(lines[number:], opening)
    if end is None and not any(map(str.strip, lines[number:])):
        return ""
    return "\n" + "\n".join(lines if end is None else lines[: number + end + 1])


def drop_refused_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the accepted steps, each with the observation from before the refused actions that precede it.

    The result is a valid attempt only in environments where a refused action changes nothing.
    """
    kept: list[Step] = []
    seen: str | None = None
    for step in steps:
        seen = step.observation if seen is None else seen
        if step.invalid is None:
            kept.append(replace(step, observation=seen))
            seen = None
    return tuple(kept)
