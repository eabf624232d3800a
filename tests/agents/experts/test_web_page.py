"""Tests of how the web expert parses observations and behaves on unexpected pages."""

from __future__ import annotations

import pytest
from kintsugi.agents.experts.web import WebExpert
from kintsugi.agents.experts.web_page import Line, Page, PageMismatch, read_line
from kintsugi.agents.experts.web_scripts import SCRIPTS
from kintsugi.envs.web.sites.tasks import TASK_TYPES
from kintsugi.errors import UsageError

PAGE = r"""URL: http://shop.test/
Title: Cart
main
  heading 'Cart' level 1
  text 'Status'
  text 'Open'
  table
    row 'Height | 300'
    row
      rowheader "Baker's Bay"
        [3] link "Baker's Bay"
      cell 'Town'
  [4] textbox 'Name \'x\'' value 'A B' focused required
  [5] combobox 'Sort by' value 'Name' options 'Name', 'Price: low to high'
  [6] button 'Go' disabled"""


def test_a_line_is_parsed():
    assert read_line("  [4] textbox 'Name \\'x\\'' value 'A B' focused") == Line(
        1, "textbox", "Name 'x'", 4, "A B", (), ("value", "focused")
    )
    assert read_line("    text 'Status'") == Line(2, "text", "Status")
    assert read_line("URL: http://shop.test/") is None
    assert read_line("… and 7 more lines that do not fit") is None


def test_pages_are_searched_by_role_and_name():
    page = Page(PAGE)
    assert page.find("link", ["Baker's Bay"]).id == 3
    assert page.find(("combobox", "textbox"), ["Sort by"]).options == ("Name", "Price: low to high")
    assert page.rows() == [["Height", "300"], ["Baker's Bay", "Town"]]
    assert page.row_value("Height") == "300"
    assert page.text_after("Status") == "Open"
    assert not page.has("link", ["Status"])
    for call in (
        lambda: page.find("link", ["Go"]),
        lambda: page.row_value("Width"),
        lambda: page.text_after("Name"),
        lambda: page.lines_below("Bag"),
    ):
        with pytest.raises(PageMismatch):
            call()


def test_every_task_type_has_a_script():
    assert set(SCRIPTS) == set(TASK_TYPES)


def test_unexpected_page_ends_the_attempt():
    expert = WebExpert("What is the status of order '1001'?")
    assert expert.think_and_act(PAGE) == ("It is done.", "stop")
    assert expert.think_and_act(PAGE) == ("It is done.", "stop")


def test_other_goals_are_rejected():
    with pytest.raises(UsageError, match="cannot read the task 'buy a lamp'"):
        WebExpert("buy a lamp")
