"""What a family of worlds brings to its seed policy, and how the corpus is put together from it.

A family is a module with a `FAMILY` and a line in `FAMILIES`; everything else (tokenizer, network, training, cache) is
the same for all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from ...agents.models.core import Message, derived_seed
from ...agents.react import ACTION, chat_of
from ...agents.reflector import OPENING, reflector_chat
from ...agents.trajectory import Step, Trajectory
from ...envs.core import Task
from ...errors import unknown
from .pretrain import Architecture, PretrainConfig

T = TypeVar("T")
FAMILIES = {"household": ".household", "code": ".code", "web": ".web"}
"""Environment's short name to the module that holds its `FAMILY`."""
TASK_SEED = 1_000_003
"""Demonstrations are of other tasks than the loops practise on."""


@dataclass(frozen=True)
class SeedRecipe:
    """Everything that a seed policy depends on."""

    family: str = "household"
    demonstrations: int = 1500
    """Expert episodes to imitate."""
    reflections: int = 700
    """Failed attempts, each with a reflection and a second attempt that heeds it."""
    architecture: Architecture = field(default_factory=Architecture)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    seed: int = 0

    def reseeded(self, by: int) -> SeedRecipe:
        """The same recipe with other tasks, mistakes and first weights."""
        pretrain = replace(self.pretrain, seed=self.pretrain.seed + by)
        return replace(self, seed=self.seed + by, pretrain=pretrain)


class Mended(NamedTuple):
    """A failed attempt, what is said of it, and an attempt that heeds that."""

    failure: Trajectory
    reflection: str
    """Begins with the reflector's `OPENING`, and says only what the failed attempt itself was shown."""
    passed: Trajectory


@dataclass(frozen=True)
class Family:
    """What is one family's own. All functions depend on their arguments alone."""

    recipe: SeedRecipe
    """How its seed policy is made unless another recipe is asked for."""
    tasks: Callable[[int, int], Iterable[Task]]
    """About so many tasks of split `train`, drawn by a seed."""
    demonstrate: Callable[[Task, int], Trajectory]
    """An attempt to imitate, by an expert that draws from a seed. Those without success are left out."""
    mend: Callable[[Task, int], Mended | None]
    """A failed attempt, mended; None where there was nothing to mend."""
    names: Sequence[str] = ()
    """Words that number their instances, e.g. `mug`, for `mug 2`."""
    units: Sequence[str] = ()
    """Texts that are tokens of their own; the turns' fixed beginnings need not be named."""
    at_once: int = 1
    """How many attempts are made at the same time, in threads; for worlds that mostly wait."""
    phrases: bool = True
    """Whether what stands between names often is one token; False for texts that are put together word by word."""


@dataclass(frozen=True)
class Corpus:
    """What a seed policy is trained on."""

    chats: Sequence[Sequence[Message]]
    """Training texts of all roles. Trainable assistant turns weigh 1, the others nothing."""
    demonstrations: Sequence[Trajectory]
    """The expert's, for loops that mix them in."""


UNITS = (OPENING, "." + ACTION, ACTION)
"""Tokens of their own in every family, since turns are made to start or to go on after them."""


def family_of(name: str) -> Family:
    """The family of this name; raises `UsageError` for one that has no seed policy."""
    if name not in FAMILIES:
        raise unknown("seed family", name, FAMILIES)
    family: Family = importlib.import_module(FAMILIES[name], __package__).FAMILY
    return family


def recipe_of(name: str) -> SeedRecipe:
    """How the seed policy of a family is usually made; raises `UsageError` for an unknown one."""
    return family_of(name).recipe


def write_corpus(family: Family, recipe: SeedRecipe, progress: Callable[[float], None]) -> Corpus:
    """Demonstrations and mended failures; a function of family and recipe. `progress` gets the share that is done."""
    total, seed = recipe.demonstrations + recipe.reflections, recipe.seed
    first = family.tasks(recipe.demonstrations, TASK_SEED + seed)
    jobs = [(task, derived_seed(seed, "expert", task.id)) for task in first]
    shown = _attempts(family, family.demonstrate, jobs, lambda done: progress(min(1.0, done / total)))
    demonstrations = [each for each in shown if each.success]
    chats = [chat_of(each) for each in demonstrations]
    second = family.tasks(recipe.reflections, 2 * TASK_SEED + seed)
    jobs = [(task, derived_seed(seed, "bungler", task.id)) for task in second]
    before = recipe.demonstrations
    pairs = _attempts(family, family.mend, jobs, lambda done: progress(min(1.0, (before + done) / total)))
    for mended in filter(None, pairs):
        said = Step("", "", "", text=mended.reflection)
        chats.append(reflector_chat(mended.failure, mended.passed, said))
    return Corpus(chats, demonstrations)


def _attempts(
    family: Family,
    attempt: Callable[[Task, int], T],
    jobs: Sequence[tuple[Task, int]],
    progress: Callable[[int], None],
) -> list[T]:
    """All attempts in order, as many at once as the family says."""
    found = []
    with ThreadPoolExecutor(family.at_once) as threads:
        for number, made in enumerate(threads.map(lambda job: attempt(*job), jobs)):
            found.append(made)
            progress(number + 1)
    return found
