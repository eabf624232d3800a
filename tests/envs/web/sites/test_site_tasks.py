"""Tests of the tasks of the embedded sites: number, splits, goal texts, content and the score without any action."""

from __future__ import annotations

import sqlite3

import pytest
from kintsugi.envs.core import Task
from kintsugi.envs.web.sites.catalogue import KINDS, SITES
from kintsugi.envs.web.sites.content import EDITIONS, build_edition, open_database, open_dump
from kintsugi.envs.web.sites.tasks import (
    SPLITS,
    TASK_TYPES,
    SiteTask,
    grade,
    initial_database,
    make_tasks,
    read_goal,
    task_types,
)
from kintsugi.errors import UsageError

MANY = 29 * 6


def test_numbers_of_task_types_and_tasks():
    assert len(TASK_TYPES) >= 12
    assert sum(SPLITS.values()) >= 500
    assert set(KINDS) == {"shop", "wiki", "forum", "booking", "admin"}
    assert [task.params["type"] for task in make_tasks("train", 29)] == [type_.name for type_ in task_types("all")]


def test_tasks_are_deterministic_and_differ_by_seed():
    first = make_tasks("train", 40)
    build_edition.cache_clear()
    assert make_tasks("train", 40).hash == first.hash
    assert make_tasks("train", 60).tasks[:40] == first.tasks
    assert len({make_tasks("train", 40, seed).hash for seed in range(3)} | {first.hash}) == 3
    assert {SITES[t.params["site"]].kind for t in make_tasks("train", 20, kind="wiki")} == {"wiki"}


def test_splits_share_no_sites_and_few_goals():
    seen = {}
    for split in SPLITS:
        tasks = make_tasks(split, MANY)
        seen[split] = {t.params["site"] for t in tasks}, {SiteTask.from_task(t).goal for t in tasks}
        assert {SITES[site].split for site in seen[split][0]} == {split}
        assert seen[split][0] == {slug for slug, site in SITES.items() if site.split == split}
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                assert not seen[one][0] & seen[other][0]
                # Goals about settings name no site content, so they can repeat across splits.
                assert len(seen[one][1] & seen[other][1]) < 0.15 * MANY
    for slug, site in SITES.items():
        alike = [s for s in SITES.values() if s.kind == site.kind and s.slug != slug]
        assert all((s.name, s.subject) != (site.name, site.subject) for s in alike)
        assert all((dict(s.layout), dict(s.labels)) != (dict(site.layout), dict(site.labels)) for s in alike)


def test_sites_have_unique_hosts_and_all_labels_of_their_kind():
    assert len({site.host for site in SITES.values()}) == len(SITES) == 40
    for site in SITES.values():
        alike = next(s for s in SITES.values() if s.kind == site.kind)
        assert site.labels.keys() == alike.labels.keys()
        assert site.layout.keys() == alike.layout.keys()


def test_editions_differ_and_are_deterministic():
    for slug in SITES:
        made = [build_edition(slug, number) for number in range(3)]
        assert len(set(made)) == 3
        build_edition.cache_clear()
        assert [build_edition(slug, number) for number in range(3)] == made


@pytest.mark.parametrize("split", SPLITS)
def test_goal_texts_can_be_parsed(split):
    for task in make_tasks(split, MANY):
        site_task = SiteTask.from_task(task)
        assert read_goal(site_task.goal) == (
            site_task.type,
            {name: str(value) for name, value in site_task.args.items()},
        )


def test_other_goal_texts_are_rejected():
    with pytest.raises(UsageError, match="cannot read the task 'put a mug in the fridge'"):
        read_goal("put a mug in the fridge")


@pytest.mark.parametrize("split", SPLITS)
def test_score_without_any_action_is_zero(split):
    for task in make_tasks(split, 29 * 3):
        db = initial_database(SiteTask.from_task(task))
        for answer in (None, "", "I do not know", "0 or 1 or 2 or 3"):
            verdict = grade(task, db, answer)
            assert (verdict.score, verdict.success) == (0.0, False), (task.params, answer)
        db.close()


def test_grading_does_not_change_the_database():
    task = make_tasks("train", 1).tasks[0]
    db = initial_database(SiteTask.from_task(task))
    before = db.serialize()
    grade(task, db, "x")
    assert db.serialize() == before


def test_content_satisfies_the_schema():
    for slug in SITES:
        db = open_database(build_edition(slug, 0))
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"type": "shop_buy"},
        {"type": "no_such", "site": "paper-kite", "edition": 0, "text": 0, "args": {}},
        {"type": "shop_status", "site": "paper-kite", "edition": 0, "text": 9, "args": {"order": 1}},
        {"type": "shop_status", "site": "paper-kite", "edition": 0, "text": 0, "args": {}},
        {"type": "shop_status", "site": "paper-kit", "edition": 0, "text": 0, "args": {"order": 1}},
    ],
)
def test_other_tasks_are_rejected(params):
    with pytest.raises(UsageError, match="paper-kite|is not a task of an embedded site"):
        SiteTask.from_task(Task("t", "kintsugi/Web-v0", "train", 0, params))


def test_invalid_arguments_are_rejected():
    for call, text in {
        lambda: make_tasks("trian"): "unknown web split 'trian'; did you mean 'train'",
        lambda: make_tasks("train", kind="shp"): "unknown kind of site 'shp'; did you mean 'shop'",
        lambda: make_tasks("train", -1): "the number of web tasks is -1; expected 0 or more",
        lambda: make_tasks("train", size="small"): "unknown parameter of web tasks 'size'",
        lambda: build_edition("paper-kite", EDITIONS): "the edition of site 'paper-kite' is 12; expected 0 to 11",
        lambda: open_dump(b"no database"): "11 bytes are not the state of a site",
    }.items():
        with pytest.raises(UsageError, match=text):
            call()


def test_content_without_a_suitable_task_gives_no_arguments():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE place (name, city, extras)")
    db.execute("CREATE TABLE room (place_id, price)")
    from kintsugi.envs.portable_rng import PortableRng

    assert TASK_TYPES["booking_cheapest"].draw_args(PortableRng(1), db, SITES["stay-yonder"]) is None
