"""The contents of the report, the escaping of texts, and refused input."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS
from fakes import scripted_run
from kintsugi.benchmarks.report.attempts import CHUNK_BYTES, TEXT_HEAD, AttemptFiles, clipped
from kintsugi.benchmarks.report.pages import TEMPLATES, write_report
from kintsugi.errors import UsageError
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gain import Gain
from kintsugi.loops.measuring.gate import Gate, Verdict
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining, self_training


def read(path: Path) -> list[Any]:
    """Return the arguments of the call in a data file."""
    text = path.read_text(encoding="ascii")
    return json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]")


def test_report_shows_scores_with_n_interval_and_taskset(run):
    page = write_report(run).read_text()
    with RunStore.read(run) as store:
        taskset = store.results()[Stage("score", "base", "valid_seen", scope="seed0")]["taskset"]
    for text in (
        "Success on valid_seen",
        "Success on valid_unseen",
        taskset,
        "25.0 %",
        "75.0 %",
        "exact sign-flip by task",
        "95 % intervals (Wilson&#39;s, with tasks as clusters)",
        "Intervals: Student&#39;s over tasks, adjusted as by Agresti and Min.",
    ):
        assert text in page
    assert page.count(taskset) >= 4
    assert "lora.rank" in page
    assert "Timing" in page
    [charts] = read(run / "report/data/charts.js")
    base = charts["tasksets"][0]["models"][0]
    assert (base["value"], base["n"], base["seeds"]) == (25.0, 24, [["seed0", 25.0], ["seed1", 25.0]])


def test_report_links_mends_to_the_failed_attempts(run):
    write_report(run)
    [index] = read(run / "report/data/index.js")
    stages = [index["stages"][row[0]] for row in index["rows"]]
    assert len(index["rows"]) == 8 + 4 + 3 * 2 * 12 + 6
    mends = [row for row, stage in zip(index["rows"], stages, strict=True) if stage == "collect/reflection@1/train"]
    for row in mends:
        [parent] = row[-1]
        assert stages[parent] == "collect/policy@1/train"
        assert index["tasks"][index["rows"][parent][1]] == index["tasks"][row[1]]


def test_a_mend_is_linked_to_its_parent_only(tmp_path, attempt):
    """Attempts of the same task and sample occur in several stages and scopes."""
    with RunStore.open(tmp_path / "run", {}) as whole:
        for scope, number in (("", 1), ("", 2), ("seed1", 1)):
            store, stage = whole.with_scope(scope), Stage("collect", "policy", "train", number)
            failed = attempt(0, False)
            store.add(stage, [failed])
            mended = attempt(0, True, parents=(store.key(stage, failed.key), "collect/gone/train:valid/000#0"))
            store.add(replace(stage, model="reflection"), [mended])
    write_report(tmp_path / "run")
    [index] = read(tmp_path / "run/report/data/index.js")
    linked = {
        index["stages"][row[0]]: [index["stages"][index["rows"][parent][0]] for parent in row[-1]]
        for row in index["rows"]
    }
    assert {mend: parents for mend, parents in linked.items() if parents} == {
        "collect/reflection@1/train": ["collect/policy@1/train"],
        "collect/reflection@2/train": ["collect/policy@2/train"],
        "collect/seed1/reflection@1/train": ["collect/seed1/policy@1/train"],
    }


def test_rounds_are_shown_with_the_verdicts_of_the_gate(tmp_path):
    """Adopted and rejected rounds of every seed are shown, with the task set of the comparison."""
    gains = {
        ("seed0", 1): Gain("base", "policy@1", "success", "aaaaaaaaaaaa", 40, 2, 0.125, 0.05, 0.2, 0.95, 0.013, "t"),
        ("seed0", 2): Gain("policy@1", "policy@2", "return", "bbbbbbbbbbbb", 40, 0, -0.021, -0.1, 0.06, 0.95, 0.6, "t"),
        ("seed1", 1): Gain("base", "policy@1", "success", "aaaaaaaaaaaa", 40, 0, 0.0, -0.1, 0.1, 0.95, 1.0, "t"),
    }
    with RunStore.open(tmp_path / "run", {}) as store:
        assert "gate verdicts" not in write_report(tmp_path / "run").read_text()
        for (scope, number), gain in gains.items():
            stage = Stage("verdict", "policy", "valid_seen", number, scope)
            store.result(stage, Verdict(gain, gain.mean > 0).to_json)
    page = write_report(tmp_path / "run").read_text()
    table = page[page.index("Rounds and gate verdicts") :]
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:4]]
    assert [" ".join(row) for row in rows] == [
        "seed0 policy@1 base success +12.5 +5.0…+20.0 0.013 40 adopted aaaaaaaaaaaa",
        "seed0 policy@2 policy@1 return -2.1 -10.0…+6.0 0.600 40 not adopted bbbbbbbbbbbb",
        "seed1 policy@1 base success +0.0 -10.0…+10.0 1.000 40 not adopted aaaaaaaaaaaa",
    ]


def test_attempts_of_the_gate_are_not_scores(tmp_path):
    """They are listed with the training attempts, and the verdict of a real gate is on the page."""
    answers = [f"Thought: hm\nAction: open {colour}" for colour in COLOURS]
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "door_env:Doors", lambda messages, sampling: answers[sampling.seed % 4])
        loop = SelfTraining(Practice(tasks=8), Attempts(k=2), gate=Gate(tasks=10), data=TrainingData(replay=0.0))
        self_training(run, loop)
        [verdict] = [found for stage, found in store.results().items() if stage.kind == "verdict"]
    page = write_report(tmp_path / "run").read_text()
    assert "This run has no scores" in page
    for text in ("gate/base/valid_seen", "gate/self_training@1/valid_seen", f"{100 * verdict['gain']['mean']:+.1f}"):
        assert text in page
    assert ("not adopted" in page) == (not verdict["adopted"])


def test_pages_hold_no_markup_from_the_run(run, hostile):
    write_report(run)
    for name in ("index.html", "attempts.html"):
        page = (run / "report" / name).read_text()
        assert "<img" not in page
        assert "<b>bold" not in page
        assert not re.search(r"<script[^>]*>[^<]", page), "scripts are files, never inline"
    assert "&lt;img src=x" in (run / "report/index.html").read_text()
    number, texts = read(run / "report/data/chunk-0.js")
    assert number == 0
    assert texts[4]["steps"][1][:4] == [hostile] * 4
    for script in TEMPLATES.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text())


def test_pages_load_only_their_own_files(run):
    write_report(run)
    for name in ("index.html", "attempts.html"):
        page = (run / "report" / name).read_text()
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
        for asset in re.findall(r'(?:src|href)="([\w./-]+\.(?:js|css|html))', page):
            assert (run / "report" / asset).is_file(), asset


def test_reports_of_the_same_run_are_identical(run, tmp_path):
    one, two = write_report(run, tmp_path / "one").parent, write_report(run, tmp_path / "two").parent
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_only_an_older_report_is_replaced(run, tmp_path):
    write_report(run)
    stale = run / "report/data/chunk-99.js"
    stale.write_text("old")
    write_report(run)
    assert not stale.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="something other than a report"):
        write_report(run, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()


def test_missing_and_damaged_runs_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match=r"holds no run\.db"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("*report*"))
    with pytest.raises(UsageError, match=r"holds no run\.db"):
        write_report(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
    db = sqlite3.connect(run / "run.db")
    db.execute("DROP TRIGGER append_only_update")
    db.execute("UPDATE trajectories SET data = replace(data, 'mug', 'cup') WHERE number = 1")
    db.commit()
    db.close()
    with pytest.raises(UsageError, match="damaged"):
        write_report(run)
    assert not list(run.glob("*report*"))


def test_an_empty_run_and_an_unfinished_evaluation_are_noted(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        assert "This run has no scores" in write_report(tmp_path / "run").read_text()
        store.add(Stage("eval", "base", "valid"), [attempt(i, i < 2) for i in range(4)])
        store.add(Stage("eval", "better", "valid"), [attempt(i, True) for i in range(3)])
        store.add(Stage("eval", "broken", "valid"), [attempt(i, False, outcome="infra_error") for i in range(4)])
    page = write_report(tmp_path / "run").read_text()
    assert "which share 3" in page
    assert "nothing was measured" in page


def test_texts_are_stored_in_chunks_of_bounded_size(tmp_path, attempt):
    files = AttemptFiles(tmp_path / "data", per_stage=300)
    long = "x" * 100_000
    stages = Stage("collect", "policy", "train"), Stage("eval", "base", "valid")
    for stage in stages:
        files.add(stage, (attempt(i, False, final_observation=long) for i in range(310)))
    assert files.close() == 600
    assert files.left_out == dict.fromkeys(stages, 10)
    [index] = read(tmp_path / "data/index.js")
    assert len(index["starts"]) > 1
    seen = 0
    for number, start in enumerate(index["starts"]):
        path = tmp_path / f"data/chunk-{number}.js"
        index_of_file, texts = read(path)
        assert (index_of_file, start) == (number, seen)
        assert path.stat().st_size < CHUNK_BYTES + 50_000
        seen += len(texts)
    assert seen == 600


def test_long_texts_are_shortened_with_a_note():
    text = clipped("a" * TEXT_HEAD + "b" * 10_000 + "c" * 1_500)
    assert text.startswith("a" * TEXT_HEAD + "\n[… 10,000 characters omitted")
    assert text.endswith("\n" + "c" * 1_500)
    assert clipped("short") == "short"
