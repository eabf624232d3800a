"""`check_agent_env`: what every environment must keep to, as checks that its author can run.

All checks run; the one error at the end names every one that failed and says what was found, where, and what to do:
the last part is the check's own docstring.
"""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from ..errors import UsageError
from .core import AgentEnv, Task
from .random_walk import NONSENSE, Actions, Call, begin, difference, digests, follow, play, short, walk
from .registry import find

Subject = type[AgentEnv] | Callable[[], gymnasium.Env[Any, Any]] | gymnasium.Env[Any, Any] | str


class EnvCheckError(UsageError):
    """An environment breaks the contract."""

    def __init__(self, name: str, failures: dict[str, str]) -> None:
        self.failures = failures
        """What each failed check said, by the check's name."""
        lines = "".join(f"\n  {check}: {text}" for check, text in failures.items())
        super().__init__(f"{name} fails {len(failures)} of {len(CHECKS)} checks:{lines}")


def check_agent_env(
    env: Subject,
    *,
    task: Task | None = None,
    steps: int = 50,
    copies: int = 4,
    seed: int = 0,
    hash_seeds: Sequence[int] = (1, 2, 3),
) -> None:
    """Run every check of `CHECKS`; raise one `EnvCheckError` that lists those that fail.

    `env` is a class, a factory without arguments, the name or id of a registered environment, or an instance that has
    not begun an episode (others are made from its `spec`, or copied from it). The checks play `task`, or `copies` tasks
    that the environment draws itself, in walks of `steps` actions, half of them admissible and half nonsense, the same
    for the same `seed`; one walk is played in a new process for each of `hash_seeds` as well. Where steps are slow, ask
    for fewer, of an environment with a small `max_steps`.
    """
    if steps < 4 or copies < 2:
        raise UsageError(f"steps is {steps} and copies is {copies}; the checks compare at least 4 steps of 2 copies")
    case = _case(env, task, steps, copies, seed, tuple(hash_seeds))
    failures = {}
    for name, check in CHECKS.items():
        lesson = " ".join((check.__doc__ or "").split())
        try:
            check(case)
        except _Failed as failed:
            failures[name] = f"{failed}. {lesson}"
        except Exception as error:
            failures[name] = f"{type(error).__name__} was raised ({error}). {lesson}"
    if failures:
        raise EnvCheckError(case.name, failures)


class _Failed(Exception):
    """What a check found."""


def _require(fine: bool, found: str) -> None:
    if not fine:
        raise _Failed(found)


def _require_same(first: Sequence[Call], second: Sequence[Call], what: str) -> None:
    found = difference(first, second)
    _require(found is None, f"{what}: {found}")


def _require_refused(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except UsageError:
        return
    except Exception as error:
        raise _Failed(f"{what} raised {type(error).__name__} ({error}), expected UsageError") from error
    raise _Failed(f"{what} was accepted, expected UsageError")


# -- The environment under check --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    name: str
    make: Callable[..., AgentEnv]
    """A fresh instance; takes a `render_mode`."""
    tasks: tuple[Task, ...]
    """One for each copy; most checks play the first."""
    steps: int
    seed: int
    hash_seeds: tuple[int, ...]
    """PYTHONHASHSEED of each new process."""

    def actions(self, number: int = 0) -> Actions:
        return Actions(self.seed, number)


def _case(env: Subject, task: Task | None, steps: int, copies: int, seed: int, hash_seeds: tuple[int, ...]) -> _Case:
    make = _factory(env)
    first, second = make(), make()
    name = type(first).__name__
    if first is second:
        raise UsageError(f"the factory of {name} returned the same instance twice; make a new one at each call")
    drawn = []
    for number in range(copies if task is None else 0):
        first.reset(seed=seed + number)
        if first.task is None:
            raise UsageError(f"{name}.reset leaves no task; write `begin` and `act`, and let AgentEnv reset and step")
        drawn.append(first.task)
    for instance in (first, second):
        instance.close()
    return _Case(name, make, (task,) * copies if task else tuple(drawn), steps, seed, hash_seeds)


def _factory(env: Subject) -> Callable[..., AgentEnv]:
    build: Callable[..., Any] = env  # type: ignore[assignment]
    plain = not isinstance(env, type)
    if isinstance(env, str):
        registered = env in gymnasium.registry
        build, plain = (lambda **options: gymnasium.make(env, **options)) if registered else find(env).load(), False
    elif isinstance(env, gymnasium.Env):
        instance, spec = env.unwrapped, env.spec
        if spec is None and getattr(instance, "task", None) is not None:
            raise UsageError("the instance has begun an episode and has no spec to make others from; give its class")
        build, plain = (spec.make, False) if spec else ((lambda: copy.deepcopy(instance)), True)

    def make(render_mode: str | None = None) -> AgentEnv:
        built = build() if plain or render_mode is None else build(render_mode=render_mode)
        made = getattr(built, "unwrapped", built)
        if not isinstance(made, AgentEnv):
            raise UsageError(f"{env!r} makes {made!r}; expected a subclass of kintsugi.envs.AgentEnv")
        made.render_mode = render_mode or made.render_mode
        return made

    return make


# -- The checks: what each docstring says is what its error teaches --------------------------------------------------


def _gymnasium(case: _Case) -> None:
    """Gymnasium's own checker must pass, and its warnings count as errors."""
    spec = EnvSpec("Checked-v0", entry_point=case.make, disable_env_checker=True, order_enforce=False)
    env = gymnasium.make(spec).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Comes from the garbage collector, whenever that runs, about what anybody in the process left open.
        warnings.simplefilter("ignore", ResourceWarning)
        check_env(env)
    texts = [re.sub(r"\x1b\[\d+m", "", str(warning.message)) for warning in caught]
    _require(not texts, f"check_env warned: {' | '.join(texts)}")


def _declarations(case: _Case) -> None:
    """Set `env_id` to the Gymnasium id and `metadata["snapshot"]` to "exact" (then define get_state and set_state) or
    "replay"; `tasks` gives tasks of that id, as many as are asked for, and the same ones for the same arguments.
    """
    env = case.make()
    kind, cls = env.metadata.get("snapshot"), type(env)
    _require(kind in ("exact", "replay"), f"metadata['snapshot'] is {kind!r}")
    complete = cls.get_state is not AgentEnv.get_state and cls.set_state is not AgentEnv.set_state
    _require(kind != "exact" or complete, "exact snapshots are declared, but get_state or set_state is missing")
    _require(isinstance(getattr(cls, "env_id", None), str), f"{cls.__name__}.env_id is missing")
    one, two = (cls.tasks("train", 1, case.seed) for _ in range(2))
    _require(one.hash == two.hash, f"tasks('train', 1, {case.seed}) gave two different sets")
    _require(len(one) == 1, f"tasks('train', 1, {case.seed}) gave {len(one)} tasks")
    foreign = sorted({task.env_id for task in (*one, *case.tasks)} - {cls.env_id})
    _require(not foreign, f"tasks are of {foreign}, the environment is {cls.env_id!r}")


def _info(case: _Case) -> None:
    """Observations are within the space, however long the action was. `info` has `admissible` as a tuple of str of the
    action space (never empty in a running episode: leave it out where it is not known), `success` as a bool, `score`
    in [0, 1], `invalid` as a reason in words (absent when the action was not refused), and `task_id` after reset.
    """
    for number, task in enumerate(case.tasks):
        env = case.make()
        for call in walk(env, task, case.actions(number), case.steps):
            _require_clean(env, call)
            named = call.action is not None or call.info.get("task_id") == task.id
            _require(named, f"info['task_id'] is {call.info.get('task_id')!r} after the reset to {task.id!r}")


def _require_clean(env: AgentEnv, call: Call) -> None:
    info, observation = call.info, call.observation
    _require(observation in env.observation_space, f"{call}: {short(observation)} is not in {env.observation_space}")
    if "admissible" in info:
        listed = info["admissible"]
        fine = isinstance(listed, tuple) and all(isinstance(a, str) and a in env.action_space for a in listed)
        _require(fine and (bool(listed) or call.over), f"{call}: info['admissible'] is {short(listed)}")
    score, success, invalid = info.get("score", 0.0), info.get("success", False), info.get("invalid", "why")
    fine = isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1
    _require(fine, f"{call}: info['score'] is {score!r}")
    _require(type(success) is bool, f"{call}: info['success'] is {success!r}")
    _require(isinstance(invalid, str) and bool(invalid), f"{call}: info['invalid'] is {invalid!r}")


def _twins(case: _Case) -> None:
    """An episode is a function of task, seed and actions: draw from self.np_random alone, iterate over no set, and keep
    clocks, ids and addresses out of observation and info.
    """
    for number, task in enumerate(case.tasks):
        calls = walk(case.make(), task, case.actions(number), case.steps)
        _require_same(calls, follow(case.make(), task, calls), f"two roll-outs of task {task.id!r} differ")


def _processes(case: _Case) -> None:
    """An episode is the same in every process: iterate over no set of strings and use no hash(), for their order and
    value change with PYTHONHASHSEED.
    """
    env, task = case.make(), case.tasks[0]
    calls = walk(env, task, case.actions(), case.steps)
    found = digests(type(env), task, calls, case.hash_seeds)
    count = len(case.hash_seeds)
    _require(len(found) < 2, f"one roll-out of task {task.id!r} in {count} processes ended {len(found)} ways")


def _seeds(case: _Case) -> None:
    """`reset(seed=)` seeds self.np_random; draw from it alone, the task of a reset without task included. A reset to a
    task without seed is one with task.seed.
    """
    task, n = case.tasks[0], case.steps // 2
    one, two = case.make(), case.make()
    for seed in (case.seed, None, None):
        first, second = begin(one, None, seed), begin(two, None, seed)
        _require_same(
            [first], [second], f"reset(seed={case.seed}) and the unseeded resets after it differ in two copies"
        )
    calls = walk(one, task, case.actions(), n)
    again = [begin(two, task, task.seed), *follow(two, task, calls[1:])]
    _require_same(calls, again, f"reset with the seed {task.seed} of task {task.id!r} differs from reset without one")
    for seed in (case.seed + 1, case.seed + 2):
        calls = [begin(one, task, seed)]
        calls += walk(one, task, case.actions(seed), n, calls[0])
        again = [begin(two, task, seed), *follow(two, task, calls[1:])]
        _require_same(calls, again, f"two episodes of task {task.id!r} with the seed {seed} differ")
    drawn = {(begin(one, None, seed).observation, one.task) for seed in range(16)}
    _require(len(drawn) > 1 or len(type(one).tasks("train")) == 1, "seeds 0 to 15 all drew the same task")


def _reuse(case: _Case) -> None:
    """`begin` must build the whole world anew: look for an attribute that it does not set."""
    task, used = case.tasks[0], case.make()
    calls = walk(case.make(), task, case.actions(), case.steps)
    walk(used, case.tasks[-1], case.actions(1), case.steps // 2)
    _require_same(calls, follow(used, task, calls), "an instance that was played before differs from a fresh one")


def _copies(case: _Case) -> None:
    """Keep the world in attributes of the instance: none of the class, none of the module."""
    serial = [walk(case.make(), task, case.actions(i), case.steps) for i, task in enumerate(case.tasks)]
    envs = [case.make() for _ in case.tasks]
    together: list[list[Call]] = [[] for _ in envs]
    for number in range(case.steps + 1):
        for env, task, calls, mine in zip(envs, case.tasks, serial, together, strict=True):
            mine.append(play(env, task, calls[number].action))
    for number, (alone, mine) in enumerate(zip(serial, together, strict=True)):
        _require_same(alone, mine, f"copy {number} of {len(envs)} differs when the others play in between")


def _snapshots(case: _Case) -> None:
    """Exact worlds: get_state returns all that the future depends on, own counters and generators included, as an
    immutable value, and set_state puts all of it back, in an instance that never began as well. Replayed worlds: the
    world is a function of task, seed and actions. Taking a snapshot changes nothing and draws nothing.
    """
    task, env, actions = case.tasks[0], case.make(), case.actions()
    past = walk(env, task, actions, case.steps // 2)
    while past[-1].over:
        past += walk(env, task, actions, 1, past[-1])
    snapshot = env.snapshot()
    future = walk(env, task, actions, max(case.steps // 2, env.max_steps - env.steps + 2), past[-1])
    quiet = follow(case.make(), task, [*past, *future])[len(past) :]
    _require_same(future, quiet, "an episode in which a snapshot was taken differs from one in which none was")
    other = case.make()
    walk(other, task, case.actions(1), 3)
    for where, instance in {
        "after the end of the episode": env,
        "a second time": env,
        "in a fresh instance": case.make(),
        "in another instance amid the same task": other,
    }.items():
        instance.restore(snapshot)
        found = instance.steps, instance.np_random.bit_generator.state
        _require(found == (snapshot.steps, snapshot.rng), f"restored {where}, step counter or generator differ")
        _require_same(future, follow(instance, task, future), f"restored {where}, the same actions lead elsewhere")
    start = begin(other, None, case.seed)
    task = other.task or task
    past = walk(other, task, actions, 2, start)
    snapshot = other.snapshot()
    future = walk(other, task, actions, 2, past[-1])
    other.restore(snapshot)
    _require_same(future, follow(other, task, future), "restored to a reset that drew its task, they lead elsewhere")


def _pickling(case: _Case) -> None:
    """Environments and snapshots go to other processes amid an episode: keep plain values in attributes, and for a
    handle (a file, a lock, a generator) define __getstate__ and __setstate__.
    """
    task, env = case.tasks[0], case.make()
    past = walk(env, task, case.actions(), case.steps // 2)
    twin, snapshot = pickle.loads(pickle.dumps((env, env.snapshot())))
    future = walk(env, task, case.actions(1), case.steps // 2, past[-1])
    _require_same(future, follow(twin, task, future), "an unpickled environment plays differently")
    begin(twin, task)
    twin.restore(snapshot)
    _require_same(future, follow(twin, task, future), "an unpickled snapshot leads elsewhere")


def _admissible(case: _Case) -> None:
    """List exactly the actions that will not be refused."""
    env = case.make()
    for number, length in enumerate((0, 2, 6, 14, 30)):
        task = case.tasks[number % len(case.tasks)]
        past = walk(env, task, case.actions(number), min(length, case.steps))
        for action in () if past[-1].over else past[-1].info.get("admissible", ()):
            follow(env, task, past)
            refused = play(env, task, action).info.get("invalid")
            _require(refused is None, f"the admissible {action!r} was refused after {len(past) - 1} steps ({refused})")


def _nonsense(case: _Case) -> None:
    """A bad action is feedback, not an error: say in the observation that nothing happened. What is not in
    info["admissible"] is refused with the reason in info["invalid"].
    """
    env, task = case.make(), case.tasks[0]
    for action in NONSENSE:
        listed = begin(env, task).info.get("admissible", NONSENSE)
        call = play(env, task, action)
        _require_clean(env, call)
        _require(action in listed or "invalid" in call.info, f"{call} is not admissible, yet it was not refused")


def _misuse(case: _Case) -> None:
    """Misuse raises UsageError: write `begin` and `act`, and leave reset, step, snapshot and restore to AgentEnv, or
    call them first.
    """
    env, task = case.make(), case.tasks[0]
    _require_refused(lambda: env.step("look"), "step before the first reset")
    _require_refused(env.snapshot, "snapshot before the first reset")
    foreign = replace(task, env_id="elsewhere/World-v0")
    _require_refused(lambda: begin(env, foreign), "reset to a task of another environment")
    begin(env, task)
    snapshot = replace(env.snapshot(), env_id="elsewhere/World-v0")
    _require_refused(lambda: env.restore(snapshot), "restoring a snapshot of another environment")


def _ending(case: _Case) -> None:
    """An episode ends after `max_steps` steps at the latest, truncated unless the task's own end was reached just then;
    info["success"] is known by then, and step raises UsageError. Leave the counting to AgentEnv.step.
    """
    env, task = case.make(), case.tasks[0]
    call = begin(env, task)
    for _ in range(env.max_steps):
        call = call if call.over else play(env, task, "xyzzy")
    _require(call.over, f"the episode still runs after max_steps = {env.max_steps}")
    _require(not (call.terminated and call.truncated), f"{call}: both terminated and truncated")
    _require("success" in call.info, f"{call}: info of the last step has no 'success'")
    last = env.snapshot()
    _require_refused(lambda: env.step("look"), "step after the end")
    begin(env, task)
    env.restore(last)
    _require_refused(lambda: env.step("look"), "step after an ended episode was restored")


def _closing(case: _Case) -> None:
    """`close` may be called twice, before any reset too, and leaves other instances alone."""
    idle, played, other = case.make(), case.make(), case.make()
    past = walk(played, case.tasks[0], case.actions(), 3)
    begin(other, case.tasks[0])
    for env in (idle, idle, played, played):
        env.close()
    _require_same(past[1:], follow(other, case.tasks[0], past[1:]), "closing one instance changed another")


CHECKS: dict[str, Callable[[_Case], None]] = {
    check.__name__.lstrip("_"): check
    for check in (
        _gymnasium,
        _declarations,
        _info,
        _twins,
        _processes,
        _seeds,
        _reuse,
        _copies,
        _snapshots,
        _pickling,
        _admissible,
        _nonsense,
        _misuse,
        _ending,
        _closing,
    )
}
"""By the name that errors use."""
