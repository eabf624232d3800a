"""`UnicodeText`: strings of any script, with reproducible samples."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs import UnicodeText

anything = st.text(st.characters(codec=None))


@given(anything, st.integers(1, 40))
def test_contains_checks_only_the_length(text, max_length):
    assert (text in UnicodeText(max_length)) == (len(text) <= max_length)


@pytest.mark.parametrize("other", [None, 3, b"bytes", ["a"], 1.5])
def test_only_strings_are_contained(other):
    assert other not in UnicodeText(10)


@pytest.mark.parametrize("max_length", [1, 5, 64, 100_000])
def test_samples_are_contained_and_reproducible(max_length):
    space, twin = UnicodeText(max_length, seed=7), UnicodeText(max_length)
    twin.seed(7)
    samples = [space.sample() for _ in range(200)]
    assert samples == [twin.sample() for _ in range(200)]
    assert all(sample in space for sample in samples)
    assert len(set(samples)) > 50
    assert any(not sample.isascii() for sample in samples)


def test_masks_are_refused():
    with pytest.raises(ValueError, match="supports neither mask nor probability"):
        UnicodeText(5).sample(mask=[1])
    with pytest.raises(ValueError, match="max_length is 0"):
        UnicodeText(0)


@given(st.lists(anything, max_size=5))
def test_jsonable_round_trip(samples):
    space = UnicodeText(1000)
    assert space.from_jsonable(space.to_jsonable(samples)) == samples


def test_equality_hash_copies_and_pickles():
    space = UnicodeText(12, seed=3)
    assert space == UnicodeText(12) != UnicodeText(13)
    assert space != gymnasium.spaces.Text(12)
    assert hash(space) == hash(UnicodeText(12))
    copies = [copy.deepcopy(space), pickle.loads(pickle.dumps(space))]
    first = space.sample()
    assert [other.sample() for other in copies] == [first, first]
    assert repr(space) == "UnicodeText(12)"


def test_the_space_can_be_nested_in_gymnasium_spaces():
    space = gymnasium.spaces.Dict({"said": UnicodeText(8), "n": gymnasium.spaces.Discrete(3)}, seed=1)
    assert space.sample() in space
    assert not space.is_np_flattenable
    batch = gymnasium.vector.utils.batch_space(UnicodeText(8), 3)
    assert batch.sample() in batch
    assert len(set(batch.sample())) > 1
