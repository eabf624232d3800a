"""Registry of agents, and construction of an agent from an `AgentSpec`.

A package registers an agent in its `pyproject.toml`:

    [project.entry-points."kintsugi.agents"]
    my-agent = "mypackage.agent:MyAgent"

The entry point is an agent object, or a class or function with the arguments `model` and, optionally, `config`. The
type of `config` is a dataclass, whose fields are the arguments of the agent (`--agent-args`).
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import build, parameters, parse_arguments, type_hints_of
from ..errors import UsageError
from ..plugins import Plugin, find_plugin, plugins
from .core import Agent
from .models.core import LanguageModel, NoModel
from .trajectory import AgentSpec

GROUP = "kintsugi.agents"
BUILTIN = (
    Plugin("react", "kintsugi.agents.react:ReActAgent", "a thought, then an action (ReAct)"),
    Plugin("trading-group", "kintsugi.agents.trading_group:TradingGroup", "a trading desk of five roles"),
)


def agents() -> list[Plugin]:
    """Return the built-in agents, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def make_agent(spec: AgentSpec, model: LanguageModel, **settings: Any) -> Agent:
    """Return the agent that `spec` describes.

    Args:
        spec: Registered name or `module:Class`, and arguments.
        model: The language model of the agent.
        **settings: Arguments that the caller sets, such as `temperature`. Those that are None or that the agent does
            not have are ignored.

    Raises:
        UsageError: If the agent or an argument is unknown, a value cannot be converted, or an argument is in both
            `spec` and `settings`.
    """
    target, label = find_plugin("agent", GROUP, spec.id, BUILTIN).load(), f"agent {spec.id!r}"
    if not callable(target):
        return _check_agent(target, label)
    names = _argument_names(target)
    applicable = {name: value for name, value in settings.items() if name in names and value is not None}
    if conflicting := sorted(applicable.keys() & spec.args.keys()):
        raise UsageError(
            f"{label}: {conflicting[0]!r} is set by the flag of that name; remove it from the agent's arguments"
        )
    arguments = _parse_agent_arguments(target, {**applicable, **spec.args}, label)
    if "model" in parameters(target)[0]:
        arguments["model"] = model
    return _check_agent(target(**arguments), label)


def make_reader(spec: AgentSpec | None) -> Agent:
    """Return the agent that `spec` describes (None: ReAct), without a model: it can render chats but not act."""
    return make_agent(spec or AgentSpec(), NoModel())


def _config_type(target: Callable[..., Any]) -> Any:
    """Return the dataclass type of the argument `config`, or None if there is none."""
    declared = getattr(target, "config_type", None)
    if declared is not None:
        return declared
    hint = type_hints_of(target).get("config")
    choices = [hint, *typing.get_args(hint)]
    return next((each for each in choices if inspect.isclass(each) and dataclasses.is_dataclass(each)), None)


def _argument_names(target: Callable[..., Any]) -> set[str]:
    return set(parameters(_config_type(target) or target)[0])


def _parse_agent_arguments(target: Callable[..., Any], values: Mapping[str, Any], label: str) -> dict[str, Any]:
    config = _config_type(target)
    return (
        parse_arguments(target, values, label, ["model"])
        if config is None
        else {"config": build(config, values, label)}
    )


def _check_agent(agent: Any, label: str) -> Agent:
    missing = [name for name in ("name", "models", "spec", "act", "chats") if not hasattr(agent, name)]
    if missing:
        raise UsageError(f"{label} is {agent!r}, which lacks {', '.join(missing)}; expected a kintsugi.agents.Agent")
    if not inspect.iscoroutinefunction(agent.act):
        raise UsageError(f"{label}: act is not a coroutine function; define it as `async def act(self, episode)`")
    found: Agent = agent
    return found
