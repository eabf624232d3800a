"""Search trees in the report: the data files, and the tree view in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.search import finished_trees
from kintsugi.benchmarks.report.pages import write_report
from kintsugi.loops.runs.store import RunStore
from spliced_runs import make_spliced_run


@pytest.fixture(scope="module", params=["", "seed1"])
def spliced_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with splices, with and without training seeds."""
    return make_spliced_run(tmp_path_factory.mktemp("spliced") / "the run", request.param)


def read(path: Path) -> list[Any]:
    """Return the arguments of the call in a data file."""
    text = path.read_text(encoding="ascii")
    return json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]")


def test_the_data_files_hold_every_tree_with_its_splices(spliced_run):
    index = write_report(spliced_run)
    [trees] = read(index.parent / "data/trees.js")
    _, chunk = read(index.parent / "data/tree-0.js")
    with RunStore.read(spliced_run) as store:
        [stage] = store.tree_stages()
        stored = list(finished_trees(store.tree_log(stage)))
        [result] = [result for at, result in store.results().items() if at.kind == "spliced"]
    assert trees["stages"] == [str(stage)]
    assert [row[1] for row in trees["rows"]] == [tree.key for tree in stored]
    assert sum(row[-1] for row in trees["rows"]) == len(result["cuts"]) > 0
    for tree, row, texts in zip(stored, trees["rows"], chunk, strict=True):
        assert row[3] == len(tree) == len(texts["nodes"])
        for node, shown, visits in zip(tree.nodes, texts["nodes"], tree.visits, strict=True):
            assert (shown[0], shown[4], shown[7]) == (node.parent, node.observation, visits)
        assert [splice["tree"] for splice in texts["splices"]] == [tree.key] * row[-1]
        for splice in texts["splices"]:
            assert (splice["attempt"] is not None) == (splice["how"] == "verified")


def test_a_run_without_trees_has_no_trees_page(run):
    index = write_report(run)
    assert not index.with_name("trees.html").exists()
    assert "trees.html" not in index.read_text()


# -- In a browser -----------------------------------------------------------------------------------------------------


@pytest.mark.requires("chromium")
def test_a_tree_can_be_expanded_with_the_keyboard(page, spliced_run):
    page.goto(write_report(spliced_run).resolve().as_uri())
    page.get_by_role("link", name="Trees").click()
    page.wait_for_selector("[role=treeitem]")
    assert page.inner_text("#count") == "6 of 6 trees"
    page.focus("[role=treeitem][tabindex='0']")
    page.keyboard.press("Home")
    assert page.get_attribute("#node-0", "aria-selected") == "true"
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#node-0", "aria-expanded") == "false"
    assert page.get_by_role("treeitem").count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.locator("[role=treeitem][aria-selected=true]")
    assert chosen.get_attribute("aria-level") == "2"
    assert chosen.evaluate("node => node === document.activeElement")
    assert "turn 1: value" in page.inner_text(".node")
    page.locator("[role=treeitem] .worth").first.wait_for()
    assert "×" in page.inner_text("#node-0 .worth")


@pytest.mark.requires("chromium")
def test_a_splice_is_shown_with_its_cut(page, spliced_run):
    index = write_report(spliced_run)
    _, chunk = read(index.parent / "data/tree-0.js")
    number, place = next(
        (number, place)
        for number, tree in enumerate(chunk)
        for place, splice in enumerate(tree["splices"])
        if splice["how"] == "verified"
    )
    page.goto(f"{index.with_name('trees.html').resolve().as_uri()}#kind=spliced&tree={number}")
    page.select_option(".compare select", str(place))
    page.wait_for_selector(".step.masked")
    assert page.locator(".cut").count() == 1
    assert page.locator(".branch.bad").count() > 0
    assert page.locator(".branch.good").count() > 0
    masked, steps = page.locator(".step.masked").count(), page.locator(".step").count()
    assert 0 < masked < steps
    assert page.locator(".step.masked ~ .difference ~ .step:not(.masked)").count() == steps - masked
    assert "That was a mistake." in page.locator(".step").nth(masked).inner_text()
    assert "splice=" in page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
