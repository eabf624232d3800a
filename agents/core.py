"""`Episode` and `Agent`, and the base classes of agents."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ..arguments import to_plain
from ..envs.core import Task
from .models.core import LanguageModel, Message
from .trajectory import AgentSpec, Step, Trajectory

C = TypeVar("C")


@dataclass
class Episode:
    """State of one episode as its agent sees it.

    The runner (`agents.rollout.play`) sets `task`, `observation`, `info`, `seed` and `steps`. The agent may write to
    the other fields.
    """

    task: Task
    observation: str
    """The current observation."""
    info: dict[str, Any]
    """The latest `info` of the environment."""
    seed: int
    """Agents derive the seed of each model call from this seed and the number of steps."""
    steps: list[Step] = field(default_factory=list)
    prompt_tokens: int = 0
    """Number of prompt tokens so far; the agent adds those of each model call."""
    reflection: Step | None = None
    """The reflection, set by agents that reflect before they act."""
    chat: list[Message] = field(default_factory=list)
    """The chat so far, kept by the agent. If empty, the agent renders it from `steps`."""
    notes: list[Any] = field(default_factory=list)
    """Any other state of the agent, such as a record for each step."""

    @property
    def goal(self) -> str:
        """The goal that the environment gave at `reset`, or an empty string."""
        return str(self.info.get("goal", ""))

    def fork(self, seed: int) -> Episode:
        """Return an independent copy of the episode with another seed.

        The copy has the same steps, chat, notes and reflection. Its `prompt_tokens` is 0, so that no token is counted
        twice.

        Args:
            seed: Seed of the copy. With another seed, the agent samples other turns.
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
        """Append a played step and set the new observation and info.

        Args:
            step: The step, with its reward.
            observation: The observation after the step.
            info: The environment's `info` after the step. The goal is kept if `info` has none.
        """
        self.steps.append(step)
        self.observation, self.info = observation, {"goal": self.goal, **info}


class Agent(Protocol):
    """Chooses the actions of episodes.

    `ModelAgent` and `RuleAgent` are base classes that implement everything but `act` and, for models, `chats`. One
    agent plays many episodes concurrently, so it must keep all state in the `Episode`.
    """

    @property
    def name(self) -> str:
        """Kind, hash of the configuration and versions of the models, e.g. `react-1f0c2a@<version>`."""
        ...

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The language models that the agent calls; empty for rule-based agents."""
        ...

    @property
    def spec(self) -> AgentSpec | None:
        """Specification from which `make_agent` builds the same agent; None if there is no such specification."""
        ...

    async def act(self, episode: Episode) -> Step:
        """Choose the next action.

        The agent treats all of `episode.steps` as its own, even if another agent made the first ones.

        Args:
            episode: The episode so far.

        Returns:
            The next step, with `episode.observation` as its observation. The caller fills in `reward` and `invalid`.
        """
        ...

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return the chats of an attempt, for training and export.

        Args:
            attempt: An attempt of this agent or of another one, such as an expert.

        Returns:
            The chats as this agent's models saw them, or would have seen them. Sampled turns keep their token ids, so
            that training sees exactly the sampled tokens.
        """
        ...


class ModelAgent(ABC, Generic[C]):
    """Base class of agents with one language model and a frozen dataclass as configuration.

    A subclass sets `config_type` and implements `act` and `chats`. If the configuration has fields named `temperature`,
    `max_tokens` (of one completion) or `decoding` (`free` or `constrained`), evaluations and loops set them.
    """

    config_type: ClassVar[type[Any]]
    """The dataclass of the configuration."""
    kind: ClassVar[str] = ""
    """Name under which the class is registered; if empty, `module:Class` is used."""

    def __init__(self, model: LanguageModel, config: C | None = None) -> None:
        """Create the agent.

        Args:
            model: The language model that chooses actions.
            config: Configuration; None means `config_type()`.
        """
        self.model = model
        self.config: C = self.config_type() if config is None else config

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The one model of the agent."""
        return (self.model,)

    @property
    def spec(self) -> AgentSpec | None:
        """Name of the class and its configuration."""
        cls = type(self)
        # A subclass does not inherit the name under which its parent is registered.
        return AgentSpec(vars(cls).get("kind") or f"{cls.__module__}:{cls.__qualname__}", to_plain(self.config))

    @property
    def name(self) -> str:
        """Name of the specification and version of the model, e.g. `react-1f0c2a@<version>`."""
        assert self.spec is not None
        return f"{self.spec.name}@{self.model.version}"

    @abstractmethod
    async def act(self, episode: Episode) -> Step:
        """See `Agent.act`."""

    @abstractmethod
    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """See `Agent.chats`."""


class RuleAgent(ABC):
    """Base class of agents without a model, such as baselines and experts."""

    name: str
    models: Sequence[LanguageModel] = ()
    spec: AgentSpec | None = None

    @abstractmethod
    async def act(self, episode: Episode) -> Step:
        """See `Agent.act`."""

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return an empty list: no model took part."""
        return []


def version_of(agent: Agent) -> str:
    """Return the versions of an agent's models, joined by `+`, or its name if it has no model."""
    return "+".join(model.version for model in agent.models) or agent.name
