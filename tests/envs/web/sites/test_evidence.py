"""Answers are compared by what they say: numbers as numbers, names as whole words, and never two at a time."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.sites.evidence import Evidence


def says(answer: str | None, expected: str | float, *others: str) -> bool:
    db = sqlite3.connect(":memory:")
    return Evidence(db, db, answer).says(expected, others)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("3", 3),
        ("There are 3 of them.", 3),
        ("$1,204.50", 1204.5),
        ("42.50 dollars", 42.5),
        ("-7", -7),
        ("3 (yes, 3)", 3),
    ],
)
def test_numbers(answer, expected):
    assert says(answer, expected)


@pytest.mark.parametrize("answer", [None, "", "three", "3 or 4", "33", "3.5", "1 003"])
def test_other_numbers(answer):
    assert not says(answer, 3)


def test_names_in_any_sentence_but_beside_no_other():
    others = ("Oak Hall", "Old Oak Hall", "Elm House")
    assert says("old oak hall!", "Old Oak Hall", *others)
    assert says("It is the Old Oak Hall, I think.", "Old Oak Hall", *others)
    assert not says("Oak Hall", "Old Oak Hall", *others)
    assert not says("Old Oak Hall", "Oak Hall", *others)
    assert not says("Old Oak Hall or Elm House", "Old Oak Hall", *others)
    assert not says("Old Oak Halls", "Old Oak Hall", *others)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_number_is_only_itself(one, other):
    assert says(f"{one:,}", one)
    assert says(str(other), one) == (one == other)


@given(st.text())
def test_any_answer_can_be_judged(answer):
    says(answer, 5)
    says(answer, "Elm House", "Oak Hall")
