"""Calls of environments, which may be a stranger's: what one episode raises or returns ends that episode at most.

An exception of an environment becomes an `InfraError` that names it, and so does a result of a wrong type. A
`UsageError` becomes a `RefusedError`: it may concern one task (a damaged file) or all of them (bad configuration), so
the caller decides when it knows of other episodes. `InfraError`, `TooLongError` (of a judge's model) and missing extras
pass. Texts come back as well-formed Unicode except for lone surrogates, which are characters like any other: stores
keep them, tokenizers read them as U+FFFD.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..envs.core import AgentEnv, Task
from ..envs.tasks import join_surrogates
from ..errors import InfraError, MissingExtraError, TooLongError, UsageError, missing_extra

MAX_ERROR_CHARS = 500
"""Maximum length of what is quoted of an exception's text, in characters."""


class RefusedError(InfraError):
    """An environment raised a `UsageError` in an episode.

    Attributes:
        refusal: What it raised.
    """

    def __init__(self, message: str, refusal: UsageError) -> None:
        super().__init__(message)
        self.refusal = refusal


def reset(env: AgentEnv, task: Task) -> tuple[str, dict[str, Any]]:
    """Return observation and info of `env.reset` for a task; see the module for what it raises."""
    with named_errors(env, "reset"):
        result: Any = env.reset(options={"task": task})
    observation, info = _parts(env, "reset", result, 2)
    return _text(env, "reset", observation), _info(env, "reset", info)


def step(env: AgentEnv, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """Return the result of `env.step` for an action; see the module for what it raises."""
    with named_errors(env, "step"):
        result: Any = env.step(action)
    observation, reward, terminated, truncated, info = _parts(env, "step", result, 5)
    return (
        _text(env, "step", observation),
        _number(env, "step", "the reward", reward),
        bool(terminated),
        bool(truncated),
        _info(env, "step", info),
    )


@contextlib.contextmanager
def named_errors(env: AgentEnv, method: str) -> Iterator[None]:
    """Convert an exception that a method of an environment raises to an `InfraError` that names it."""
    try:
        yield
    except (InfraError, MissingExtraError, TooLongError):
        raise
    except UsageError as error:
        raise RefusedError(f"{type(env).__name__}.{method} refused its task: {_described(error)}", error) from error
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and missing_extra(error):
            raise
        raise InfraError(f"{type(env).__name__}.{method} raised {type(error).__name__}: {_described(error)}") from error


def _described(error: Exception) -> str:
    try:
        return join_surrogates(str(error))[:MAX_ERROR_CHARS]
    except Exception:
        return "an exception whose text cannot be read"


def _parts(env: AgentEnv, method: str, result: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(result, tuple) or len(result) != count:
        raise _wrong(env, method, "a result", result, f"a tuple of {count}")
    return result


def _text(env: AgentEnv, method: str, observation: Any) -> str:
    if not isinstance(observation, str):
        raise _wrong(env, method, "an observation", observation, "a str")
    return join_surrogates(observation)


def _number(env: AgentEnv, method: str, what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(env, method, what, value, "a finite number")
    return number


def _info(env: AgentEnv, method: str, info: Any) -> dict[str, Any]:
    if not isinstance(info, Mapping):
        raise _wrong(env, method, "info", info, "a dict")
    checked = dict(info)
    if "score" in checked:
        checked["score"] = _number(env, method, "the score in info", checked["score"])
    for key in ("invalid", "goal"):
        if not isinstance(text := checked.get(key, ""), str) and not (key == "invalid" and text is None):
            raise _wrong(env, method, f"info[{key!r}]", text, "a str")
        if isinstance(text, str) and key in checked:
            checked[key] = join_surrogates(text)
    admissible = checked.get("admissible", ())
    if not isinstance(admissible, tuple | list) or not all(isinstance(action, str) for action in admissible):
        raise _wrong(env, method, "info['admissible']", admissible, "a tuple of str")
    return checked


def _wrong(env: AgentEnv, method: str, what: str, value: Any, expected: str) -> InfraError:
    try:
        shown = repr(value)[:80]
    except Exception:
        shown = "an object whose text cannot be read"
    return InfraError(
        f"{type(env).__name__}.{method} returned {what} of type {type(value).__name__} ({shown}); expected {expected}"
    )
