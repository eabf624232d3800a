"""`EpisodeConfig`: flags for environment, agent and model, shared by the commands that play episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agents.core import Agent
from ..agents.models.chat_format import DATE, ChatFormat
from ..agents.models.core import Backend, NoModel
from ..agents.models.registry import OnStatus, open_backend
from ..agents.models.scripted import ScriptedBackend
from ..agents.registry import make_agent
from ..agents.trajectory import AgentSpec
from ..envs.registry import EnvSpec
from ..errors import UsageError
from ..loops.run import Params
from ..loops.seeds.registry import find_family

_SET_BY_OTHER_FLAGS: Mapping[str, Any] = {"temperature": 0.0, "max_tokens": 1, "decoding": "free"}
"""Fields of an agent's configuration that other flags set, with placeholder values for an agent that never acts."""


@dataclass(frozen=True)
class EpisodeConfig:
    """Environment, agent, model and run folder of a command that plays episodes."""

    env: str = "household"
    """The environment: short name, Gymnasium id or `module:Class`."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor, e.g. `max_steps=30`, or `config.screenshots=true` for the web."""
    agent: str = "react"
    """The agent: a registered name or `module:Class`."""
    agent_args: Params = field(default_factory=dict)
    """Fields of the agent's configuration, e.g. `restate_goal=false`."""
    model: str = "seed"
    """The model: `seed` (the environment's own), `seed:ENV`, `smollm2`, `scripted:FILE`, the folder or cached name of a
    Hugging Face model, or a GGUF file."""
    cache_gb: float | None = None
    """Gigabytes that the key/value cache of a model in this process may take; by default, 40 % of the free memory.
    Episodes that have no room wait until others have ended."""
    chat_template: Path | None = None
    """File with a chat template (Jinja) in place of the model's own, for example for a base model that has none."""
    date: str = DATE
    """Date (`YYYY-MM-DD`) for models whose chat template tells them today's. It is fixed, so that a run that goes on
    tomorrow sees the same prompts."""
    run: Path = Path("runs/play")
    """Folder of the run; repeat the command to resume it."""
    pictures: bool = False
    """Store a picture of the environment at each step, for `kintsugi report`."""

    @property
    def env_spec(self) -> EnvSpec:
        """The environment; raises `UsageError` for an unknown environment or argument."""
        spec = EnvSpec(self.env, self.env_args)
        spec.check()
        return spec

    @property
    def agent_spec(self) -> AgentSpec:
        """The agent."""
        return AgentSpec(self.agent, self.agent_args)

    def reader(self) -> Agent:
        """Return the agent without a model.

        Raises `UsageError` for an unknown agent or argument, and for an argument that another flag sets.
        """
        return make_agent(self.agent_spec, NoModel(), **_SET_BY_OTHER_FLAGS)

    def backend(self, on_status: OnStatus) -> Backend:
        """Return the backend of the model. Agents that need no model get a placeholder."""
        if not self.reader().models:
            return ScriptedBackend([""], base="none")
        name = self.env_spec.name
        if self.model == "seed" and find_family(name) is None:
            raise UsageError(f"environment {self.env!r} has no seed policy; choose a model with --model")
        found = open_backend(f"seed:{name}" if self.model == "seed" else self.model, on_status, self.chat_format)
        if self.cache_gb is not None:
            if not hasattr(found, "cache_bytes"):
                raise UsageError(
                    f"--cache-gb is {self.cache_gb}, but {self.model!r} does not run in this process; drop it"
                )
            if self.cache_gb <= 0:
                raise UsageError(f"--cache-gb is {self.cache_gb}; expected more than 0")
            found.cache_bytes = int(self.cache_gb * 1e9)
        return found

    @property
    def chat_format(self) -> ChatFormat:
        """How the model's chats are written; raises `UsageError` for an unreadable template or another date."""
        return ChatFormat.read(self.chat_template, self.date)

    def record(self) -> dict[str, Any]:
        """Return the settings that a run records: all that affect its results, including the constructors' defaults."""
        env, agent = self.env_spec.to_json(), self.reader().spec or self.agent_spec
        args = {name: value for name, value in agent.args.items() if name not in _SET_BY_OTHER_FLAGS}
        return {"env": env["id"], "env_args": env["kwargs"], "agent": agent.id, "agent_args": args, "date": self.date}
