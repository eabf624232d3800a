"""Data-parallel gradients: threads give the same gradient as sequential batches."""

from __future__ import annotations

import threading

import pytest
import torch
from kintsugi.loops.learning.data_parallel import data_parallel

BATCHES = [torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def loss_on(batch, seen=None):
    def loss(model):
        if seen is not None:
            seen.append((threading.get_ident(), torch.get_num_threads()))
        return model(batch).square().mean()

    return loss


@pytest.mark.parametrize(("threads", "batches"), [(2, 1), (2, 2), (3, 2), (3, 3), (5, 3)])
def test_the_gradient_is_that_of_the_sum(threads, batches):
    alone, model = network(), network()
    expected = sum(loss_on(batch)(alone) for batch in BATCHES[:batches])
    expected.backward()
    with data_parallel(model, threads) as backward:
        for _ in range(2):
            found = backward([loss_on(batch) for batch in BATCHES[:batches]])
            torch.testing.assert_close(found, expected.detach())
            for p, other in zip(model.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(p.grad, other.grad)


def test_replicas_share_the_current_weights():
    model = network()
    with data_parallel(model, 2) as backward:
        before = backward([loss_on(batch) for batch in BATCHES[:2]])
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1.0)
        after = backward([loss_on(batch) for batch in BATCHES[:2]])
    assert float(after) != float(before)
    torch.testing.assert_close(after, sum(loss_on(batch)(model) for batch in BATCHES[:2]).detach())


def test_torch_threads_are_divided_and_restored():
    threads_before = torch.get_num_threads()
    seen: list[tuple[int, int]] = []
    try:
        torch.set_num_threads(4)
        with data_parallel(network(), 2) as backward:
            backward([loss_on(batch, seen) for batch in BATCHES[:2]])
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads_before)
    assert [number for _, number in seen] == [2, 2]
    assert threading.get_ident() not in {thread for thread, _ in seen}


def test_errors_are_raised_and_torch_threads_are_restored():
    threads_before = torch.get_num_threads()

    def broken(model):
        raise ValueError("no such batch")

    with pytest.raises(ValueError, match="no such batch"), data_parallel(network(), 2) as backward:
        backward([loss_on(BATCHES[0]), broken])
    assert torch.get_num_threads() == threads_before


def test_a_single_thread_starts_no_pool():
    seen: list[tuple[int, int]] = []
    model = network()
    with data_parallel(model, 1) as backward:
        backward([loss_on(BATCHES[0], seen)])
    assert seen == [(threading.get_ident(), torch.get_num_threads())]
