"""What happened and by whom: `Call`, `Step`, `Trajectory`, `AgentSpec`; they go to JSON without losing a bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from ..envs.core import Task, content_hash

Outcome = Literal["success", "failure", "truncated", "infra_error"]
"""`truncated` ran out of steps or data, which is a failure to learn from; `infra_error` counts for nothing."""


@dataclass(frozen=True)
class AgentSpec:
    """An agent as plain data: what is kept with an attempt, and what makes the agent again (`agents.registry`)."""

    id: str = "react"
    """The name under which it is registered, or `module:Class`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Its configuration, JSON-clean: its prompt too."""

    @property
    def name(self) -> str:
        """Kind and hash of the configuration, e.g. `react-1f0c2a`."""
        return f"{self.id}-{content_hash(self.args)[:6]}"


@dataclass(frozen=True)
class Call:
    """One thing that was asked of the model within a turn, by agents that ask several."""

    role: str
    """Who was asked; names the system prompt."""
    prompt: str
    """The user's turn."""
    text: str
    """The answer."""
    token_ids: tuple[int, ...]
    """The answer as it was sampled."""
    logprobs: tuple[float, ...]
    """Log-probability (nats) of each of `token_ids` when it was sampled."""


@dataclass(frozen=True)
class Step:
    """One turn: what the agent saw, thought and did, and what came of it."""

    observation: str
    """What the agent saw before it acted."""
    thought: str
    action: str
    reward: float = 0.0
    invalid: str | None = None
    """Why the environment refused the action; None when it did not."""
    text: str | None = None
    """The turn as the model said it; None for steps that no model said (experts, people)."""
    token_ids: tuple[int, ...] | None = None
    """The turn as it was sampled."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability (nats) of each of `token_ids` when it was sampled."""
    trainable: bool = True
    """Whether training counts a loss on this turn."""
    calls: tuple[Call, ...] = ()
    """What was asked of the model on the way to the action, in order; empty where the turn itself is what it said."""
    picture: str = field(default="", compare=False)
    """Name of the image of what was seen, among the run's pictures; empty where none was kept."""

    @property
    def sampled_tokens(self) -> int:
        """Tokens that the model wrote for it, those of its calls included."""
        return len(self.token_ids or ()) + sum(len(call.token_ids) for call in self.calls)


@dataclass(frozen=True)
class Trajectory:
    """One attempt at one task, from the first observation to the end."""

    task: Task
    steps: tuple[Step, ...]
    final_observation: str
    """What the last action led to."""
    outcome: Outcome
    score: float
    """In [0, 1]."""
    source: str
    """How it came about: `policy`, `reflection`, `splice`, `expert`, or what a loop calls it."""
    model: str
    """Versions of the models that the agent thought with; the expert's name for demonstrations."""
    seed: int
    sample: int = 0
    """Which of the k attempts at the task this is."""
    goal: str = ""
    """The task in words, where the environment says it."""
    reflection: Step | None = None
    """What the reflector said of the parent attempt before this one began."""
    parents: tuple[str, ...] = ()
    """Full keys (`RunStore.key`) of the attempts that this one mends."""
    agent: str = ""
    """`Agent.name` of who acted; empty for demonstrations."""
    made_by: AgentSpec | None = None
    """What makes the agent again, its prompt included; None where nobody can say."""
    prompt_tokens: int = 0
    """Tokens the model read, cached ones included."""
    error: str | None = None
    """For `infra_error`: what broke."""

    @property
    def success(self) -> bool:
        """Whether the environment said that the task was done."""
        return self.outcome == "success"

    @property
    def key(self) -> str:
        """Names the attempt within its stage: task id and sample number."""
        return f"{self.task.id}#{self.sample}"

    @property
    def sampled_tokens(self) -> int:
        """Tokens that the model wrote, the reflection included."""
        return sum(step.sampled_tokens for step in [*self.steps, *([self.reflection] if self.reflection else [])])

    @property
    def invalid_actions(self) -> int:
        """How many actions the environment refused."""
        return sum(step.invalid is not None for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """JSON-clean; `from_json` gives an equal trajectory."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave; raises `KeyError` or `TypeError` when it is not that."""
        values = dict(data)
        values["task"] = Task(**values["task"])
        values["steps"] = tuple(map(step_from_json, values["steps"]))
        values["reflection"] = step_from_json(values["reflection"]) if values["reflection"] else None
        values["parents"] = tuple(values["parents"])
        values["made_by"] = AgentSpec(**values["made_by"]) if values.get("made_by") else None
        return cls(**values)


def step_from_json(data: Mapping[str, Any]) -> Step:
    """What `asdict` gave, before or after JSON."""
    values = _with_tuples(data)
    values["calls"] = tuple(Call(**_with_tuples(call)) for call in values.get("calls", ()))
    return Step(**values)


def _with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    sampled = ("token_ids", "logprobs")
    return {k: tuple(v) if k in sampled and v is not None else v for k, v in data.items()}
