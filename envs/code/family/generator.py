"""Generates the tasks of the family `steps`. A task depends only on its split, index and seed."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ....errors import UsageError, unknown
from ...core import Task, TaskSet
from ..problem import Call, Problem
from .steps import DOMAINS, KIND_PHRASES, STEPS, Step

ENV_ID = "kintsugi/Code-v0"
ENTRY = "f"
SPLITS: Mapping[str, int] = {"train": 2000, "valid": 200, "valid_unseen": 200}
"""Splits and their default number of tasks."""
LEVELS = (1, 2, 3, 4)
"""Possible levels of a task. The level is the number of steps of its function."""
UNSEEN_ONE_IN = 6
"""One in this many pairs of adjacent steps is reserved for `valid_unseen`."""
VALID_ONE_IN = 5
"""One in this many of the remaining functions is reserved for `valid`."""
N_VISIBLE, N_HIDDEN = 3, 10
MAX_NUMBER = 10_000
"""Largest absolute value of a number in a test, intermediate results included."""
MAX_LENGTH = {list: 12, str: 40}
"""Maximum length of a list or string in a test, intermediate results included."""
WORDS = "apple bird cloud Day echo Fish grass hill Ink jam kite lamp moon Nest oak pear quilt Rain sun tree".split()

Chain = tuple[tuple[str, Any], ...]
"""Pairs of a step's name and its constant."""


def make_tasks(split: str, n: int | None = None, seed: int = 0) -> TaskSet:
    """Return the first `n` tasks of a split, or the default number if `n` is None.

    Raises:
        UsageError: If the split is unknown or `n` is negative.
    """
    if split not in SPLITS:
        raise unknown("split of code tasks", split, SPLITS)
    count = SPLITS[split] if n is None else n
    if count < 0:
        raise UsageError(f"cannot make {count} code tasks; expected 0 or more; pass a larger n")
    return TaskSet(make_task(split, index, seed) for index in range(count))


def task_types(split: str) -> list[tuple[str, int]]:
    """Return the pairs (domain, level) of a split, in the order in which tasks cycle through them.

    Level 1 is not in `valid_unseen`, because a single step has no pair of adjacent steps.
    """
    return [(domain, level) for level in LEVELS for domain in DOMAINS if level > 1 or split != "valid_unseen"]


@functools.lru_cache(maxsize=4096)
def make_task(split: str, index: int, seed: int = 0) -> Task:
    """Return the task with this index. Consecutive tasks cycle through `task_types`."""
    kinds = task_types(split)
    domain, level = kinds[index % len(kinds)]
    name = f"{split}/{index}" if seed == 0 else f"{split}/{seed}/{index}"
    rng = random.Random(f"code/{name}")
    while True:
        chain = _draw_chain(rng, DOMAINS[domain], level)
        if chain is not None and split_of(chain) == split:
            calls = _draw_calls(rng, domain, chain)
            if calls is not None:
                break
    problem = _problem(rng, domain, chain, calls)
    about = {"family": "steps", "level": level, "steps": [[step, constant] for step, constant in chain]}
    task_seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return Task(f"steps/{name}", ENV_ID, split, task_seed, problem.params(**about))


def split_of(chain: Chain) -> str:
    """Return the split that a function belongs to."""
    pairs = [(a, b) for (a, _), (b, _) in itertools.pairwise(chain)]
    if any(_one_in(UNSEEN_ONE_IN, "pair", a, b) for a, b in pairs):
        return "valid_unseen"
    return "valid" if _one_in(VALID_ONE_IN, "chain", *chain) else "train"


def _one_in(n: int, *key: object) -> bool:
    return hashlib.sha256(repr(key).encode()).digest()[0] % n == 0


@functools.cache
def _steps_for(kind: str) -> tuple[Step, ...]:
    return tuple(step for step in STEPS.values() if step.input_kind == kind)


def _draw_chain(rng: random.Random, kind: str, level: int) -> Chain | None:
    """Draw a well-typed chain in which no step occurs twice in a row."""
    chain: list[tuple[str, Any]] = []
    for _ in range(level):
        fitting = [step for step in _steps_for(kind) if not chain or step.name != chain[-1][0]]
        step = rng.choice(fitting)
        chain.append((step.name, rng.choice(step.constants)))
        kind = step.output_kind
    return tuple(chain)


def apply_chain(chain: Chain, value: Any) -> Any:
    """Return the function's result, or None if it or an intermediate value exceeds `MAX_NUMBER` or `MAX_LENGTH`."""
    for name, constant in chain:
        value = STEPS[name].apply(value, constant)
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            return None
        if isinstance(value, list | str) and len(value) > MAX_LENGTH[type(value)]:
            return None
        if isinstance(value, list) and any(isinstance(item, int) and abs(item) > MAX_NUMBER for item in value):
            return None
    return value


def _draw_calls(rng: random.Random, domain: str, chain: Chain) -> list[Call] | None:
    """Draw tests that fail if any step is left out. Return None if none are found for this chain."""
    arguments: list[Any] = []
    for _ in range(60):
        argument = _draw_argument(rng, domain, non_empty=len(arguments) < N_VISIBLE)
        if argument not in arguments and apply_chain(chain, argument) is not None:
            arguments.append(argument)
        if len(arguments) == N_VISIBLE + N_HIDDEN:
            break
    else:
        return None
    calls = [Call((argument,), apply_chain(chain, argument)) for argument in arguments]
    values = [call.expected for call in calls]
    shown = values[:N_VISIBLE]
    if all(value == shown[0] for value in shown) or any(value in ([], "") for value in shown):
        return None
    for left_out in range(len(chain)):
        shorter = chain[:left_out] + chain[left_out + 1 :]
        if (
            is_well_typed(shorter, DOMAINS[domain])
            and [apply_chain(shorter, argument) for argument in arguments] == values
        ):
            return None
    return calls


def is_well_typed(chain: Sequence[tuple[str, Any]], kind: str) -> bool:
    """Return whether each step accepts the output of the previous step, and the first one accepts `kind`."""
    for name, _ in chain:
        if STEPS[name].input_kind != kind:
            return False
        kind = STEPS[name].output_kind
    return True


def _draw_argument(rng: random.Random, domain: str, non_empty: bool) -> Any:
    if domain == "numbers":
        return rng.randint(1 if non_empty else -20, 40)
    if domain == "lists":
        return [rng.randint(-9, 20) for _ in range(rng.randint(4 if non_empty else 0, 7))]
    return " ".join(rng.choices(WORDS, k=rng.randint(2 if non_empty else 0, 4)))


def _problem(rng: random.Random, domain: str, chain: Chain, calls: list[Call]) -> Problem:
    phrases = "; ".join(rng.choice(STEPS[name].phrases).format(k=constant) for name, constant in chain)
    input_kind = KIND_PHRASES[DOMAINS[domain]]
    return Problem(
        type=f"{domain} {len(chain)}",
        prompt=f"Write the Python function {ENTRY}(x), where x is {input_kind}: {phrases}.",
        goal=f"write {ENTRY}(x), where x is {input_kind}: {phrases}",
        entry=ENTRY,
        solution=write_solution(chain),
        visible=tuple(calls[:N_VISIBLE]),
        hidden=tuple(calls[N_VISIBLE:]),
    )


def write_solution(chain: Chain) -> str:
    """Return the function as one line of Python."""
    steps = [f"x = {STEPS[name].code.format(k=constant)}" for name, constant in chain]
    return f"def {ENTRY}(x): {'; '.join([*steps, 'return x'])}"
