"""What differs between families of Hugging Face networks: how attention is masked, and how logits are scaled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

KNOWN_ATTENTION = {"full_attention", "sliding_attention"}
"""Layer types whose masks are known; others (linear, chunked) keep more than keys and values."""


def causal_masks(
    config: Any, positions: torch.Tensor, end: int, dtype: torch.dtype
) -> torch.Tensor | dict[str, torch.Tensor]:
    """What a base model takes as `attention_mask` when rows have different lengths.

    `positions` [rows, width] are those of the tokens fed; `end` is how many keys there are. Masks are
    [rows, 1, width, end], 0 where attended and -inf elsewhere; a dictionary by layer type where layers differ. Raises
    `NotImplementedError` for layer types other than those of `KNOWN_ATTENTION`.
    """
    kinds, window = set(getattr(config, "layer_types", None) or ()), getattr(config, "sliding_window", None)
    if kinds - KNOWN_ATTENTION:
        raise NotImplementedError(f"layers of type {', '.join(sorted(kinds - KNOWN_ATTENTION))}")
    keys, queries = torch.arange(end, device=positions.device)[None, None, :], positions[:, :, None]

    def mask(hidden: torch.Tensor) -> torch.Tensor:
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)[:, None]

    full = mask(keys > queries)
    if window is None or kinds == {"full_attention"}:
        return full
    sliding = mask((keys > queries) | (keys <= queries - window))
    return {"full_attention": full, "sliding_attention": sliding} if "full_attention" in kinds else sliding


def head_logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits in float32 of last hidden states [..., width], as the model's own `forward` makes them."""
    config = model.config.get_text_config()
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits.float()


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within, this thread and those that it starts take floats below 1e-38 for 0; torch's own workers do not.

    A trained network's attention is full of them, and some processors take twice as long over a step with them.
    """
    already = not torch.full((1,), 1e-39).mul(1.0).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)
