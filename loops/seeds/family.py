"""What a family of worlds brings to its seed policy, and how the corpus is put together from it.

A family is a module with a `FAMILY` and a line in `seeds.registry`, or an entry point; everything else (tokenizer,
network, training, cache) is the same for all.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias, TypeVar

from ...agents.models.core import Message, derived_seed
from ...agents.react import ACTION, ReActConfig, render_chat
from ...agents.reflector import OPENING, reflector_chat
from ...agents.trajectory import Step, Trajectory
from ...envs.core import Task
from ..learning.core import DEFAULT_EPOCHS
from .config import Architecture, PretrainConfig

T = TypeVar("T")
Exchange: TypeAlias = Callable[[Sequence[Message], random.Random], Sequence[Message]]
"""A chat with other names in it, turn by turn, so that names are copied and not known by heart."""
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
    judged: int = 0
    """Attempts of which a stretch is judged step by step: what makes a verifier of the model."""
    renamings: int = 0
    """Copies of each text with other names in it; only of families that can rename."""
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
class FamilyDefaults:
    """What loops do in an environment where nobody says otherwise. Found to suit its seed policy."""

    practice: int = 300
    """How many tasks are practised on."""
    epochs: float = DEFAULT_EPOCHS
    """How often each example is learnt."""
    rename: Exchange | None = None
    """How chats get other names, so that names are read and not known by heart; None where they stay what they are."""


@dataclass(frozen=True)
class Family:
    """What is one family's own. Its functions depend on their arguments alone; threads may call them at once."""

    recipe: SeedRecipe
    """How its seed policy is made unless another recipe is asked for."""
    tasks: Callable[[int, int], Iterable[Task]]
    """About so many tasks of split `train`, drawn by a seed."""
    demonstrate: Callable[[Task, int], Trajectory]
    """An attempt to imitate, by an expert that draws from a seed. Those without success are left out."""
    mend: Callable[[Task, int], Mended | None]
    """A failed attempt, mended; None where there was nothing to mend."""
    judge: Callable[[Task, int], Sequence[Message]] | None = None
    """An attempt with judgements of its steps, as a chat with the verifier; None where the family has no verifier."""
    names: Sequence[str] = ()
    """Words that number their instances, e.g. `mug`, for `mug 2`."""
    units: Sequence[str] = ()
    """Texts that are tokens of their own; the turns' fixed beginnings need not be named."""
    phrases: bool = True
    """Whether what stands between names often is one token; False for texts that are put together word by word."""
    pieces: int = 0
    """Without `phrases`: merges of byte-pair encoding that spell the words that are no tokens; 0 spells in bytes."""
    renamed: Exchange | None = None
    """None where names stay what they are."""
    practice: int = 300
    """How many tasks loops usually practise on."""
    epochs: float = DEFAULT_EPOCHS
    """How often loops usually let each example be learnt."""
    chats: Callable[[Trajectory], Sequence[Sequence[Message]]] | None = None
    """What is learnt from a demonstration, for agents that ask the model several times a turn; then success does not
    matter. None: its turns, if it succeeded."""

    @property
    def defaults(self) -> FamilyDefaults:
        """What loops do in its environment where nobody says otherwise."""
        return FamilyDefaults(self.practice, self.epochs, self.renamed)


@dataclass(frozen=True)
class Corpus:
    """What a seed policy is trained on."""

    chats: Sequence[Sequence[Message]]
    """Training texts of all roles. Trainable assistant turns weigh 1, the others nothing."""
    demonstrations: Sequence[Trajectory]
    """The expert's, for loops that mix them in; none of families with `chats` of their own."""


UNITS = (OPENING, "." + ACTION, ACTION)
"""Tokens of their own in every family, since turns are made to start or to go on after them."""


def write_corpus(family: Family, recipe: SeedRecipe, progress: Callable[[float], None]) -> Corpus:
    """Demonstrations, mended failures and judged steps; a function of family and recipe.

    `progress` gets the share that is done.
    """
    shown = list(family.tasks(recipe.demonstrations, TASK_SEED + recipe.seed))
    mended = list(family.tasks(recipe.reflections, 2 * TASK_SEED + recipe.seed))
    judged = list(family.tasks(recipe.judged, 3 * TASK_SEED + recipe.seed)) if family.judge else []
    done, total = itertools.count(1), len(shown) + len(mended) + len(judged)

    def each(make: Callable[[Task, int], T], tasks: Sequence[Task], stream: str) -> Iterator[T]:
        for made in threads.map(lambda task: make(task, derived_seed(recipe.seed, stream, task.id)), tasks):
            progress(next(done) / total)
            yield made

    # Threads, since worlds wait for what they consist of: sandboxes, browsers.
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        demonstrated = list(each(family.demonstrate, shown, "expert"))
        pairs = [found for found in each(family.mend, mended, "bungler") if found is not None]
        verdicts = list(each(family.judge, judged, "verifier")) if family.judge else []
    finally:
        threads.shutdown(cancel_futures=True)
    acting = ReActConfig()
    reflecting = [reflector_chat(p.failure, p.passed, Step("", "", "", text=p.reflection), acting) for p in pairs]
    taught = [*reflecting, *verdicts]
    if family.chats:
        return Corpus([*(chat for found in demonstrated for chat in family.chats(found)), *taught], [])
    demonstrations = [found for found in demonstrated if found.success]
    return Corpus([*(render_chat(found, acting) for found in demonstrations), *taught], demonstrations)
