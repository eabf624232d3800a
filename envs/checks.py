"""`check_agent_env`: test whether an environment keeps the contract of `AgentEnv`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium

from ..errors import UsageError
from .conformance import CHECKS, CheckContext, CheckFailedError
from .core import AgentEnv, Task
from .registry import find

EnvLike = type[AgentEnv] | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any] | str


class EnvCheckError(UsageError):
    """An environment fails at least one check of `check_agent_env`."""

    def __init__(self, name: str, failures: dict[str, str]) -> None:
        self.failures = failures
        """By name of the failed check: what it found, and the rule that the environment breaks."""
        lines = "".join(f"\n  {check}: {text}" for check, text in failures.items())
        super().__init__(f"{name} fails {len(failures)} of {len(CHECKS)} checks:{lines}")


def check_agent_env(
    env: EnvLike,
    *,
    task: Task | None = None,
    steps: int = 50,
    copies: int = 4,
    seed: int = 0,
    hash_seeds: Sequence[int] = (1, 2, 3),
) -> None:
    """Check that an environment keeps the contract of `AgentEnv`.

    The checks play random walks: half of the actions are drawn from `info["admissible"]`, the others are nonsense. All
    checks run, whether or not earlier ones fail. If steps are slow, use fewer `steps` and a small `max_steps`.

    Args:
        env: A class, a factory without arguments, the name or id of a registered environment, or an instance that
            has not been reset yet (further instances are made from its `spec`, or by copying it).
        task: The task to play. By default, the checks play `copies` tasks that the environment draws itself.
        steps: Actions in each random walk; at least 4.
        copies: Instances that are played side by side; at least 2.
        seed: Seed of the random walks and of the drawn tasks.
        hash_seeds: One walk is repeated in a new process for each of these values of `PYTHONHASHSEED`. Empty skips
            this check, which takes seconds.

    Raises:
        EnvCheckError: If at least one check fails. The message says for each failed check what it found, at which
            call, and which rule the environment breaks.
        UsageError: If `env` makes no `AgentEnv`, or if `steps` or `copies` is too small.
    """
    if steps < 4 or copies < 2:
        raise UsageError(f"steps is {steps} and copies is {copies}; expected at least 4 steps and 2 copies")
    context = _build_context(env, task, steps, copies, seed, tuple(hash_seeds))
    failures = {}
    for name, check in CHECKS.items():
        rule = " ".join((check.__doc__ or "").split())
        try:
            check(context)
        except CheckFailedError as failed:
            failures[name] = f"{failed}. {rule}"
        except Exception as error:
            failures[name] = f"{type(error).__name__} was raised ({error}). {rule}"
    if failures:
        raise EnvCheckError(context.name, failures)


def _build_context(
    env: EnvLike, task: Task | None, steps: int, copies: int, seed: int, hash_seeds: tuple[int, ...]
) -> CheckContext:
    """Check that the factory makes new instances, draw the tasks, and collect what the checks need."""
    make = _factory(env)
    first, second = make(), make()
    name = type(first).__name__
    if first is second:
        raise UsageError(
            f"the factory of {name} returned the same instance twice; expected a new one: create it in the factory"
        )
    drawn = []
    for number in range(copies if task is None else 0):
        first.reset(seed=seed + number)
        if first.task is None:
            raise UsageError(
                f"{name}.task is None after reset; expected a Task: define `begin` and `act`, and do not override reset"
            )
        drawn.append(first.task)
    for instance in (first, second):
        instance.close()
    return CheckContext(name, make, (task,) * copies if task else tuple(drawn), steps, seed, hash_seeds)


def _factory(env: EnvLike) -> Callable[..., AgentEnv]:
    """Return a function that makes instances of `env` and accepts a `render_mode`."""
    build: Callable[..., Any] = env  # type: ignore[assignment]
    takes_no_options = not isinstance(env, type)
    if isinstance(env, str):
        registered = env in gymnasium.registry
        build, takes_no_options = (
            (lambda **options: gymnasium.make(env, **options)) if registered else find(env).load(),
            False,
        )
    elif isinstance(env, gymnasium.Env):
        instance, spec = env.unwrapped, env.spec
        if spec is None and getattr(instance, "task", None) is not None:
            raise UsageError(
                "the instance has started an episode and has no spec; expected a new instance; pass its class instead"
            )
        build, takes_no_options = (spec.make, False) if spec else ((lambda: copy.deepcopy(instance)), True)

    def make(render_mode: str | None = None) -> AgentEnv:
        built = build() if takes_no_options or render_mode is None else build(render_mode=render_mode)
        made = getattr(built, "unwrapped", built)
        if not isinstance(made, AgentEnv):
            raise UsageError(f"{env!r} makes {made!r}; expected a subclass of kintsugi.envs.AgentEnv")
        made.render_mode = render_mode or made.render_mode
        return made

    return make
