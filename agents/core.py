"""`Episode` and `Agent`: what is acted in, and who acts."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ..arguments import plain
from ..envs.core import Task
from .models.core import LanguageModel, Message
from .trajectory import AgentSpec, Step, Trajectory

C = TypeVar("C")


@dataclass
class Episode:
    """What an agent may look at: the task, the past, and what it sees now."""

    task: Task
    observation: str
    info: dict[str, Any]
    seed: int
    """The agent draws its own seeds from this one and the number of steps."""
    steps: list[Step] = field(default_factory=list)
    prompt_tokens: int = 0
    """Agents add what the model read."""
    reflection: Step | None = None
    """Set by agents that reflect before they act."""
    chat: list[Message] = field(default_factory=list)
    """What the agent and its model said so far; the agent's own. Empty where it has to be made from the steps."""
    notes: list[Any] = field(default_factory=list)
    """What else the agent wants to remember, such as a record of each step; its own."""

    @property
    def goal(self) -> str:
        """The task in words, where the environment says it at reset."""
        return str(self.info.get("goal", ""))

    def fork(self, seed: int) -> Episode:
        """A copy that goes on by itself from here, with another seed: the past, the chat, the notes, the reflection.

        What the model read so far is not counted again: `prompt_tokens` is 0.
        """
        return Episode(
            self.task,
            self.observation,
            self.info,
            seed,
            list(self.steps),
            reflection=self.reflection,
            chat=list(self.chat),
            notes=copy.deepcopy(self.notes),
        )

    def advance(self, step: Step, observation: str, info: dict[str, Any]) -> None:
        """Take a step that was played, and what the environment answered; the goal stays."""
        self.steps.append(step)
        self.observation, self.info = observation, {"goal": self.goal, **info}


class Agent(Protocol):
    """Who acts. `ModelAgent` and `RuleAgent` have everything but `act` and `chats`."""

    @property
    def name(self) -> str:
        """Kind, hash of the configuration, versions of the models: what a stored attempt was made by."""
        ...

    @property
    def models(self) -> Sequence[LanguageModel]:
        """Everything that it thinks with; empty for rules."""
        ...

    @property
    def spec(self) -> AgentSpec | None:
        """What makes the same agent over other models; None where no data can say it."""
        ...

    async def act(self, episode: Episode) -> Step:
        """The next step; its reward and `invalid` are filled in by whoever plays it.

        An episode may begin with steps that somebody else made: they are to be treated as the agent's own.
        """
        ...

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """The attempt as the agent saw it, token by token: what is trained on and exported.

        Also of an attempt that somebody else made, such as an expert: then as this agent would have seen it.
        """
        ...


class ModelAgent(ABC, Generic[C]):
    """An agent over one language model, with a frozen dataclass as its configuration.

    A subclass names the dataclass in `config_type` and defines `act` and `chats`. Fields of these names are set by
    whoever plays it: `temperature`, `max_tokens` (of one answer) and `decoding` (`free` or `constrained`).
    """

    config_type: ClassVar[type[Any]]
    kind: ClassVar[str] = ""
    """The name under which the class is registered; empty stands for `module:Class`."""

    def __init__(self, model: LanguageModel, config: C | None = None) -> None:
        self.model = model
        self.config: C = self.config_type() if config is None else config

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The model."""
        return (self.model,)

    @property
    def spec(self) -> AgentSpec | None:
        """The class and the configuration."""
        cls = type(self)
        # A subclass is not what its parent is registered as.
        return AgentSpec(vars(cls).get("kind") or f"{cls.__module__}:{cls.__qualname__}", plain(self.config))

    @property
    def name(self) -> str:
        """E.g. `react-1f0c2a@<version of the model>`."""
        assert self.spec is not None
        return f"{self.spec.name}@{self.model.version}"

    @abstractmethod
    async def act(self, episode: Episode) -> Step:
        """See `Agent.act`."""

    @abstractmethod
    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """See `Agent.chats`."""


class RuleAgent(ABC):
    """An agent without a model, such as a baseline or an expert."""

    name: str
    models: Sequence[LanguageModel] = ()
    spec: AgentSpec | None = None

    @abstractmethod
    async def act(self, episode: Episode) -> Step:
        """See `Agent.act`."""

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """None: no model said anything."""
        return []


def version_of(agent: Agent) -> str:
    """The versions of an agent's models; its name where it has none."""
    return "+".join(model.version for model in agent.models) or agent.name
