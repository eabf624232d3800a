"""Pictures of a run: one file for equal ones, bounded, and found again by the attempts that showed them."""

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


def test_equal_pictures_are_one_file(tmp_path: Path):
    kept = Pictures(tmp_path / "pictures")
    names = [kept.keep(PNG), kept.keep(JPEG), kept.keep(PNG)]
    assert names[0] == names[2] != names[1]
    assert [name.rpartition(".")[2] for name in names[:2]] == ["png", "jpg"]
    assert {path.name: path.read_bytes() for path in kept.folder.iterdir()} == {names[0]: PNG, names[1]: JPEG}


def test_what_is_no_picture_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="expected PNG, JPEG or WebP"):
        Pictures(tmp_path / "pictures").keep(b"<html>")
    assert not (tmp_path / "pictures").exists()


def test_they_are_bounded_over_the_run_s_whole_life(tmp_path: Path):
    def opened() -> Pictures:
        return Pictures(tmp_path / "p", most_bytes=150, most_in_all=200)

    assert opened().keep(PNG + b"p" * 100) == ""
    assert opened().keep(PNG)
    later = opened()
    assert later.keep(JPEG)
    assert later.keep(JPEG + b"more") == ""
    assert later.keep(PNG), "what is there already costs nothing"
    assert len(list((tmp_path / "p").iterdir())) == 2


@pytest.mark.parametrize("illustrated", [True, False])
def test_a_run_keeps_pictures_when_asked_and_versions_always(tmp_path: Path, illustrated: bool):
    attempts = Attempts(k=1, max_tokens=60)
    with RunStore.open(tmp_path / "run", {}) as store:
        store.illustrated = illustrated
        run = scripted_run(store, "loop_envs:Painted", ["Action: a"])
        jobs = [Job(task, run.acting(None, attempts), 0) for task in run.env.tasks("train", 1)]
        played = run.play(STAGE, jobs, attempts)
        assert run.play(STAGE, jobs, attempts) == played
    with RunStore.read(tmp_path / "run") as store:
        assert store.versions == {"Easel": ["1.2"]}
        steps = store.trajectories(STAGE)[0].steps
    assert [step.picture for step in steps] == [step.picture for step in played[0].steps]
    found = [(tmp_path / "run" / "pictures" / step.picture).read_bytes() for step in steps if step.picture]
    assert found == ([PNG[:8] + str(number).encode() for number in range(len(steps))] if illustrated else [])
    assert (tmp_path / "run" / "pictures").exists() == illustrated
    assert len(steps) == 50


def test_every_version_that_was_ever_met_is_kept(tmp_path: Path):
    with RunStore.open(tmp_path / "run", {}) as store:
        assert store.versions == {}
        store.note_versions([("Easel", "1.2"), ("Easel", "1.2")])
        store.note_versions([("Easel", "1.3"), ("Brush", "9")])
        store.note_versions([("Easel", "1.2")])
        assert store.versions == {"Easel": ["1.2", "1.3"], "Brush": ["9"]}
