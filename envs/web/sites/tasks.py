"""Tasks of the embedded sites: how they are drawn, what they say, and whether an attempt has done them."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import UsageError, unknown
from ...core import Task, TaskSet
from ...portable_rng import PortableRng, seed_of
from .catalogue import KINDS, SITES
from .content import EDITIONS, edition, opened, site_of
from .core import Args, TaskType
from .evidence import Evidence

ENV_ID = "kintsugi/Web-v0"
SPLITS: Mapping[str, int] = {"train": 800, "valid": 200, "valid_unseen": 200}
"""The splits, and how many tasks they give when no number is asked for."""
TYPES: Mapping[str, TaskType] = {type_.name: type_ for kind in KINDS.values() for type_ in kind.types}
_DRAWS = 40
"""So many contents are tried before a task type is given up."""


@dataclass(frozen=True)
class SiteTask:
    """The parameters of a task on an embedded site."""

    type: str
    """Name of a `TaskType`."""
    site: str
    """Slug of a site."""
    edition: int
    """Which of the site's contents."""
    text: int
    """Which of the type's texts."""
    args: Args
    start: str = "/"
    """Path of the page where the episode begins."""

    @classmethod
    def of(cls, task: Task) -> SiteTask:
        """Read a task; raises `UsageError` when it is of no embedded site."""
        try:
            about = cls(**task.params)
            TYPES[about.type].texts[about.text].format(**about.args)
            site_of(about.site)
        except (TypeError, KeyError, IndexError) as error:
            raise UsageError(
                f"task {task.id!r} is of no embedded site ({error!r}); take one from WebEnv.tasks"
            ) from None
        return about

    @property
    def goal(self) -> str:
        """The task in words."""
        return TYPES[self.type].texts[self.text].format(**self.args)


def read_goal(text: str) -> tuple[str, dict[str, str]]:
    """Type and arguments of a task, read off its words; raises `UsageError` for any other text."""
    for name, pattern in _patterns():
        match = pattern.fullmatch(text.strip())
        if match:
            return name, match.groupdict()
    raise UsageError(f"cannot read the task {text[:120]!r}; expected the words of a task on an embedded site")


@functools.cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (type_.name, re.compile(re.sub(r"'\\\{(\w+)\\\}'", r"'(?P<\1>[^']*)'", re.escape(text))))
        for type_ in TYPES.values()
        for text in type_.texts
    )


@dataclass(frozen=True)
class Verdict:
    """How an attempt stands."""

    score: float
    """Share of the type's conditions that are met, halved where other things were changed."""
    success: bool
    """All are met, and nothing else was changed."""


def make_tasks(split: str, n: int | None = None, seed: int = 0, kind: str = "all", **params: object) -> TaskSet:
    """The first `n` tasks of a split, its types in turn; those of one `kind` of site, or of all.

    Raises `UsageError` for an unknown split, kind or parameter.
    """
    if params:
        raise unknown("parameter of web tasks", min(params), ["kind", "world"])
    if split not in SPLITS:
        raise unknown("web split", split, SPLITS)
    if kind not in ("all", *KINDS):
        raise unknown("kind of site", kind, ["all", *KINDS])
    if n is not None and n < 0:
        raise UsageError(f"asked for {n} web tasks; expected 0 or more")
    return TaskSet(make_task(split, index, seed, kind) for index in range(SPLITS[split] if n is None else n))


def make_task(split: str, index: int, seed: int = 0, kind: str = "all") -> Task:
    """Task number `index` of a split."""
    world = seed_of(f"sites/{kind}/{split}/{seed}/{index}")
    rng = PortableRng(world)
    types = types_of(kind)
    type_ = types[index % len(types)]
    params = _drawn(type_, split, rng)
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    return Task(f"sites/{kind}/{split}/{name}", ENV_ID, split, world, params)


@functools.cache
def types_of(kind: str) -> tuple[TaskType, ...]:
    """The task types of a kind of site, or of all, one kind after the other in turn."""
    lists = [list(each.types) for each in KINDS.values() if kind in ("all", each.name)]
    longest = max(map(len, lists))
    return tuple(types[i] for i in range(longest) for types in lists if i < len(types))


def beginning(about: SiteTask) -> sqlite3.Connection:
    """A database of one's own in the state that an attempt begins with."""
    db = opened(edition(about.site, about.edition))
    prepare = TYPES[about.type].prepare
    if prepare is not None:
        prepare(db, about.args)
        db.commit()
    return db


def judge(task: Task, db: sqlite3.Connection, answer: str | None) -> Verdict:
    """Whether the state of `db` and `answer` are what `task` asks for; nothing is written."""
    about = SiteTask.of(task)
    type_ = TYPES[about.type]
    before = beginning(about)
    try:
        evidence = Evidence(before, db, answer)
        met = list(type_.wanted(evidence, about.args))
        damage = evidence.damaged(type_.touches, type_.adds)
    finally:
        before.close()
    score = sum(met) / len(met)
    return Verdict(score / 2 if damage else score, all(met) and not damage)


def _drawn(type_: TaskType, split: str, rng: PortableRng) -> dict[str, Any]:
    kind = next(kind for kind in KINDS.values() if type_ in kind.types)
    sites = [site for site in SITES.values() if site.kind == kind.name and site.split == split]
    for _ in range(_DRAWS):
        site, number = rng.choice(sites), rng.below(EDITIONS)
        db = opened(edition(site.slug, number))
        try:
            args = type_.draw(rng, db, site)
        finally:
            db.close()
        if args is not None:
            text = rng.below(len(type_.texts))
            return {"type": type_.name, "site": site.slug, "edition": number, "text": text, "args": args, "start": "/"}
    raise UsageError(f"no content of the split {split!r} has anything for the task type {type_.name!r}")
