"""The report: what it says, that nothing in it is markup, and what it refuses."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from kintsugi.benchmarks.report.pages import TEMPLATES, write_report
from kintsugi.benchmarks.report.pages.attempts import CHUNK_BYTES, TEXT_HEAD, AttemptFiles, clipped
from kintsugi.errors import UsageError
from kintsugi.loops.runs.references import parent_stage, parse_eval
from kintsugi.loops.runs.store import RunStore


def read(path: Path) -> list[Any]:
    """The argument of the one call in a data file."""
    text = path.read_text(encoding="ascii")
    return json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]")


def test_report_says_scores_with_n_interval_and_taskset(run):
    page = write_report(run).read_text()
    with RunStore.read(run) as store:
        taskset = store.results()["score/seed0/base/valid_seen"]["taskset"]
    for said in (
        "Success on valid_seen",
        "Success on valid_unseen",
        taskset,
        "25.0 %",
        "75.0 %",
        "exact sign-flip by task",
    ):
        assert said in page
    assert page.count(taskset) >= 4
    assert "lora.rank" in page
    assert "Where the time went" in page
    [charts] = read(run / "report/data/charts.js")
    base = charts["tasksets"][0]["models"][0]
    assert (base["value"], base["n"], base["seeds"]) == (25.0, 24, [["seed0", 25.0], ["seed1", 25.0]])


def test_report_joins_mends_to_what_they_mend(run):
    write_report(run)
    [index] = read(run / "report/data/index.js")
    stages = [index["stages"][row[0]] for row in index["rows"]]
    assert len(index["rows"]) == 8 + 4 + 3 * 2 * 12 + 6
    mends = [row for row, stage in zip(index["rows"], stages, strict=True) if stage == "collect/reflection"]
    for row in mends:
        [parent] = row[-1]
        assert stages[parent] == "collect/policy"
        assert index["tasks"][index["rows"][parent][1]] == index["tasks"][row[1]]


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


def test_pages_ask_nobody_for_anything(run):
    write_report(run)
    for name in ("index.html", "attempts.html"):
        page = (run / "report" / name).read_text()
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
        for asset in re.findall(r'(?:src|href)="([\w./-]+\.(?:js|css|html))', page):
            assert (run / "report" / asset).is_file(), asset


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    one, two = write_report(run, tmp_path / "one").parent, write_report(run, tmp_path / "two").parent
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_an_older_report_is_replaced_and_nothing_else(run, tmp_path):
    write_report(run)
    stale = run / "report/data/chunk-99.js"
    stale.write_text("old")
    write_report(run)
    assert not stale.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="something else than a report"):
        write_report(run, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()


def test_refuses_what_is_no_run_and_a_damaged_one(run, tmp_path):
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


def test_an_empty_run_and_an_unfinished_evaluation_are_told(tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        assert "Nothing has been measured" in write_report(tmp_path / "run").read_text()
        store.add("eval/base/valid", [attempt(i, i < 2) for i in range(4)])
        store.add("eval/better/valid", [attempt(i, True) for i in range(3)])
        store.add("eval/broken/valid", [attempt(i, False, outcome="infra_error") for i in range(4)])
    page = write_report(tmp_path / "run").read_text()
    assert "they share 3" in page
    assert "nothing was measured" in page


def test_texts_lie_in_chunks_of_bounded_size(tmp_path, attempt):
    files = AttemptFiles(tmp_path / "data", per_stage=300)
    long = "x" * 100_000
    for stage in ("collect/policy", "eval/base/valid"):
        files.add(stage, (attempt(i, False, final_observation=long) for i in range(310)))
    assert files.close() == 600
    assert files.left_out == {"collect/policy": 10, "eval/base/valid": 10}
    [index] = read(tmp_path / "data/index.js")
    assert len(index["starts"]) > 1
    seen = 0
    for number, start in enumerate(index["starts"]):
        path = tmp_path / f"data/chunk-{number}.js"
        told, texts = read(path)
        assert (told, start) == (number, seen)
        assert path.stat().st_size < CHUNK_BYTES + 50_000
        seen += len(texts)
    assert seen == 600


def test_long_texts_are_cut_with_a_note():
    text = clipped("a" * TEXT_HEAD + "b" * 10_000 + "c" * 1_500)
    assert text.startswith("a" * TEXT_HEAD + "\n[… 10,000 characters are left out")
    assert text.endswith("\n" + "c" * 1_500)
    assert clipped("short") == "short"


def test_names_of_stages():
    found = parse_eval("eval/seed3/re-rest/round2/valid_seen")
    assert found is not None
    assert (found.seed, found.model, found.tasks) == ("seed3", "re-rest/round2", "valid_seen")
    plain = parse_eval("eval/base/valid")
    assert plain is not None
    assert (plain.seed, plain.name) == (None, "base/valid")
    assert parse_eval("collect/policy") is None
    stages = ["collect/seed0/policy", "collect/seed0/policy@2", "collect/seed0/reflection@2", "collect/seed1/policy"]
    assert parent_stage("collect/seed0/reflection@2", stages)[0] == "collect/seed0/policy@2"
    assert parent_stage("collect/seed0/reflection", stages)[0] == "collect/seed0/policy"
    assert parent_stage("collect/seed0/policy", stages)[-1] == "collect/seed0/policy"
