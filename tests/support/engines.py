"""Small engines and requests for the tests of `Engine`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from kintsugi.agents.models.core import Sampling
from kintsugi.agents.models.engine import Engine, Request
from tiny_models import network

EOS = 257
LLAMA = network("llama")


def make_engine(name: str = "llama", slots: int = 4, *, reuse: bool | None = None, **changes: Any) -> Engine:
    engine = Engine(network(name, **changes) if name != "llama" or changes else LLAMA, frozenset({EOS}), slots)
    if reuse is not None:
        engine.reuse = reuse
    return engine


def request_for(ids: Sequence[int], turn_ends: Sequence[int] = (), **sampling: Any) -> Request:
    return Request(list(ids), list(turn_ends), Sampling(**{"temperature": 0.0, "max_tokens": 6, **sampling}))


def random_ids(length: int, seed: int = 0) -> list[int]:
    rng = random.Random(f"{seed}/{length}")
    return [rng.randrange(256) for _ in range(length)]


def generated(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """Return the greedy completion that `transformers` generates."""
    ids = torch.tensor([list(prompt)])
    options = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": EOS, "pad_token_id": 258}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()


def check_logprobs(model: Any, request: Request) -> None:
    """Check the log-probabilities of a completion against one forward pass over the whole text."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([request.ids + request.out]), use_cache=False).logits[0]
    start = len(request.ids) - 1
    expected = torch.log_softmax(logits[start : start + len(request.out)].float(), -1)
    sampled = torch.tensor(request.out)[:, None]
    torch.testing.assert_close(torch.tensor(request.logprobs), expected.gather(-1, sampled)[:, 0], rtol=1e-4, atol=1e-4)
