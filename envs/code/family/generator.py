"""Makes the family's tasks: which steps, said how, tested by what; a function of split, index and seed alone."""

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
from .steps import DOMAINS, KINDS, STEPS, Step

ENV_ID = "kintsugi/Code-v0"
ENTRY = "f"
SPLITS: Mapping[str, int] = {"train": 2000, "valid": 200, "valid_unseen": 200}
"""The splits, and how many tasks they give when no number is asked for."""
LEVELS = (1, 2, 3, 4)
"""How many steps a function takes."""
HELD_OUT = 6
"""One in so many pairs of neighbouring steps is kept for `valid_unseen`."""
VALID = 5
"""One in so many functions of the other pairs is kept for `valid`."""
VISIBLE, HIDDEN = 3, 10
MOST = 10_000
"""No number in a test is larger, and no list or string longer than `LONGEST`."""
LONGEST = {list: 12, str: 40}
WORDS = "apple bird cloud Day echo Fish grass hill Ink jam kite lamp moon Nest oak pear quilt Rain sun tree".split()

Chain = tuple[tuple[str, Any], ...]
"""Names of steps with their constants."""


def make_tasks(split: str, n: int | None = None, seed: int = 0) -> TaskSet:
    """The first `n` tasks of a split; raises `UsageError` for an unknown one."""
    if split not in SPLITS:
        raise unknown("split of code tasks", split, SPLITS)
    count = SPLITS[split] if n is None else n
    if count < 0:
        raise UsageError(f"cannot make {count} code tasks; ask for 0 or more")
    return TaskSet(make_task(split, index, seed) for index in range(count))


def types(split: str) -> list[tuple[str, int]]:
    """(domain, level) in the order in which tasks have them; one step alone has no pair that could be unseen."""
    return [(domain, level) for level in LEVELS for domain in DOMAINS if level > 1 or split != "valid_unseen"]


@functools.lru_cache(maxsize=4096)
def make_task(split: str, index: int, seed: int = 0) -> Task:
    """The task of this index; types come in turn."""
    kinds = types(split)
    domain, level = kinds[index % len(kinds)]
    name = f"{split}/{index}" if seed == 0 else f"{split}/{seed}/{index}"
    rng = random.Random(f"code/{name}")
    while True:
        chain = _draw(rng, DOMAINS[domain], level)
        if chain is not None and split_of(chain) == split:
            calls = _calls(rng, domain, chain)
            if calls is not None:
                break
    problem = _problem(rng, domain, chain, calls)
    about = {"family": "steps", "level": level, "steps": [[step, constant] for step, constant in chain]}
    task_seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return Task(f"steps/{name}", ENV_ID, split, task_seed, problem.params(**about))


def split_of(chain: Chain) -> str:
    """Where a function belongs: never to two splits."""
    pairs = [(a, b) for (a, _), (b, _) in itertools.pairwise(chain)]
    if any(_one_in(HELD_OUT, "pair", a, b) for a, b in pairs):
        return "valid_unseen"
    return "valid" if _one_in(VALID, "chain", *chain) else "train"


def _one_in(many: int, *what: object) -> bool:
    return hashlib.sha256(repr(what).encode()).digest()[0] % many == 0


@functools.cache
def _following(kind: str) -> tuple[Step, ...]:
    return tuple(step for step in STEPS.values() if step.takes == kind)


def _draw(rng: random.Random, kind: str, level: int) -> Chain | None:
    """A chain of steps whose kinds fit, no step twice in a row."""
    chain: list[tuple[str, Any]] = []
    for _ in range(level):
        fitting = [step for step in _following(kind) if not chain or step.name != chain[-1][0]]
        step = rng.choice(fitting)
        chain.append((step.name, rng.choice(step.constants)))
        kind = step.gives
    return tuple(chain)


def value_of(chain: Chain, value: Any) -> Any:
    """What the function gives; None when a number, list or string on the way is too large to show."""
    for name, constant in chain:
        value = STEPS[name].does(value, constant)
        if isinstance(value, int) and abs(value) > MOST:
            return None
        if isinstance(value, list | str) and len(value) > LONGEST[type(value)]:
            return None
        if isinstance(value, list) and any(isinstance(item, int) and abs(item) > MOST for item in value):
            return None
    return value


def _calls(rng: random.Random, domain: str, chain: Chain) -> list[Call] | None:
    """Tests in which every step matters; None when there are none for this chain."""
    arguments: list[Any] = []
    for _ in range(60):
        argument = _argument(rng, domain, full=len(arguments) < VISIBLE)
        if argument not in arguments and value_of(chain, argument) is not None:
            arguments.append(argument)
        if len(arguments) == VISIBLE + HIDDEN:
            break
    else:
        return None
    calls = [Call((argument,), value_of(chain, argument)) for argument in arguments]
    values = [call.expected for call in calls]
    shown = values[:VISIBLE]
    if all(value == shown[0] for value in shown) or any(value in ([], "") for value in shown):
        return None
    for left_out in range(len(chain)):
        shorter = chain[:left_out] + chain[left_out + 1 :]
        if fits(shorter, DOMAINS[domain]) and [value_of(shorter, argument) for argument in arguments] == values:
            return None
    return calls


def fits(chain: Sequence[tuple[str, Any]], kind: str) -> bool:
    """Whether each step takes what the one before it gives, the first `kind`."""
    for name, _ in chain:
        if STEPS[name].takes != kind:
            return False
        kind = STEPS[name].gives
    return True


def _argument(rng: random.Random, domain: str, full: bool) -> Any:
    if domain == "numbers":
        return rng.randint(1 if full else -20, 40)
    if domain == "lists":
        return [rng.randint(-9, 20) for _ in range(rng.randint(4 if full else 0, 7))]
    return " ".join(rng.choices(WORDS, k=rng.randint(2 if full else 0, 4)))


def _problem(rng: random.Random, domain: str, chain: Chain, calls: list[Call]) -> Problem:
    said = "; ".join(rng.choice(STEPS[name].phrases).format(k=constant) for name, constant in chain)
    takes = KINDS[DOMAINS[domain]]
    return Problem(
        type=f"{domain} {len(chain)}",
        prompt=f"Write the Python function {ENTRY}(x), where x is {takes}: {said}.",
        goal=f"write {ENTRY}(x), where x is {takes}: {said}",
        entry=ENTRY,
        solution=write(chain),
        visible=tuple(calls[:VISIBLE]),
        hidden=tuple(calls[VISIBLE:]),
    )


def write(chain: Chain) -> str:
    """The function as one line of Python."""
    steps = [f"x = {STEPS[name].code.format(k=constant)}" for name, constant in chain]
    return f"def {ENTRY}(x): {'; '.join([*steps, 'return x'])}"
