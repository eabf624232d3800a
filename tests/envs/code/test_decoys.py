"""Tests of the other values that an answer must not equal as well."""

from __future__ import annotations

import collections
from collections.abc import Sized
from typing import Any

import pytest
from kintsugi.envs.code.guest.decoys import decoys

VALUES: tuple[Any, ...] = (
    True, 17, 2.5, "abc", b"abc", [1, 2], (1, 2), {1, 2, 3}, frozenset({1, 2}), {"a": 1, "b": 2}, [[1, 2], {"a": 3}],
    collections.Counter("aab"), collections.defaultdict(int, {1: 2}), collections.deque([1, 2]), range(4),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_decoy_equals_the_value(value):
    for _ in range(100):
        found = decoys(value, constants=[17, "abc", 4])
        assert found
        assert not any(other == value for other in found)


@pytest.mark.parametrize("value", [each for each in VALUES if isinstance(each, Sized)], ids=repr)
def test_the_kind_of_a_value_does_not_tell_it_from_its_decoys(value):
    for _ in range(100):
        assert any(type(other) is type(value) for other in decoys(value))


@pytest.mark.parametrize("value", ["abc", b"abc", [1, 2], (1, 2), {1: 2, 3: 4}, [["a"], None]], ids=repr)
def test_the_size_of_a_value_does_not_tell_it_from_its_decoys(value):
    for _ in range(300):
        assert any(type(other) is type(value) and len(other) == len(value) for other in decoys(value))
