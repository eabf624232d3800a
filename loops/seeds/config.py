"""Architecture and pretraining settings of a seed policy."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True)
class Architecture:
    """Shape of the network, a Llama."""

    hidden_size: int = 128
    """Width of the hidden states."""
    layers: int = 3
    """Number of transformer layers."""
    heads: int = 4
    """Number of query heads per layer."""
    kv_heads: int = 1
    """Number of key-value heads per layer. One suffices at this size and halves the time of a rollout."""
    intermediate_size: int = 352
    """Width of the MLP in each layer."""
    window: int = 2048
    """Context length in tokens; longer training texts are truncated."""
    rope_theta: float = 10_000.0
    """Base of the rotary embedding; a larger one lets heads match tokens over longer distances."""
    previous_token_heads: int = 0
    """Number of heads of the first layer that are initialised to attend 1, 2, ... tokens back, which helps copying."""

    def __post_init__(self) -> None:
        if not 0 <= self.previous_token_heads <= self.heads:
            raise UsageError(
                f"previous_token_heads is {self.previous_token_heads}; expected 0 to {self.heads}, the number of heads"
            )


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of the pretraining."""

    tokens: int = 1_800_000
    """Number of training tokens, over all epochs."""
    batch_tokens: int = 2048
    """Maximum number of tokens of a batch, padding included; a longer text forms a batch alone."""
    threads: int = 1
    """Number of batches per step, each in its own thread."""
    matrix_lr: float = 0.02
    """Peak learning rate of Muon, for the matrices."""
    other_lr: float = 6e-3
    """Peak learning rate of AdamW, for embeddings, norms and biases."""
    warmup: int = 40
    """Number of steps of linear warmup; the learning rates then fall linearly to 1/20 of the peak."""
    context_weight: float = 0.3
    """Loss weight of context tokens, which the model never has to generate; other tokens have weight 1."""
    context_share: float = 1.0
    """Share of the context tokens, drawn at random, that enter the loss; their weight is divided by this share."""
    copying_tokens: int = 0
    """Number of tokens of random sequences for copying, trained on first and then mixed with the texts."""
    seed: int = 0
    """Seed of the batch order, of the drawn context tokens and of the random sequences."""

    def __post_init__(self) -> None:
        if not 0 < self.context_share <= 1:
            raise UsageError(f"context_share is {self.context_share}; expected a number above 0 and at most 1")
        for name in ("tokens", "batch_tokens", "threads"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"{name} is {value}; expected at least 1")
