"""Threads that learn abreast: the same gradient as one after the other, in the weights of one network."""

from __future__ import annotations

import threading

import pytest
import torch
from kintsugi.loops.seeds.data_parallel import data_parallel

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
    with data_parallel(model, threads) as learnt:
        for _ in range(2):
            found = learnt([loss_on(batch) for batch in BATCHES[:batches]])
            torch.testing.assert_close(found, expected.detach())
            for p, its in zip(model.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(p.grad, its.grad)


def test_all_learn_with_the_weights_as_they_are_now():
    model = network()
    with data_parallel(model, 2) as learnt:
        before = learnt([loss_on(batch) for batch in BATCHES[:2]])
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1.0)
        after = learnt([loss_on(batch) for batch in BATCHES[:2]])
    assert float(after) != float(before)
    torch.testing.assert_close(after, sum(loss_on(batch)(model) for batch in BATCHES[:2]).detach())


def test_threads_share_what_torch_may_use_and_give_it_back():
    within = torch.get_num_threads()
    seen: list[tuple[int, int]] = []
    try:
        torch.set_num_threads(4)
        with data_parallel(network(), 2) as learnt:
            learnt([loss_on(batch, seen) for batch in BATCHES[:2]])
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(within)
    assert [number for _, number in seen] == [2, 2]
    assert threading.get_ident() not in {thread for thread, _ in seen}


def test_what_is_raised_on_the_way_is_raised_here_and_torch_has_its_threads_back():
    within = torch.get_num_threads()

    def broken(model):
        raise ValueError("no such batch")

    with pytest.raises(ValueError, match="no such batch"), data_parallel(network(), 2) as learnt:
        learnt([loss_on(BATCHES[0]), broken])
    assert torch.get_num_threads() == within


def test_one_alone_needs_no_thread():
    seen: list[tuple[int, int]] = []
    model = network()
    with data_parallel(model, 1) as learnt:
        learnt([loss_on(BATCHES[0], seen)])
    assert seen == [(threading.get_ident(), torch.get_num_threads())]
