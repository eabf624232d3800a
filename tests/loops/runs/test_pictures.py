"""`Pictures`: one file per content, size limits, and pictures and versions recorded with attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import scripted_run
from kintsugi.agents.rollout import Job
from kintsugi.errors import UsageError
from kintsugi.loops.run import Attempts
from kintsugi.loops.runs.pictures import Pictures
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

STAGE = Stage("collect", "policy", "train")
PNG, JPEG = b"\x89PNG\r\n\x1a\n" + b"p" * 90, b"\xff\xd8\xff\xe0" + b"j" * 90


def test_equal_pictures_share_one_file(tmp_path: Path):
    kept = Pictures(tmp_path / "pictures")
    names = [kept.save(PNG), kept.save(JPEG), kept.save(PNG)]
    assert names[0] == names[2] != names[1]
    assert [name.rpartition(".")[2] for name in names[:2]] == ["png", "jpg"]
    assert {path.name: path.read_bytes() for path in kept.folder.iterdir()} == {names[0]: PNG, names[1]: JPEG}


def test_other_file_formats_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="expected PNG, JPEG or WebP"):
        Pictures(tmp_path / "pictures").save(b"<html>")
    assert not (tmp_path / "pictures").exists()


def test_the_size_limits_hold_across_restarts(tmp_path: Path):
    def opened() -> Pictures:
        return Pictures(tmp_path / "p", max_bytes=150, max_total_bytes=200)

    assert opened().save(PNG + b"p" * 100) == ""
    assert opened().save(PNG)
    later = opened()
    assert later.save(JPEG)
    assert later.save(JPEG + b"more") == ""
    assert later.save(PNG), "a stored picture takes no further space"
    assert len(list((tmp_path / "p").iterdir())) == 2


@pytest.mark.parametrize("keeps_pictures", [True, False])
def test_a_run_always_stores_versions_and_pictures_only_if_enabled(tmp_path: Path, keeps_pictures: bool):
    attempts = Attempts(k=1, max_tokens=60)
    with RunStore.open(tmp_path / "run", {}) as store:
        store.keeps_pictures = keeps_pictures
        run = scripted_run(store, "loop_envs:Painted", ["Action: a"])
        jobs = [Job(task, run.make_agent(None, attempts), 0) for task in run.env.tasks("train", 1)]
        played = run.play(STAGE, jobs, attempts)
        assert run.play(STAGE, jobs, attempts) == played
    with RunStore.read(tmp_path / "run") as store:
        assert store.versions == {"Easel": ["1.2"]}
        steps = store.trajectories(STAGE)[0].steps
    assert [step.picture for step in steps] == [step.picture for step in played[0].steps]
    found = [(tmp_path / "run" / "pictures" / step.picture).read_bytes() for step in steps if step.picture]
    assert found == ([PNG[:8] + str(number).encode() for number in range(len(steps))] if keeps_pictures else [])
    assert (tmp_path / "run" / "pictures").exists() == keeps_pictures
    assert len(steps) == 50


def test_all_versions_are_kept(tmp_path: Path):
    with RunStore.open(tmp_path / "run", {}) as store:
        assert store.versions == {}
        store.record_versions([("Easel", "1.2"), ("Easel", "1.2")])
        store.record_versions([("Easel", "1.3"), ("Brush", "9")])
        store.record_versions([("Easel", "1.2")])
        assert store.versions == {"Easel": ["1.2", "1.3"], "Brush": ["9"]}
