"""Tests of the comparison of answers: numbers by value, names by whole words, and no competing values."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.sites.evidence import Evidence


def answer_is(answer: str | None, expected: str | float, *others: str) -> bool:
    db = sqlite3.connect(":memory:")
    return Evidence(db, db, answer).answer_is(expected, others)


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
def test_correct_number_is_accepted(answer, expected):
    assert answer_is(answer, expected)


@pytest.mark.parametrize("answer", [None, "", "three", "3 or 4", "33", "3.5", "1 003"])
def test_other_answers_are_rejected_for_a_number(answer):
    assert not answer_is(answer, 3)


def test_name_is_accepted_in_a_sentence_without_other_names():
    others = ("Oak Hall", "Old Oak Hall", "Elm House")
    assert answer_is("old oak hall!", "Old Oak Hall", *others)
    assert answer_is("It is the Old Oak Hall, I think.", "Old Oak Hall", *others)
    assert not answer_is("Oak Hall", "Old Oak Hall", *others)
    assert not answer_is("Old Oak Hall", "Oak Hall", *others)
    assert not answer_is("Old Oak Hall or Elm House", "Old Oak Hall", *others)
    assert not answer_is("Old Oak Halls", "Old Oak Hall", *others)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_number_equals_only_itself(one, other):
    assert answer_is(f"{one:,}", one)
    assert answer_is(str(other), one) == (one == other)


@given(st.text())
def test_any_text_is_a_valid_answer(answer):
    answer_is(answer, 5)
    answer_is(answer, "Elm House", "Oak Hall")
