"""Records of attempts: `Call`, `Step`, `Trajectory`, `AgentSpec`. Conversion to JSON and back is lossless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from ..envs.core import Task, content_hash

Outcome = Literal["success", "failure", "truncated", "infra_error"]
"""`truncated`: a limit of steps or data was reached. `infra_error`: an infrastructure failure, excluded from scores."""


@dataclass(frozen=True)
class AgentSpec:
    """Specification of an agent as plain data.

    It is stored with each attempt. `agents.registry.make_agent` builds the agent from it.
    """

    id: str = "react"
    """Name under which the agent is registered, or `module:Class`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Configuration of the agent as JSON-serialisable data, prompts included."""

    @property
    def name(self) -> str:
        """`id` and a hash of `args`, e.g. `react-1f0c2a`."""
        return f"{self.id}-{content_hash(self.args)[:6]}"


@dataclass(frozen=True)
class Call:
    """One model call within a step, for agents that make several calls per step."""

    role: str
    """Role of the model in this call; selects the system prompt."""
    prompt: str
    """Content of the user message."""
    text: str
    """Completion of the model."""
    token_ids: tuple[int, ...]
    """Sampled tokens of the completion."""
    logprobs: tuple[float, ...]
    """Log-probability (nats) of each token in `token_ids` at sampling time."""


@dataclass(frozen=True)
class Step:
    """One observation, the agent's answer to it, and the reward."""

    observation: str
    """The observation before the action."""
    thought: str
    action: str
    reward: float = 0.0
    invalid: str | None = None
    """Reason why the environment refused the action; None if it was accepted."""
    text: str | None = None
    """Text of the model's turn; None for steps that no model wrote (experts, people)."""
    token_ids: tuple[int, ...] | None = None
    """Sampled tokens of the turn."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability (nats) of each token in `token_ids` at sampling time."""
    trainable: bool = True
    """Whether the loss includes this turn."""
    calls: tuple[Call, ...] = ()
    """Model calls that led to the action, in order; empty if the turn is a single completion."""
    picture: str = field(default="", compare=False)
    """Name of the screenshot before the action among the run's pictures; empty if there is none."""

    @property
    def sampled_tokens(self) -> int:
        """Number of tokens sampled for this step, those of `calls` included."""
        return len(self.token_ids or ()) + sum(len(call.token_ids) for call in self.calls)


@dataclass(frozen=True)
class Trajectory:
    """One recorded episode of an agent on a task."""

    task: Task
    steps: tuple[Step, ...]
    final_observation: str
    """The observation after the last action."""
    outcome: Outcome
    score: float
    """Score in [0, 1]."""
    source: str
    """Origin of the attempt: `policy`, `reflection`, `splice`, `expert`, or another name that a loop chooses."""
    model: str
    """Versions of the agent's models, or the name of the expert for demonstrations."""
    seed: int
    sample: int = 0
    """Number of this attempt among several at the same task."""
    goal: str = ""
    """The task in words; empty if the environment gives none."""
    reflection: Step | None = None
    """Reflection on the parent attempt, written before this attempt."""
    parents: tuple[str, ...] = ()
    """Keys (`RunStore.key`) of the attempts that this one mends."""
    agent: str = ""
    """`Agent.name` of the agent; empty for demonstrations."""
    made_by: AgentSpec | None = None
    """Specification of the agent, prompts included; None if it has none."""
    prompt_tokens: int = 0
    """Number of prompt tokens read, cached ones included."""
    error: str | None = None
    """For `infra_error`: message of the infrastructure failure. For `truncated`: why the agent could not go on, if a
    chat no longer fitted the model's window."""

    @property
    def success(self) -> bool:
        """Whether the environment reported success."""
        return self.outcome == "success"

    @property
    def key(self) -> str:
        """Key of the attempt within its stage: task id and sample number."""
        return f"{self.task.id}#{self.sample}"

    @property
    def sampled_tokens(self) -> int:
        """Number of tokens sampled, the reflection included."""
        return sum(step.sampled_tokens for step in [*self.steps, *([self.reflection] if self.reflection else [])])

    @property
    def cut_answers(self) -> int:
        """Number of the model's answers that have as many tokens as the agent's `max_tokens` allows."""
        limit = self.made_by.args.get("max_tokens") if self.made_by else None
        answers = [ids for step in self.steps for ids in (step.token_ids, *(call.token_ids for call in step.calls))]
        return sum(len(ids or ()) >= limit for ids in answers) if isinstance(limit, int) and limit > 0 else 0

    @property
    def invalid_actions(self) -> int:
        """Number of refused actions."""
        return sum(step.invalid is not None for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-serialisable data, from which `from_json` restores an equal trajectory."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a trajectory from JSON-serialisable data.

        Args:
            data: Result of `to_json`, which may have passed through JSON.

        Raises:
            KeyError: If `task`, `steps`, `reflection` or `parents` is missing.
            TypeError: If another field is missing or unknown.
        """
        values = dict(data)
        values["task"] = Task(**values["task"])
        values["steps"] = tuple(map(step_from_json, values["steps"]))
        values["reflection"] = step_from_json(values["reflection"]) if values["reflection"] else None
        values["parents"] = tuple(values["parents"])
        values["made_by"] = AgentSpec(**values["made_by"]) if values.get("made_by") else None
        return cls(**values)


def step_from_json(data: Mapping[str, Any]) -> Step:
    """Return the step from the result of `dataclasses.asdict`, which may have passed through JSON."""
    values = _with_tuples(data)
    values["calls"] = tuple(Call(**_with_tuples(call)) for call in values.get("calls", ()))
    return Step(**values)


def _with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    sampled = ("token_ids", "logprobs")
    return {k: tuple(v) if k in sampled and v is not None else v for k, v in data.items()}
