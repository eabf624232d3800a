"""Pretraining of a small causal language model from random weights, in minutes on a CPU.

Sample efficiency comes from Muon in float32 for the matrices, small batches, a small loss weight on context tokens,
and embeddings of instances such as ` mug 2` that start as the sum of a vector for the kind and one for the number.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...agents.models.networks import flush_denormals
from ..learning.batching import batches, groups_of, padded, weighted_loss
from ..learning.core import Row
from ..learning.data_parallel import Loss, data_parallel
from .config import Architecture, PretrainConfig
from .copying import init_previous_token_heads
from .tokenizer import instances_of


class Muon(torch.optim.Optimizer):
    """Momentum with matrix updates that Newton-Schulz iterations orthogonalise (Jordan et al., 2024), in float32.

    `torch.optim.Muon` iterates in bfloat16, which is about ten times slower on CPUs without native support.
    """

    def __init__(
        self, params: Sequence[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; matrices of equal shape are orthogonalised in one batch."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[torch.nn.Parameter, torch.Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(average, group["momentum"])
                by_shape.setdefault(tuple(p.shape), []).append((p, update))
            for (rows, columns), pairs in by_shape.items():
                scale = group["lr"] * math.sqrt(max(1.0, rows / columns))
                for (p, _), update in zip(pairs, orthogonalised(torch.stack([u for _, u in pairs])), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)


def orthogonalised(matrices: torch.Tensor, iterations: int = 4) -> torch.Tensor:
    """Return the matrices, of shape [n, rows, columns], with their singular values moved towards 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: torch.Tensor = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram: torch.Tensor = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


def build(tokenizer: Any, shape: Architecture, seed: int) -> Any:
    """Return a Llama with random weights for a tokenizer.

    The embedding of an instance such as ` mug 2` is initialised as that of its kind plus a random vector per number.

    Args:
        tokenizer: The tokenizer.
        shape: Shape of the network.
        seed: Seed of the weights.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.window,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            attention_bias=bool(shape.previous_token_heads),
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        table: Any = model.get_input_embeddings().weight
        instances = instances_of(tokenizer)
        numbers = torch.randn(1 + max((n for _, n in instances.values()), default=0), shape.hidden_size) * 0.02
        for token, (kind, number) in instances.items():
            table[token] = table[kind] + numbers[number]
    if shape.previous_token_heads:
        init_previous_token_heads(model, shape.previous_token_heads)
    return model


def pretrain(
    model: Any,
    texts: Sequence[Row],
    config: PretrainConfig,
    pad_id: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> float:
    """Train a model in place with Muon for the matrices and AdamW for the other parameters.

    Deterministic for equal arguments and an equal number of torch threads.

    Args:
        model: The model; it is left in evaluation mode.
        texts: Token ids with loss weights. They are repeated until `config.tokens` tokens are processed.
        config: Settings of the training.
        pad_id: Token id of padding.
        progress: Called after each step with the number of tokens processed so far.

    Returns:
        The mean loss of the last 50 steps.
    """
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimisers = [
        Muon(matrices, lr=config.matrix_lr),
        torch.optim.AdamW(others, lr=config.other_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    peaks = [config.matrix_lr, config.other_lr]
    rng = random.Random(config.seed)
    done, step = 0, 0
    recent: list[torch.Tensor] = []
    model.train()
    with flush_denormals(), data_parallel(model, config.threads) as backward:
        while done < config.tokens:
            for group in groups_of(batches(texts, config.batch_tokens, rng), config.threads, rng):
                left = max(0.0, 1 - done / config.tokens)
                factor = min(1.0, (step + 1) / config.warmup) * (0.05 + 0.95 * left)
                for optimiser, peak in zip(optimisers, peaks, strict=True):
                    for param_group in optimiser.param_groups:
                        param_group["lr"] = peak * factor
                loss = backward(_group_losses(group, pad_id))
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for optimiser in optimisers:
                    optimiser.step()
                done += sum(len(text.ids) for batch in group for text in batch)
                step += 1
                recent = [*recent[-49:], loss]
                progress(done)
                if done >= config.tokens:
                    break
    model.eval()
    return float(torch.stack(recent).mean())


def _group_losses(group: Sequence[Sequence[Row]], pad_id: int) -> list[Loss]:
    """Return one loss per batch; their sum is the weighted mean over all tokens of the group."""
    tensors = [padded(batch, pad_id) for batch in group]
    totals = [float(weights[:, 1:].sum()) for _, weights in tensors]

    def part(ids: torch.Tensor, weights: torch.Tensor, share: float) -> Loss:
        return lambda model: weighted_loss(model, ids, weights) * share

    return [part(*pair, total / sum(totals)) for pair, total in zip(tensors, totals, strict=True)]
