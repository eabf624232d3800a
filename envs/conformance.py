"""The checks that `check_agent_env` runs.

Each check is a function whose docstring states a rule of the environment contract. When the check fails, the error
message quotes the docstring after the finding, so every docstring says what the author of the environment must do.
"""

from __future__ import annotations

import math
import pickle
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from ..errors import UsageError
from .core import AgentEnv, Task
from .random_walk import (
    NONSENSE_ACTIONS,
    Call,
    RandomActions,
    first_difference,
    process_digests,
    random_walk,
    record_call,
    record_reset,
    replay_calls,
    short_repr,
)


@dataclass(frozen=True)
class CheckContext:
    """The environment under check and the settings that all checks share."""

    name: str
    """Class name of the environment, for messages."""
    make: Callable[..., AgentEnv]
    """Returns a new instance; accepts a `render_mode`."""
    tasks: tuple[Task, ...]
    """One task per copy. Most checks play the first one only."""
    steps: int
    """Length of a random walk, in actions."""
    seed: int
    hash_seeds: tuple[int, ...]
    """`PYTHONHASHSEED` of each new process."""

    def actions(self, number: int = 0) -> RandomActions:
        """Return the stream of random actions with this number."""
        return RandomActions(self.seed, number)


class CheckFailedError(Exception):
    """A check failed. The message says what the check found."""


def require(passed: bool, found: str) -> None:
    """Raise `CheckFailedError` with the text `found` unless `passed`."""
    if not passed:
        raise CheckFailedError(found)


def require_same(first: Sequence[Call], second: Sequence[Call], what: str) -> None:
    """Require that two sequences of calls returned exactly the same values."""
    found = first_difference(first, second)
    require(found is None, f"{what}: {found}")


def require_refused(call: Callable[[], object], what: str) -> None:
    """Require that `call` raises `UsageError`."""
    try:
        call()
    except UsageError:
        return
    except Exception as error:
        raise CheckFailedError(f"{what} raised {type(error).__name__} ({error}); expected UsageError") from error
    raise CheckFailedError(f"{what} was accepted; expected UsageError")


# -- The checks. Error messages quote the docstrings. -----------------------------------------------------------------


def _gymnasium(context: CheckContext) -> None:
    """`gymnasium.utils.env_checker.check_env` must pass without warnings.

    Fix what its message says. Most messages concern `metadata`, the spaces, or an `info` dictionary that changes
    after it has been returned.
    """
    spec = EnvSpec("Checked-v0", entry_point=context.make, disable_env_checker=True, order_enforce=False)
    env = gymnasium.make(spec).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # The garbage collector issues these at any time, for files that unrelated code left open.
        warnings.simplefilter("ignore", ResourceWarning)
        check_env(env)
    texts = [re.sub(r"\x1b\[\d+m", "", str(warning.message)) for warning in caught]
    require(not texts, f"check_env warned: {' | '.join(texts)}")


def _declarations(context: CheckContext) -> None:
    """The class must define its id, its kind of snapshots and its tasks.

    Set `env_id` to the Gymnasium id. Set `metadata["snapshot"]` to "replay", or to "exact" and define get_state and
    set_state. `tasks(split, n, seed)` must return `n` tasks with this `env_id`, and equal tasks for equal arguments.
    """
    env = context.make()
    kind, cls = env.metadata.get("snapshot"), type(env)
    require(kind in ("exact", "replay"), f"metadata['snapshot'] is {kind!r}; expected 'exact' or 'replay'")
    complete = cls.get_state is not AgentEnv.get_state and cls.set_state is not AgentEnv.set_state
    require(kind != "exact" or complete, "metadata['snapshot'] is 'exact', but get_state or set_state is not defined")
    require(isinstance(getattr(cls, "env_id", None), str), f"{cls.__name__}.env_id is missing")
    one, two = (cls.tasks("train", 1, context.seed) for _ in range(2))
    require(one.hash == two.hash, f"tasks('train', 1, {context.seed}) returned two different task sets")
    require(len(one) == 1, f"tasks('train', 1, {context.seed}) returned {len(one)} tasks; expected 1")
    foreign = sorted({task.env_id for task in (*one, *context.tasks)} - {cls.env_id})
    require(not foreign, f"tasks have the env_id {foreign}; expected {cls.env_id!r}")


def _info(context: CheckContext) -> None:
    """Observations must lie in the observation space, and entries of `info` must have the right types.

    Observations must fit even after a very long action. In `info`, `admissible` is a tuple of strings of the action
    space (not empty while the episode runs; omit the key if the actions cannot be listed), `success` is a bool, `score`
    is a number in [0, 1], `invalid` is a non-empty text that says why the action was refused (omit the key if it was
    not), and after reset `task_id` is the id of the task.
    """
    for number, task in enumerate(context.tasks):
        env = context.make()
        for call in random_walk(env, task, context.actions(number), context.steps):
            require_valid(env, call)
            named = call.action is not None or call.info.get("task_id") == task.id
            require(named, f"info['task_id'] is {call.info.get('task_id')!r} after reset; expected {task.id!r}")


def require_valid(env: AgentEnv, call: Call) -> None:
    """Require that observation and info of a call have the types and ranges of the contract."""
    info, observation = call.info, call.observation
    require(
        observation in env.observation_space, f"{call}: {short_repr(observation)} is not in {env.observation_space}"
    )
    if "admissible" in info:
        listed = info["admissible"]
        fine = isinstance(listed, tuple) and all(isinstance(a, str) and a in env.action_space for a in listed)
        require(fine and (bool(listed) or call.over), f"{call}: info['admissible'] is {short_repr(listed)}")
    score, success, invalid = info.get("score", 0.0), info.get("success", False), info.get("invalid", "why")
    fine = isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1
    require(fine, f"{call}: info['score'] is {score!r}")
    require(type(success) is bool, f"{call}: info['success'] is {success!r}")
    require(isinstance(invalid, str) and bool(invalid), f"{call}: info['invalid'] is {invalid!r}")


def _determinism(context: CheckContext) -> None:
    """Equal task, seed and actions must give equal episodes.

    Draw random numbers only from self.np_random, do not iterate over sets, and keep times, random ids and memory
    addresses out of observations and info.
    """
    for number, task in enumerate(context.tasks):
        calls = random_walk(context.make(), task, context.actions(number), context.steps)
        require_same(calls, replay_calls(context.make(), task, calls), f"two equal episodes of task {task.id!r} differ")


def _processes(context: CheckContext) -> None:
    """An episode must be the same in every process.

    Do not iterate over sets of strings and do not use hash(): order and hashes change with PYTHONHASHSEED, which
    differs between processes.
    """
    env, task = context.make(), context.tasks[0]
    calls = random_walk(env, task, context.actions(), context.steps)
    found = process_digests(type(env), task, calls, context.hash_seeds)
    count = len(context.hash_seeds)
    require(len(found) < 2, f"one episode of task {task.id!r} in {count} processes gave {len(found)} different results")


def _seeds(context: CheckContext) -> None:
    """The seed must determine all random numbers, and must default to task.seed.

    `reset(seed=...)` seeds self.np_random. Draw all random numbers from it, also the task if reset is given none. A
    reset with a task but without a seed uses task.seed. `AgentEnv.reset` does all of this: do not override it.
    """
    task, n = context.tasks[0], context.steps // 2
    one, two = context.make(), context.make()
    for seed in (context.seed, None, None):
        first, second = record_reset(one, None, seed), record_reset(two, None, seed)
        require_same([first], [second], f"reset(seed={context.seed}) or a reset after it differs in two instances")
    calls = random_walk(one, task, context.actions(), n)
    again = [record_reset(two, task, task.seed), *replay_calls(two, task, calls[1:])]
    require_same(calls, again, f"reset to task {task.id!r} with its seed {task.seed} differs from reset without a seed")
    for seed in (context.seed + 1, context.seed + 2):
        calls = [record_reset(one, task, seed)]
        calls += random_walk(one, task, context.actions(seed), n, calls[0])
        again = [record_reset(two, task, seed), *replay_calls(two, task, calls[1:])]
        require_same(calls, again, f"two episodes of task {task.id!r} with the seed {seed} differ")
    drawn = {(record_reset(one, None, seed).observation, one.task) for seed in range(16)}
    require(len(drawn) > 1 or len(type(one).tasks("train")) == 1, "reset drew the same task for all seeds from 0 to 15")


def _reuse(context: CheckContext) -> None:
    """`begin` must rebuild the whole state. Look for an attribute that `begin` does not reset."""
    task, used = context.tasks[0], context.make()
    calls = random_walk(context.make(), task, context.actions(), context.steps)
    random_walk(used, context.tasks[-1], context.actions(1), context.steps // 2)
    require_same(calls, replay_calls(used, task, calls), "an instance that was used before differs from a new one")


def _isolation(context: CheckContext) -> None:
    """Instances must not affect each other. Keep all state in instance attributes, not in the class or the module."""
    serial = [
        random_walk(context.make(), task, context.actions(i), context.steps) for i, task in enumerate(context.tasks)
    ]
    envs = [context.make() for _ in context.tasks]
    together: list[list[Call]] = [[] for _ in envs]
    for number in range(context.steps + 1):
        for env, task, calls, interleaved in zip(envs, context.tasks, serial, together, strict=True):
            interleaved.append(record_call(env, task, calls[number].action))
    for number, (alone, interleaved) in enumerate(zip(serial, together, strict=True)):
        require_same(alone, interleaved, f"copy {number} of {len(envs)} differs when other copies play in between")


def _snapshots(context: CheckContext) -> None:
    """A restored episode must continue exactly as the original one.

    With snapshot "exact", get_state returns everything that later steps depend on, such as counters and random
    generators, as an immutable value. set_state restores all of it, also in an instance whose `begin` was never called.
    With snapshot "replay", equal task, seed and actions must give equal states. Taking a snapshot must not change the
    state or draw random numbers.
    """
    task, env, actions = context.tasks[0], context.make(), context.actions()
    past = random_walk(env, task, actions, context.steps // 2)
    while past[-1].over:
        past += random_walk(env, task, actions, 1, past[-1])
    snapshot = env.snapshot()
    future = random_walk(env, task, actions, max(context.steps // 2, env.max_steps - env.steps + 2), past[-1])
    without_snapshot = replay_calls(context.make(), task, [*past, *future])[len(past) :]
    require_same(future, without_snapshot, "an episode with a snapshot differs from the same episode without one")
    other = context.make()
    random_walk(other, task, context.actions(1), 3)
    for where, instance in {
        "after the end of the episode": env,
        "a second time": env,
        "in a new instance": context.make(),
        "in another running episode of the same task": other,
    }.items():
        instance.restore(snapshot)
        found = instance.steps, instance.np_random.bit_generator.state
        require(
            found == (snapshot.steps, snapshot.rng),
            f"restored {where}, the step counter or the random generator differs",
        )
        require_same(
            future, replay_calls(instance, task, future), f"restored {where}, the episode continues differently"
        )
    start = record_reset(other, None, context.seed)
    task = other.task or task
    past = random_walk(other, task, actions, 2, start)
    snapshot = other.snapshot()
    future = random_walk(other, task, actions, 2, past[-1])
    other.restore(snapshot)
    require_same(
        future, replay_calls(other, task, future), "restored, an episode with a drawn task continues differently"
    )


def _pickling(context: CheckContext) -> None:
    """Environments and snapshots must survive pickling in the middle of an episode.

    Keep plain values in attributes. If an attribute is a handle (a file, a lock, a generator), define __getstate__ and
    __setstate__.
    """
    task, env = context.tasks[0], context.make()
    past = random_walk(env, task, context.actions(), context.steps // 2)
    twin, snapshot = pickle.loads(pickle.dumps((env, env.snapshot())))
    future = random_walk(env, task, context.actions(1), context.steps // 2, past[-1])
    require_same(future, replay_calls(twin, task, future), "an unpickled environment continues differently")
    record_reset(twin, task)
    twin.restore(snapshot)
    require_same(future, replay_calls(twin, task, future), "restored from a pickle, the episode continues differently")


def _admissible(context: CheckContext) -> None:
    """`info["admissible"]` must list only actions that are accepted in the current state."""
    env = context.make()
    for number, length in enumerate((0, 2, 6, 14, 30)):
        task = context.tasks[number % len(context.tasks)]
        past = random_walk(env, task, context.actions(number), min(length, context.steps))
        for action in () if past[-1].over else past[-1].info.get("admissible", ()):
            replay_calls(env, task, past)
            refused = record_call(env, task, action).info.get("invalid")
            require(
                refused is None, f"the admissible action {action!r} was refused after {len(past) - 1} steps ({refused})"
            )


def _nonsense(context: CheckContext) -> None:
    """Bad actions must not raise an error.

    Return an observation that says that nothing happened, and give the reason in info["invalid"] for every action that
    is not in info["admissible"].
    """
    env, task = context.make(), context.tasks[0]
    for action in NONSENSE_ACTIONS:
        listed = record_reset(env, task).info.get("admissible", NONSENSE_ACTIONS)
        call = record_call(env, task, action)
        require_valid(env, call)
        require(
            action in listed or "invalid" in call.info,
            f"{call} is not in info['admissible'], but info['invalid'] is missing",
        )


def _misuse(context: CheckContext) -> None:
    """Wrong calls must raise UsageError.

    AgentEnv checks calls: define `begin` and `act` only. If you override reset, step, snapshot or restore, call the
    method of AgentEnv first.
    """
    env, task = context.make(), context.tasks[0]
    require_refused(lambda: env.step("look"), "step before the first reset")
    require_refused(env.snapshot, "snapshot before the first reset")
    foreign = replace(task, env_id="elsewhere/World-v0")
    require_refused(lambda: record_reset(env, foreign), "reset to a task of another environment")
    record_reset(env, task)
    snapshot = replace(env.snapshot(), env_id="elsewhere/World-v0")
    require_refused(lambda: env.restore(snapshot), "restoring a snapshot of another environment")


def _ending(context: CheckContext) -> None:
    """An episode must end after at most `max_steps` steps.

    A step is terminated or truncated, never both. `info` of the last step has `success`, and further steps raise
    UsageError. `AgentEnv.step` does all of this: do not override it.
    """
    env, task = context.make(), context.tasks[0]
    call = record_reset(env, task)
    for _ in range(env.max_steps):
        call = call if call.over else record_call(env, task, "xyzzy")
    require(call.over, f"the episode still runs after {env.max_steps} steps, which is its max_steps")
    require(not (call.terminated and call.truncated), f"{call} is both terminated and truncated")
    require("success" in call.info, f"{call} ended the episode, but info['success'] is missing")
    last = env.snapshot()
    require_refused(lambda: env.step("look"), "step after the end of the episode")
    record_reset(env, task)
    env.restore(last)
    require_refused(lambda: env.step("look"), "step after restoring an ended episode")


def _closing(context: CheckContext) -> None:
    """`close` must work when it is called twice and before the first reset, and must not affect other instances."""
    idle, played, other = context.make(), context.make(), context.make()
    past = random_walk(played, context.tasks[0], context.actions(), 3)
    record_reset(other, context.tasks[0])
    for env in (idle, idle, played, played):
        env.close()
    require_same(
        past[1:], replay_calls(other, context.tasks[0], past[1:]), "another instance differs after one was closed"
    )


CHECKS: dict[str, Callable[[CheckContext], None]] = {
    check.__name__.lstrip("_"): check
    for check in (
        _gymnasium,
        _declarations,
        _info,
        _determinism,
        _processes,
        _seeds,
        _reuse,
        _isolation,
        _snapshots,
        _pickling,
        _admissible,
        _nonsense,
        _misuse,
        _ending,
        _closing,
    )
}
"""All checks, by the name that error messages use."""
