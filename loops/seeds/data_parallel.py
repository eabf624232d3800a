"""Threads that learn abreast: each goes through a batch of its own, and a step is made of all their gradients.

The operations of a small network are too short to be divided among cores: threads that sleep while they wait for each
other lose what they gain, and threads that spin take the cores from whatever else runs. Whole batches can be divided.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import torch

Loss: TypeAlias = Callable[[Any], torch.Tensor]
"""A network's loss on one batch, with its gradient."""


@contextlib.contextmanager
def data_parallel(model: Any, threads: int) -> Iterator[Callable[[Sequence[Loss]], torch.Tensor]]:
    """A function that leaves the gradient of the sum of at most `threads` losses in `model`, and returns that sum.

    Within, operations use 1 / `threads` of torch's threads, at least one. Gradients are added in the order of the
    losses: deterministic.
    """
    if threads == 1:
        yield lambda losses: _learnt(model, losses[0])
        return
    models = [model, *(_twin(model) for _ in range(threads - 1))]
    within = torch.get_num_threads()
    torch.set_num_threads(max(1, within // threads))
    try:
        # New threads take the number of the last `set_num_threads`, and flush denormals where this one does.
        with ThreadPoolExecutor(threads) as pool:

            def learnt(losses: Sequence[Loss]) -> torch.Tensor:
                found = list(pool.map(_learnt, models[: len(losses)], losses))
                for twin in models[1 : len(losses)]:
                    for p, its in zip(model.parameters(), twin.parameters(), strict=True):
                        if its.grad is not None:
                            p.grad = its.grad if p.grad is None else p.grad.add_(its.grad)
                return torch.stack(found).sum()

            yield learnt
    finally:
        torch.set_num_threads(within)


def _twin(model: Any) -> Any:
    """Another network with the same weights in the same memory, and gradients of its own."""
    twin = copy.deepcopy(model)
    for p, its in zip(model.parameters(), twin.parameters(), strict=True):
        its.data = p.data
    return twin


def _learnt(model: Any, loss: Loss) -> torch.Tensor:
    model.zero_grad(set_to_none=True)
    found = loss(model)
    found.backward()
    return found.detach()
