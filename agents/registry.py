"""Which agents there are, and how one is made from an `AgentSpec`.

A package offers one by its name in its `pyproject.toml`:

    [project.entry-points."kintsugi.agents"]
    my-agent = "mypackage.agent:MyAgent"

What is named is a class or a function of `model` and, if it wants one, `config`: a dataclass, whose fields can then be
set from outside; or an agent that is ready as it is.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import arguments, build, hints_of, parameters
from ..errors import UsageError
from ..plugins import Plugin, find_plugin, plugins
from .core import Agent
from .models.core import LanguageModel, Unusable
from .trajectory import AgentSpec

GROUP = "kintsugi.agents"
BUILTIN = (
    Plugin("react", "kintsugi.agents.react:ReActAgent", "a thought, then an action (ReAct)"),
    Plugin("trading-group", "kintsugi.agents.trading_group:TradingGroup", "a trading desk of five roles"),
)


def agents() -> list[Plugin]:
    """Ours first, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def make_agent(spec: AgentSpec, model: LanguageModel, **usual: Any) -> Agent:
    """The agent that `spec` describes, over `model`.

    `usual` is what whoever plays it has decided, such as `temperature`; what the agent does not know of is left out.
    Raises `UsageError` for an unknown agent, an argument that does not exist, and one that `usual` sets already.
    """
    made, what = find_plugin("agent", GROUP, spec.id, BUILTIN).load(), f"agent {spec.id!r}"
    if not callable(made):
        return _checked(made, what)
    known = _known(made)
    decided = {name: value for name, value in usual.items() if name in known and value is not None}
    if twice := sorted(decided.keys() & spec.args.keys()):
        raise UsageError(f"{what}: {twice[0]!r} is set by the flag of that name; leave it out of the agent's arguments")
    given = _arguments(made, {**decided, **spec.args}, what)
    if "model" in parameters(made)[0]:
        given["model"] = model
    return _checked(made(**given), what)


def reader(spec: AgentSpec | None) -> Agent:
    """The agent that made an attempt, to read it with: it can render chats and not act. ReAct's for None."""
    return make_agent(spec or AgentSpec(), Unusable())


def _config_type(made: Callable[..., Any]) -> Any:
    """The dataclass that the argument `config` takes; None where there is none."""
    declared = getattr(made, "config_type", None)
    if declared is not None:
        return declared
    hint = hints_of(made).get("config")
    choices = [hint, *typing.get_args(hint)]
    return next((each for each in choices if inspect.isclass(each) and dataclasses.is_dataclass(each)), None)


def _known(made: Callable[..., Any]) -> set[str]:
    return set(parameters(_config_type(made) or made)[0])


def _arguments(made: Callable[..., Any], values: Mapping[str, Any], what: str) -> dict[str, Any]:
    config = _config_type(made)
    return arguments(made, values, what, ["model"]) if config is None else {"config": build(config, values, what)}


def _checked(agent: Any, what: str) -> Agent:
    lacking = [name for name in ("name", "models", "spec", "act", "chats") if not hasattr(agent, name)]
    if lacking:
        raise UsageError(f"{what} is {agent!r}, which lacks {', '.join(lacking)}; expected a kintsugi.agents.Agent")
    if not inspect.iscoroutinefunction(agent.act):
        raise UsageError(f"{what}: its act is no coroutine; write `async def act(self, episode)`")
    found: Agent = agent
    return found
