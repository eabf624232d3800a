"""`flush_denormals` flushes denormals only within its block."""

from __future__ import annotations

import pytest
import torch
from kintsugi.agents.models.networks import flush_denormals


def flushes() -> bool:
    return not torch.full((4,), 1e-39).mul(1.0).any()


@pytest.fixture
def able():
    """Whether this processor can flush denormals."""
    found = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    return found


def test_denormals_are_flushed_only_within_the_block(able):
    assert not flushes()
    within: list[bool] = []

    def broken() -> None:
        with flush_denormals():
            within.append(flushes())
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        broken()
    assert within == [able]
    assert not flushes()


def test_previous_setting_is_restored(able):
    torch.set_flush_denormal(True)
    try:
        with flush_denormals():
            assert flushes() == able
        assert flushes() == able
    finally:
        torch.set_flush_denormal(False)
