"""Tasks of the embedded sites: how many, how different, what they say, and that nothing is won by doing nothing."""

from __future__ import annotations

import sqlite3

import pytest
from kintsugi.envs.core import Task
from kintsugi.envs.web.sites.catalogue import KINDS, SITES
from kintsugi.envs.web.sites.content import EDITIONS, edition, opened, reopened
from kintsugi.envs.web.sites.tasks import SPLITS, TYPES, SiteTask, beginning, judge, make_tasks, read_goal, types_of
from kintsugi.errors import UsageError

MANY = 29 * 6


def test_there_are_enough_of_them():
    assert len(TYPES) >= 12
    assert sum(SPLITS.values()) >= 500
    assert set(KINDS) == {"shop", "wiki", "forum", "booking", "admin"}
    assert [task.params["type"] for task in make_tasks("train", 29)] == [type_.name for type_ in types_of("all")]


def test_the_same_arguments_give_the_same_tasks_and_others_give_others():
    first = make_tasks("train", 40)
    edition.cache_clear()
    assert make_tasks("train", 40).hash == first.hash
    assert make_tasks("train", 60).tasks[:40] == first.tasks
    assert len({make_tasks("train", 40, seed).hash for seed in range(3)} | {first.hash}) == 3
    assert {SITES[t.params["site"]].kind for t in make_tasks("train", 20, kind="wiki")} == {"wiki"}


def test_splits_share_neither_site_nor_content_nor_task():
    seen = {}
    for split in SPLITS:
        tasks = make_tasks(split, MANY)
        seen[split] = {t.params["site"] for t in tasks}, {SiteTask.of(t).goal for t in tasks}
        assert {SITES[site].split for site in seen[split][0]} == {split}
        assert seen[split][0] == {slug for slug, site in SITES.items() if site.split == split}
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                assert not seen[one][0] & seen[other][0]
                # A change of a setting can be asked for anywhere in the same words.
                assert len(seen[one][1] & seen[other][1]) < 0.15 * MANY
    for slug, site in SITES.items():
        alike = [s for s in SITES.values() if s.kind == site.kind and s.slug != slug]
        assert all((s.name, s.subject) != (site.name, site.subject) for s in alike)
        assert all((dict(s.layout), dict(s.words)) != (dict(site.layout), dict(site.words)) for s in alike)


def test_every_site_has_a_host_of_its_own_and_all_words_of_its_kind():
    assert len({site.host for site in SITES.values()}) == len(SITES) == 40
    for site in SITES.values():
        alike = next(s for s in SITES.values() if s.kind == site.kind)
        assert site.words.keys() == alike.words.keys()
        assert site.layout.keys() == alike.layout.keys()


def test_contents_differ_and_are_the_same_when_made_again():
    for slug in SITES:
        made = [edition(slug, number) for number in range(3)]
        assert len(set(made)) == 3
        edition.cache_clear()
        assert [edition(slug, number) for number in range(3)] == made


@pytest.mark.parametrize("split", SPLITS)
def test_what_a_task_says_can_be_read_back(split):
    for task in make_tasks(split, MANY):
        about = SiteTask.of(task)
        assert read_goal(about.goal) == (about.type, {name: str(value) for name, value in about.args.items()})


def test_texts_that_state_no_task_are_refused():
    with pytest.raises(UsageError, match="cannot read the task 'put a mug in the fridge'"):
        read_goal("put a mug in the fridge")


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_is_won_by_doing_nothing(split):
    for task in make_tasks(split, 29 * 3):
        db = beginning(SiteTask.of(task))
        for answer in (None, "", "I do not know", "0 or 1 or 2 or 3"):
            verdict = judge(task, db, answer)
            assert (verdict.score, verdict.success) == (0.0, False), (task.params, answer)
        db.close()


def test_judging_changes_nothing():
    task = make_tasks("train", 1).tasks[0]
    db = beginning(SiteTask.of(task))
    before = db.serialize()
    judge(task, db, "x")
    assert db.serialize() == before


def test_content_keeps_its_own_rules():
    for slug in SITES:
        db = opened(edition(slug, 0))
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
def test_other_tasks_are_refused(params):
    with pytest.raises(UsageError, match="paper-kite|is of no embedded site"):
        SiteTask.of(Task("t", "kintsugi/Web-v0", "train", 0, params))


def test_bad_arguments_are_refused():
    for call, text in {
        lambda: make_tasks("trian"): "unknown web split 'trian'; did you mean 'train'",
        lambda: make_tasks("train", kind="shp"): "unknown kind of site 'shp'; did you mean 'shop'",
        lambda: make_tasks("train", -1): "asked for -1 web tasks",
        lambda: make_tasks("train", size="small"): "unknown parameter of web tasks 'size'",
        lambda: edition("paper-kite", EDITIONS): "has editions 0 to",
        lambda: reopened(b"no database"): "11 bytes are no state of a site",
    }.items():
        with pytest.raises(UsageError, match=text):
            call()


def test_a_content_without_what_is_asked_for_is_passed_over():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE place (name, city, extras)")
    db.execute("CREATE TABLE room (place_id, price)")
    from kintsugi.envs.portable_rng import PortableRng

    assert TYPES["booking_cheapest"].draw(PortableRng(1), db, SITES["stay-yonder"]) is None
