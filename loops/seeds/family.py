"""Seed families: the environment-specific part of a seed policy, and the training corpus that is built from it.

A family is a `Family` object that is listed in `seeds.registry` or offered by an entry point. Everything else
(tokenizer, network, training, cache) is shared by all families.
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
from ...agents.reflector import REFLECTION_PREFIX, reflector_chat
from ...agents.trajectory import Step, Trajectory
from ...envs.core import Task
from ..learning.core import DEFAULT_EPOCHS
from .config import Architecture, PretrainConfig

T = TypeVar("T")
RenameEntities: TypeAlias = Callable[[Sequence[Message], random.Random], Sequence[Message]]
"""Renames the entities of a chat, turn by turn, so that the model copies names instead of memorising them."""
TASK_SEED = 1_000_003
"""Offset of the task seeds, so that demonstrations use other tasks than the loops practise on."""


@dataclass(frozen=True)
class SeedRecipe:
    """All settings that determine a seed policy.

    Together with the source files of the family, it determines the corpus, the tokenizer and the weights. Its hash
    names the folder of the seed policy in the cache.
    """

    family: str = "household"
    """Name of the seed family: the short name of its environment."""
    demonstrations: int = 1500
    """Number of expert episodes to imitate."""
    reflections: int = 700
    """Number of failed attempts to mend, each with a reflection and a second attempt that follows it."""
    judged_attempts: int = 0
    """Number of attempts with judged steps, which train the model as a verifier."""
    renamings: int = 0
    """Number of copies of each text with renamed entities, for families that can rename them."""
    architecture: Architecture = field(default_factory=Architecture)
    """Shape of the network."""
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    """Settings of the training."""
    seed: int = 0
    """Seed of the tasks, of the expert and of the initial weights."""

    def with_seed_offset(self, offset: int) -> SeedRecipe:
        """Return a recipe with other tasks, mistakes and initial weights: all seeds are increased by `offset`."""
        pretrain = replace(self.pretrain, seed=self.pretrain.seed + offset)
        return replace(self, seed=self.seed + offset, pretrain=pretrain)


class Mended(NamedTuple):
    """A failed attempt, a reflection on it, and a successful attempt that follows the reflection."""

    failure: Trajectory
    """The failed attempt."""
    reflection: str
    """Starts with `REFLECTION_PREFIX` of `agents.reflector`, and uses only information that the failed attempt saw."""
    passed: Trajectory
    """The successful attempt at the same task."""


@dataclass(frozen=True)
class FamilyDefaults:
    """Default settings of loops in an environment, tuned for its seed policy."""

    practice: int = 300
    """Number of practice tasks."""
    epochs: float = DEFAULT_EPOCHS
    """Number of training epochs."""
    rename: RenameEntities | None = None
    """Renames the entities of training texts each epoch, to prevent memorisation; None keeps all names."""


@dataclass(frozen=True)
class Family:
    """The environment-specific part of a seed policy: tasks, an expert, and settings of the tokenizer and of loops.

    The functions must depend on their arguments only, and must be safe to call from several threads.
    """

    recipe: SeedRecipe
    """Default recipe of the seed policy."""
    tasks: Callable[[int, int], Iterable[Task]]
    """`tasks(n, seed)` returns about n tasks of the split `train`."""
    demonstrate: Callable[[Task, int], Trajectory]
    """`demonstrate(task, seed)` returns an attempt of the expert. Failures are left out of the corpus."""
    mend: Callable[[Task, int], Mended | None]
    """`mend(task, seed)` returns a failed attempt and its mend; None if the attempt did not fail or has no mend."""
    judge: Callable[[Task, int], Sequence[Message]] | None = None
    """`judge(task, seed)` returns an attempt with judged steps, as a chat of the verifier; None without a verifier."""
    instance_kinds: Sequence[str] = ()
    """Words that occur with a number, e.g. `mug` for `mug 2`; the pair becomes one token."""
    single_tokens: Sequence[str] = ()
    """Strings that are always one token; `SINGLE_TOKENS` are added."""
    phrase_tokens: bool = True
    """Whether frequent text between instances is one token; False suits texts that are composed word by word."""
    bpe_merges: int = 0
    """Number of BPE merges that spell rare words if `phrase_tokens` is False; 0 spells them in bytes."""
    rename: RenameEntities | None = None
    """Renames the entities of training texts, to prevent memorisation; None keeps all names."""
    practice: int = 300
    """Default number of practice tasks of loops."""
    epochs: float = DEFAULT_EPOCHS
    """Default number of training epochs of loops."""
    chats: Callable[[Trajectory], Sequence[Sequence[Message]]] | None = None
    """Returns the chats to learn from a demonstration, for agents that call the model several times per turn. Failed
    demonstrations are then kept. None renders a successful demonstration as one ReAct chat."""

    @property
    def defaults(self) -> FamilyDefaults:
        """Default settings of loops in the environment of the family."""
        return FamilyDefaults(self.practice, self.epochs, self.rename)


@dataclass(frozen=True)
class Corpus:
    """The training data of a seed policy."""

    chats: Sequence[Sequence[Message]]
    """Chats of all roles: agent, reflector, verifier. Only assistant turns that are trainable have the full weight."""
    demonstrations: Sequence[Trajectory]
    """Successful expert attempts, for loops that mix them in. Empty for families with `chats`."""


SINGLE_TOKENS = (REFLECTION_PREFIX, "." + ACTION, ACTION)
"""Strings that are one token in every family, because turns are forced to start with them or continue after them."""


def write_corpus(family: Family, recipe: SeedRecipe, progress: Callable[[float], None]) -> Corpus:
    """Build the corpus: demonstrations, mended failures and attempts with judged steps.

    Deterministic for a family and a recipe. `progress` is called with the share of tasks that are done, in [0, 1].
    """
    demonstration_tasks = list(family.tasks(recipe.demonstrations, TASK_SEED + recipe.seed))
    mend_tasks = list(family.tasks(recipe.reflections, 2 * TASK_SEED + recipe.seed))
    judge_tasks = list(family.tasks(recipe.judged_attempts, 3 * TASK_SEED + recipe.seed)) if family.judge else []
    done, total = itertools.count(1), len(demonstration_tasks) + len(mend_tasks) + len(judge_tasks)

    def run_all(make: Callable[[Task, int], T], tasks: Sequence[Task], stream: str) -> Iterator[T]:
        for result in pool.map(lambda task: make(task, derived_seed(recipe.seed, stream, task.id)), tasks):
            progress(next(done) / total)
            yield result

    # Environments wait for sandboxes and browsers, so threads help.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        demonstrated = list(run_all(family.demonstrate, demonstration_tasks, "expert"))
        mends = [item for item in run_all(family.mend, mend_tasks, "bungler") if item is not None]
        judged_chats = list(run_all(family.judge, judge_tasks, "verifier")) if family.judge else []
    finally:
        pool.shutdown(cancel_futures=True)
    config = ReActConfig()
    reflection_chats = [reflector_chat(p.failure, p.passed, Step("", "", "", text=p.reflection), config) for p in mends]
    other_chats = [*reflection_chats, *judged_chats]
    if family.chats:
        return Corpus([*(chat for item in demonstrated for chat in family.chats(item)), *other_chats], [])
    demonstrations = [item for item in demonstrated if item.success]
    return Corpus([*(render_chat(item, config) for item in demonstrations), *other_chats], demonstrations)
