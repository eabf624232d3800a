"""Tasks of the embedded sites: generation, goal texts and scoring."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import UsageError, unknown
from ...core import Task, TaskSet
from ...portable_rng import PortableRng, seed_from_text
from .catalogue import KINDS, SITES
from .content import EDITIONS, build_edition, get_site, open_database
from .core import Args, TaskType
from .evidence import Evidence

ENV_ID = "kintsugi/Web-v0"
SPLITS: Mapping[str, int] = {"train": 800, "valid": 200, "valid_unseen": 200}
"""Default number of tasks of each split."""
TASK_TYPES: Mapping[str, TaskType] = {type_.name: type_ for kind in KINDS.values() for type_ in kind.task_types}
_MAX_DRAWS = 40
"""Maximum number of site contents tried for one task."""


@dataclass(frozen=True)
class SiteTask:
    """The parameters of a task on an embedded site."""

    type: str
    """Name of a `TaskType`."""
    site: str
    """Slug of the site."""
    edition: int
    """Edition of the site's content."""
    text: int
    """Index into the goal templates of the task type."""
    args: Args
    start: str = "/"
    """Path of the first page."""

    @classmethod
    def from_task(cls, task: Task) -> SiteTask:
        """Read the parameters of a task.

        Raises:
            UsageError: If the task is not a task of an embedded site.
        """
        try:
            site_task = cls(**task.params)
            TASK_TYPES[site_task.type].goal_templates[site_task.text].format(**site_task.args)
            get_site(site_task.site)
        except (TypeError, KeyError, IndexError) as error:
            raise UsageError(
                f"task {task.id!r} is not a task of an embedded site ({error!r}); use a task from WebEnv.tasks"
            ) from None
        return site_task

    @property
    def goal(self) -> str:
        """The goal text."""
        return TASK_TYPES[self.type].goal_templates[self.text].format(**self.args)


def read_goal(text: str) -> tuple[str, dict[str, str]]:
    """Return the task type and the arguments of a goal text.

    Raises:
        UsageError: If the text is not the goal of a task on an embedded site.
    """
    for name, pattern in _patterns():
        match = pattern.fullmatch(text.strip())
        if match:
            return name, match.groupdict()
    raise UsageError(f"cannot read the task {text[:120]!r}; expected the goal of a task on an embedded site")


@functools.cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (type_.name, re.compile(re.sub(r"'\\\{(\w+)\\\}'", r"'(?P<\1>[^']*)'", re.escape(text))))
        for type_ in TASK_TYPES.values()
        for text in type_.goal_templates
    )


@dataclass(frozen=True)
class Verdict:
    """Score of an attempt."""

    score: float
    """Proportion of met success conditions, halved if there are side effects."""
    success: bool
    """Whether all conditions are met without side effects."""


def make_tasks(split: str, n: int | None = None, seed: int = 0, kind: str = "all", **params: object) -> TaskSet:
    """Return the first `n` tasks of a split. They cycle through the task types.

    Args:
        split: Name of the split.
        n: Number of tasks; None for the default of the split.
        seed: Different seeds give different tasks.
        kind: Only tasks on this kind of site; `all` for every kind.
        **params: Must be empty; any entry is reported as an unknown parameter.

    Raises:
        UsageError: If the split, the kind or a parameter is unknown, or `n` is negative.
    """
    if params:
        raise unknown("parameter of web tasks", min(params), ["kind", "world"])
    if split not in SPLITS:
        raise unknown("web split", split, SPLITS)
    if kind not in ("all", *KINDS):
        raise unknown("kind of site", kind, ["all", *KINDS])
    if n is not None and n < 0:
        raise UsageError(f"the number of web tasks is {n}; expected 0 or more")
    return TaskSet(make_task(split, index, seed, kind) for index in range(SPLITS[split] if n is None else n))


def make_task(split: str, index: int, seed: int = 0, kind: str = "all") -> Task:
    """Return task number `index` of a split. Deterministic."""
    task_seed = seed_from_text(f"sites/{kind}/{split}/{seed}/{index}")
    rng = PortableRng(task_seed)
    types = task_types(kind)
    type_ = types[index % len(types)]
    params = _draw_params(type_, split, rng)
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    return Task(f"sites/{kind}/{split}/{name}", ENV_ID, split, task_seed, params)


@functools.cache
def task_types(kind: str) -> tuple[TaskType, ...]:
    """Return the task types of one kind of site. For `all`, alternate between the kinds."""
    lists = [list(each.task_types) for each in KINDS.values() if kind in ("all", each.name)]
    longest = max(map(len, lists))
    return tuple(types[i] for i in range(longest) for types in lists if i < len(types))


def initial_database(site_task: SiteTask) -> sqlite3.Connection:
    """Return a new database in the initial state of an attempt."""
    db = open_database(build_edition(site_task.site, site_task.edition))
    prepare = TASK_TYPES[site_task.type].prepare
    if prepare is not None:
        prepare(db, site_task.args)
        db.commit()
    return db


def grade(task: Task, db: sqlite3.Connection, answer: str | None) -> Verdict:
    """Score the state `db` and the answer (None if there is none) of an attempt. Changes nothing."""
    site_task = SiteTask.from_task(task)
    type_ = TASK_TYPES[site_task.type]
    before = initial_database(site_task)
    try:
        evidence = Evidence(before, db, answer)
        conditions = list(type_.conditions(evidence, site_task.args))
        side_effects = evidence.has_side_effects(type_.may_change, type_.may_add)
    finally:
        before.close()
    score = sum(conditions) / len(conditions)
    return Verdict(score / 2 if side_effects else score, all(conditions) and not side_effects)


def _draw_params(type_: TaskType, split: str, rng: PortableRng) -> dict[str, Any]:
    kind = next(kind for kind in KINDS.values() if type_ in kind.task_types)
    sites = [site for site in SITES.values() if site.kind == kind.name and site.split == split]
    for _ in range(_MAX_DRAWS):
        site, number = rng.choice(sites), rng.below(EDITIONS)
        db = open_database(build_edition(site.slug, number))
        try:
            args = type_.draw_args(rng, db, site)
        finally:
            db.close()
        if args is not None:
            text = rng.below(len(type_.goal_templates))
            return {"type": type_.name, "site": site.slug, "edition": number, "text": text, "args": args, "start": "/"}
    raise UsageError(f"none of {_MAX_DRAWS} site contents of the split {split!r} allows a task of type {type_.name!r}")
