"""What a seed policy is made with: the shape of its network, and how that is trained."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True)
class Architecture:
    """Shape of the Llama-architecture network."""

    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 1
    """One is enough at this size and halves the time of a rollout."""
    intermediate_size: int = 352
    window: int = 2048
    """Longest text in tokens."""
    rope_theta: float = 10_000.0
    """Base of the rotary embedding; with a larger one, what is alike is seen to be so from further away."""
    previous_token_heads: int = 0
    """Heads of the first layer that begin by looking one, two, ... tokens back; see the module `copying`."""

    def __post_init__(self) -> None:
        if not 0 <= self.previous_token_heads <= self.heads:
            raise UsageError(f"looking_back is {self.previous_token_heads}; the first layer has {self.heads} heads")


@dataclass(frozen=True)
class PretrainConfig:
    """How the network is trained."""

    tokens: int = 1_800_000
    """Training stops after so many, repeated ones included."""
    batch_tokens: int = 2048
    """Tokens of a batch, padding included; a text that is longer is a batch of its own."""
    threads: int = 1
    """Batches of a step, each in a thread of its own; see the module `data_parallel`."""
    matrix_lr: float = 0.02
    """Muon's, for the matrices."""
    other_lr: float = 6e-3
    """AdamW's, for embeddings, norms and biases."""
    warmup: int = 40
    """Steps over which both rise from 0; they then fall linearly to a twentieth."""
    context_weight: float = 0.3
    """Loss on tokens that the model will never have to write, against 1 on those that it will."""
    context_share: float = 1.0
    """Share of those tokens, drawn at random, that are learnt from, each with so much more weight; fewer are faster."""
    copying: int = 0
    """Tokens of random sequences, trained on before the texts and then among them; see the module `copying`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.context_share <= 1:
            raise UsageError(f"context_share is {self.context_share}; it is above 0 and at most 1")
        if self.threads < 1:
            raise UsageError(f"threads is {self.threads}; a step takes at least one batch")
