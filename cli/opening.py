"""What commands that play have in common: from flags to an environment, an agent and a back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agents.core import Agent
from ..agents.models.core import Backend, Unusable
from ..agents.models.registry import Watch, open_backend
from ..agents.models.scripted import ScriptedBackend
from ..agents.registry import make_agent
from ..agents.trajectory import AgentSpec
from ..envs.registry import EnvSpec
from ..errors import UsageError
from ..loops.run import Params
from ..loops.seeds.registry import find_family

_SET_ELSEWHERE: Mapping[str, Any] = {"temperature": 0.0, "max_tokens": 1, "decoding": "free"}
"""What of an agent's configuration has flags of its own, with values for an agent that nobody lets act."""


@dataclass(frozen=True)
class Playing:
    """Who plays where."""

    env: str = "household"
    """The environment: short name, Gymnasium id or `module:Class`."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor, e.g. `max_steps=30 config.screenshots=true`."""
    agent: str = "react"
    """Who acts: a registered name or `module:Class`."""
    agent_args: Params = field(default_factory=dict)
    """Fields of the agent's configuration, e.g. `restate_goal=false`."""
    model: str = "seed"
    """`seed` for the environment's seed policy, a Hugging Face model folder, or `KIND:REST` (`local:FOLDER`,
    `scripted:FILE`, `seed:ENV`)."""
    run: Path = Path("runs/play")
    """The run's folder; the same command again continues it."""
    pictures: bool = False
    """Whether what the environment shows is photographed at each step, for `kintsugi report`."""

    @property
    def env_spec(self) -> EnvSpec:
        """The environment; raises `UsageError` for one, or for an argument, that does not exist."""
        spec = EnvSpec(self.env, self.env_args)
        spec.check()
        return spec

    @property
    def agent_spec(self) -> AgentSpec:
        """The agent."""
        return AgentSpec(self.agent, self.agent_args)

    def reader(self) -> Agent:
        """The agent without a model; raises `UsageError` for one, or for an argument, that does not exist or that a
        flag of its own sets.
        """
        return make_agent(self.agent_spec, Unusable(), **_SET_ELSEWHERE)

    def backend(self, watch: Watch) -> Backend:
        """The back end of the model; an agent that needs none has one that nobody asks."""
        if not self.reader().models:
            return ScriptedBackend([""], base="none")
        name = self.env_spec.name
        if self.model == "seed" and find_family(name) is None:
            raise UsageError(f"environment {self.env!r} has no seed policy; name a model with --model")
        return open_backend(f"seed:{name}" if self.model == "seed" else self.model, watch)

    def record(self) -> dict[str, Any]:
        """What a run keeps of it: everything that shapes a result, the constructors' defaults too."""
        env, agent = self.env_spec.to_json(), self.reader().spec or self.agent_spec
        args = {name: value for name, value in agent.args.items() if name not in _SET_ELSEWHERE}
        return {"env": env["id"], "env_args": env["kwargs"], "agent": agent.id, "agent_args": args}
