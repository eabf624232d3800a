"""`Batcher`: which requests form a batch, and which wait."""

from __future__ import annotations

import asyncio

import pytest
from kintsugi.agents.models.batching import Batcher


async def episode(batcher: Batcher[str, str], name: str, turns: int) -> list[str]:
    return [await batcher.submit(f"{name}{turn}") for turn in range(turns)]


def played(batcher: Batcher[str, str], turns: dict[str, int]) -> list[list[str]]:
    """Return the answers of concurrent episodes, by name and number of turns."""

    async def everything() -> list[list[str]]:
        return await asyncio.gather(*(episode(batcher, name, n) for name, n in turns.items()))

    return asyncio.run(everything())


def test_all_waiting_requests_form_a_batch():
    batches: list[list[str]] = []

    def run_batch(requests: list[str]) -> list[str]:
        batches.append(requests)
        return [request.upper() for request in requests]

    assert played(Batcher(run_batch), {"a": 2, "b": 1}) == [["A0", "A1"], ["B0"]]
    assert batches == [["a0", "b0"], ["a1"]]


def test_requests_that_are_not_chosen_wait_for_a_later_batch():
    """Two at a time; those that were served before come first."""
    batches: list[list[str]] = []
    served = set[str]()

    def choose(requests: list[str]) -> list[int]:
        return sorted(sorted(range(len(requests)), key=lambda i: requests[i][0] not in served)[:2])

    def run_batch(requests: list[str]) -> list[str]:
        served.update(request[0] for request in requests)
        batches.append(requests)
        return [request.upper() for request in requests]

    found = played(Batcher(run_batch, choose), {"a": 2, "b": 3, "c": 1, "d": 2})
    assert found == [["A0", "A1"], ["B0", "B1", "B2"], ["C0"], ["D0", "D1"]]
    # Requests that waited come before those that were added meanwhile.
    assert [sorted(batch) for batch in batches] == [["a0", "b0"], ["a1", "b1"], ["b2", "c0"], ["d0"], ["d1"]]


def test_an_error_ends_the_requests_of_its_batch_only():
    def run_batch(requests: list[str]) -> list[str]:
        if "a0" in requests:
            raise ValueError("a0 is odd")
        return requests

    batcher = Batcher(run_batch, lambda requests: [0])

    async def both() -> list[object]:
        return list(await asyncio.gather(batcher.submit("a0"), batcher.submit("b0"), return_exceptions=True))

    failed, answered = asyncio.run(both())
    assert isinstance(failed, ValueError)
    assert answered == "b0"


def test_an_error_while_choosing_ends_all_requests():
    def choose(requests: list[str]) -> list[int]:
        raise ValueError("no memory is left")

    with pytest.raises(ValueError, match="no memory is left"):
        played(Batcher(lambda requests: requests, choose), {"a": 1, "b": 1})
