"""Floats near 0 are flushed where that is asked for, and afterwards everything is as it was."""

from __future__ import annotations

import pytest
import torch
from kintsugi.agents.models.networks import denormals_flushed


def flushes() -> bool:
    return not torch.full((4,), 1e-39).mul(1.0).any()


@pytest.fixture
def able():
    """Whether this processor can flush denormals at all; where it cannot, nothing changes."""
    found = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    return found


def test_denormals_are_flushed_within_only(able):
    assert not flushes()
    within: list[bool] = []

    def broken() -> None:
        with denormals_flushed():
            within.append(flushes())
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        broken()
    assert within == [able]
    assert not flushes()


def test_who_flushed_them_before_does_so_afterwards(able):
    torch.set_flush_denormal(True)
    try:
        with denormals_flushed():
            assert flushes() == able
        assert flushes() == able
    finally:
        torch.set_flush_denormal(False)
