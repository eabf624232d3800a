"""The report in a real browser: keyboard use, hostile texts, and ten thousand attempts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kintsugi.agents.trajectory import Step
from kintsugi.benchmarks.report.pages import write_report
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

pytestmark = pytest.mark.requires("chromium")


def url(path: Path, fragment: str = "") -> str:
    return path.resolve().as_uri() + fragment


def test_charts_are_drawn_in_light_and_dark(page, run):
    index = write_report(run)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(url(index))
        page.wait_for_selector(".chart .plot-container")
        assert page.locator("[data-chart=scores] .plot-container").count() == 2
        assert page.locator("[data-chart=types] .bars .point").count() > 0
        assert page.locator("[data-chart=timings] .bars .point").count() == 3
    assert page.get_by_role("table").count() >= 6
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_screenshots_are_shown_at_their_steps(page, tmp_path, attempt):
    pictures = []
    with RunStore.open(tmp_path / "run", {}) as store:
        for width in (40, 80):
            page.set_viewport_size({"width": width, "height": 30})
            pictures.append(store.pictures.save(page.screenshot(type="jpeg")))
        page.set_viewport_size({"width": 1300, "height": 850})
        steps = [Step(f"page {n}", "", f"click [{n}]", picture=name) for n, name in enumerate(pictures)]
        steps.append(Step("page 2", "", "stop", picture="../../run.db"))
        store.add(Stage("eval", "base", "valid_unseen"), [attempt(0, True, steps=tuple(steps))])
    index = write_report(tmp_path / "run")
    # The report must work without the run's folder.
    index.parent.rename(tmp_path / "elsewhere")
    assert sorted(path.name for path in (tmp_path / "elsewhere/data/pictures").iterdir()) == sorted(pictures)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(url(tmp_path / "elsewhere" / "attempts.html"))
        page.wait_for_selector(".step img")
        page.wait_for_function("[...document.querySelectorAll('.step img')].every((image) => image.complete)")
        widths = page.eval_on_selector_all(".step img", "images => images.map((image) => image.naturalWidth)")
        assert widths == [40, 80]
        assert page.get_attribute(".step img >> nth=1", "alt") == "screenshot of step 2"


def test_hostile_texts_are_shown_as_text(page, run, hostile):
    index = write_report(run)
    for name in ("index.html", "attempts.html"):
        page.goto(url(index.with_name(name)))
        page.wait_for_load_state("networkidle")
    page.fill("input[name=text]", "<img")
    page.wait_for_selector(".step")
    assert hostile.replace("\x07", "")[:40] in page.inner_text("#detail")
    assert page.locator("img, #detail b:text('bold')").count() == 0
    assert page.evaluate("window.hacked") is None
    assert page.locator("#list .row").count() == 2


def test_attempts_can_be_browsed_with_the_keyboard(page, run):
    index = write_report(run)
    page.goto(url(index.with_name("attempts.html")))
    page.wait_for_selector(".step")
    assert page.inner_text("#count") == "90 of 90 attempts"
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("[aria-selected=true][aria-posinset='90']")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[aria-selected=true][aria-posinset='2']")
    page.wait_for_selector("#detail:has-text('train/001 #0')")
    assert page.get_attribute("#list", "aria-activedescendant") == page.get_attribute("[aria-selected=true]", "id")


def test_failed_is_shown_next_to_mended(page, run):
    index = write_report(run)
    page.goto(url(index.with_name("attempts.html"), "#mending=mended"))
    page.wait_for_selector(".steps.two")
    heads = page.locator(".head")
    assert "collect/policy" in heads.nth(0).inner_text()
    assert "collect/reflection" in heads.nth(1).inner_text()
    assert "I should have taken the mug" in heads.nth(1).inner_text()
    assert page.inner_text(".difference") == "identical up to step 1, then different"
    assert "refused: Nothing happens." in page.inner_text(".refused")
    page.select_option(".compare select", "none")
    page.wait_for_selector(".steps:not(.two)")
    assert "other=none" in page.url


def test_links_of_the_report_open_filtered_attempts(page, run):
    page.goto(url(write_report(run)))
    page.get_by_role("link", name="failed", exact=True).first.click()
    page.wait_for_selector(".step")
    assert page.input_value("select[name=stage]") == "eval/seed0/base/valid_seen"
    assert page.inner_text("#count") == "9 of 90 attempts"
    page.select_option("select[name=outcome]", "success")
    assert page.inner_text("#count") == "3 of 90 attempts"
    page.fill("input[name=text]", "no such task")
    assert "No attempt matches" in page.inner_text("#detail")


def test_ten_thousand_attempts_can_be_browsed(page, tmp_path, attempt):
    with RunStore.open(tmp_path / "run", {}) as store:
        for part in range(4):
            store.add(Stage("eval", f"model{part}", "valid"), [attempt(i, i % 3 == 0) for i in range(2500)])
    index = write_report(tmp_path / "run")
    page.goto(url(index.with_name("attempts.html")))
    page.wait_for_selector(".step")
    assert page.inner_text("#count") == "10,000 of 10,000 attempts"
    assert page.locator(".row").count() < 60
    start = time.perf_counter()
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("#detail:has-text('valid/2499')")
    page.fill("input[name=text]", "valid/1234")
    page.wait_for_selector("#count:has-text('4 of 10,000')")
    assert time.perf_counter() - start < 5
    assert page.evaluate("document.getElementsByTagName('*').length") < 2000
