"""Attention masks and logit scaling of different families of Hugging Face networks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch

KNOWN_ATTENTION = {"full_attention", "sliding_attention"}
"""Supported layer types. Others (linear, chunked) have a state beyond keys and values."""


def causal_masks(
    config: Any, positions: torch.Tensor, end: int, dtype: torch.dtype
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the `attention_mask` argument of a base model for rows of different lengths.

    Args:
        config: Text configuration of the model.
        positions: Positions of the new tokens, [rows, width].
        end: Number of keys.
        dtype: Data type of the masks.

    Returns:
        A mask [rows, 1, width, end], 0 where attended and -inf elsewhere, or masks by layer type if layers differ.

    Raises:
        NotImplementedError: If a layer type is not in `KNOWN_ATTENTION`.
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
    """Return float32 logits for last hidden states [..., width], scaled as in the model's own `forward`."""
    config = model.config.get_text_config()
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits.float()


def untie_adapted(network: Any) -> None:
    """Give the output layer weights of its own, if it shares those of the input embeddings and LoRA changes either.

    An adapter that is not merged changes one of the two alone. Merging it into shared weights would change both.

    Args:
        network: The network within a `PeftModel`.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [network.get_output_embeddings(), network.get_input_embeddings()]
    if not any(isinstance(layer, BaseTunerLayer) for layer in layers):
        return
    output, inputs = (
        cast(Any, layer).get_base_layer() if isinstance(layer, BaseTunerLayer) else layer for layer in layers
    )
    if output is not None and output.weight is inputs.weight:
        output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=False)
        network.config.get_text_config().tie_word_embeddings = network.config.tie_word_embeddings = False


@contextlib.contextmanager
def flush_denormals() -> Iterator[None]:
    """Flush denormal floats (below 1e-38) to 0 in this thread and those that it starts, but not in torch's workers.

    Attention weights of trained networks contain many denormals, with which some processors need twice the time.
    """
    already = not torch.full((1,), 1e-39).mul(1.0).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)
