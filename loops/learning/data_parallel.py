"""Data-parallel gradients in threads: each thread computes the gradient of its own batch, and a step uses their sum.

Single operations of a small network are too short to split among cores: threads that sleep while they wait gain no
time, and threads that spin occupy cores that other processes need. Whole batches are long enough.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import torch

Loss: TypeAlias = Callable[[Any], torch.Tensor]
"""Maps a network to its loss on one batch, a differentiable scalar."""


@contextlib.contextmanager
def data_parallel(model: Any, threads: int) -> Iterator[Callable[[Sequence[Loss]], torch.Tensor]]:
    """Yield a function that computes the gradient of a sum of losses in parallel.

    The function takes at most `threads` losses. It leaves the gradient of their sum in `model` and returns the sum.
    Gradients are added in the order of the losses, so the result is deterministic. Inside the context, operations use
    1 / `threads` of torch's threads, but at least one.
    """
    if threads == 1:
        yield lambda losses: _loss_and_gradient(model, losses[0])
        return
    models = [model, *(_replica(model) for _ in range(threads - 1))]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads_before // threads))
    try:
        # New threads inherit the number of the last `set_num_threads`, and this thread's flushing of denormals.
        with ThreadPoolExecutor(threads) as pool:

            def backward(losses: Sequence[Loss]) -> torch.Tensor:
                found = list(pool.map(_loss_and_gradient, models[: len(losses)], losses))
                for replica in models[1 : len(losses)]:
                    for p, other in zip(model.parameters(), replica.parameters(), strict=True):
                        if other.grad is not None:
                            p.grad = other.grad if p.grad is None else p.grad.add_(other.grad)
                return torch.stack(found).sum()

            yield backward
    finally:
        torch.set_num_threads(threads_before)


def _replica(model: Any) -> Any:
    """Return a network that shares the memory of the weights of `model`, but has its own gradients.

    Weights without a gradient are not copied at all, so that a large frozen base takes no more memory.
    """
    replica = copy.deepcopy(model, {id(p): p for p in model.parameters() if not p.requires_grad})
    for p, other in zip(model.parameters(), replica.parameters(), strict=True):
        other.data = p.data
    return replica


def _loss_and_gradient(model: Any, loss: Loss) -> torch.Tensor:
    model.zero_grad(set_to_none=True)
    found = loss(model)
    found.backward()
    return found.detach()
