"""Floats near 0 are flushed where that is asked for, and afterwards everything is as it was."""

from __future__ import annotations

import pytest
import torch
from kintsugi.agents.models.networks import denormals_flushed


def flushes() -> bool:
    return not torch.full((4,), 1e-39).mul(1.0).any()


@pytest.fixture
def supported():
    able = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not able:
        pytest.skip("this processor cannot flush denormals")


@pytest.mark.usefixtures("supported")
def test_denormals_are_flushed_within_only():
    assert not flushes()
    within: list[bool] = []

    def broken() -> None:
        with denormals_flushed():
            within.append(flushes())
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        broken()
    assert within == [True]
    assert not flushes()


@pytest.mark.usefixtures("supported")
def test_who_flushed_them_before_does_so_afterwards():
    torch.set_flush_denormal(True)
    try:
        with denormals_flushed():
            assert flushes()
        assert flushes()
    finally:
        torch.set_flush_denormal(False)
