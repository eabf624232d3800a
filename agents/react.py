"""ReAct: a short thought, then an action, over the whole history of the episode (Yao et al., 2023)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..envs.core import AgentEnv, Task
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
    """How a ReAct agent reads and answers."""

    decoding: Literal["free", "constrained"] = "free"
    """`constrained` draws the action among the admissible ones; `free` lets the model write anything."""
    temperature: float = 0.0
    """0 is greedy."""
    max_tokens: int = 48
    """Of one turn."""
    restate_goal: bool = True
    """Repeat the goal after every observation but the first, which holds it."""
    system: str = SYSTEM
    """The system prompt."""
    condense: bool = True
    """Leave out of observations what their environment holds to be said already (`AgentEnv.condense`)."""


class ReActAgent(ModelAgent[ReActConfig]):
    """Acts with a language model. The chat only ever grows, so a back end can keep it in its cache."""

    config_type = ReActConfig
    kind = "react"

    async def act(self, episode: Episode) -> Step:
        """One turn. What cannot be parsed is sent to the environment as it is, to be refused there."""
        prompt = self.prompt(episode)
        completion = await self.model.complete(prompt, self._sampling(episode))
        episode.chat = [*prompt, Message("assistant", completion.text, completion.token_ids)]
        episode.prompt_tokens += completion.prompt_tokens
        return step_from(completion, episode.observation)

    def prompt(self, episode: Episode) -> list[Message]:
        """The chat that the agent would answer next. Steps that somebody else made are turns of its own."""
        before = episode.steps[-1].observation if episode.steps else None
        text = observation_text(episode.task, episode.observation, before, self.config)
        turn = observation_turn(text, episode.goal, self.config, first=not episode.steps)
        return [*(episode.chat or render_chat(episode, self.config)), turn]

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """One chat, of all turns."""
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
    """The chat of an attempt as an agent of this configuration sees it when it acts, whoever made the attempt."""
    return [Message("system", config.system), *render_turns(trajectory, config)]


def render_turns(trajectory: Trajectory | Episode, config: ReActConfig) -> list[Message]:
    """The chat of an attempt from the first observation on."""
    chat: list[Message] = []
    before: str | None = None
    for step in trajectory.steps:
        text = observation_text(trajectory.task, step.observation, before, config)
        chat.append(observation_turn(text, trajectory.goal, config, first=before is None))
        before = step.observation
        chat.append(Message("assistant", turn_text(step), step.token_ids, step.trainable))
    return chat


def observation_text(task: Task, observation: str, before: str | None, config: ReActConfig) -> str:
    """What is said of an observation after that of `before`, or of None at the beginning."""
    return env_class(task.env_id).condense(observation, before) if config.condense else observation


def env_class(env_id: str) -> type[AgentEnv]:
    """The environment's class; that of any environment where none of this id is imported or registered.

    Raises `UsageError` for one that is registered and cannot be imported.
    """
    if (imported := AgentEnv.imported.get(env_id)) is not None:
        return imported
    try:
        registered = find(env_id)
    except UsageError:
        return AgentEnv
    return registered.load()


def observation_turn(text: str, goal: str, config: ReActConfig, *, first: bool) -> Message:
    """The user's turn for an observation."""
    restated = f"\nYour task is to: {goal}" if config.restate_goal and goal and not first else ""
    return Message("user", text + restated)


def turn_text(step: Step) -> str:
    """A step as the assistant's turn."""
    return step.text if step.text is not None else f"Thought: {step.thought}{ACTION}{step.action}"


def step_from(completion: Completion, observation: str) -> Step:
    """Parse a turn."""
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
    """Thought and action of a turn; a turn without `Action:` is all action, which the environment will refuse.

    An action is one line, and with it the lines of a Markdown fence that begins there or right below.
    """
    match = re.search(
        r"^(?:Thought:\s*(?P<thought>.*?)\s*)?^Action:[ \t]*(?P<action>[^\n]*?\n?```[^\n]*\n.*?^```|[^\n]*)",
        text,
        re.DOTALL | re.MULTILINE,
    )
    if match is None:
        return "", text.strip()
    return match["thought"] or "", match["action"].strip()


def without_refused(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that the environment accepted, each with what was seen before the refusals that came before it.

    Only for environments where a refused action changes nothing: there, what is left is an attempt too.
    """
    kept: list[Step] = []
    seen: str | None = None
    for step in steps:
        seen = step.observation if seen is None else seen
        if step.invalid is None:
            kept.append(replace(step, observation=seen))
            seen = None
    return tuple(kept)
