"""Interfaces of training: examples, configuration, `Objective` and `Learner`. This module loads no model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...agents.models.core import Message

if TYPE_CHECKING:
    import torch

    from ...agents.models.chat import ChatEncoder

Progress = Callable[[float], None]
"""Callback that receives the completed share of the work, in [0, 1]."""
DEFAULT_EPOCHS = 3.0
"""Epochs where neither the configuration nor the environment's seed family sets a number."""
DEFAULT_LR, DEFAULT_BATCH_TOKENS = 3e-3, 2048
"""Learning rate and tokens per batch of small models."""
E = TypeVar("E")
R = TypeVar("R", bound="Row")


@dataclass(frozen=True)
class LoraShape:
    """Size and placement of LoRA matrices."""

    rank: int = 16
    """Rank of the LoRA matrices."""
    alpha: int = 32
    """LoRA scaling; updates are multiplied by alpha / rank."""
    dropout: float = 0.0
    """Dropout probability on the inputs of the LoRA matrices."""
    targets: str = "all-linear"
    """Modules to adapt: `all-linear`, or a comma-separated list such as `q_proj,v_proj`."""


@dataclass(frozen=True)
class FitConfig:
    """Hyperparameters of adapter training: AdamW, linear warm-up, cosine decay to a tenth of the peak rate."""

    lora: LoraShape = LoraShape()
    lr: float | None = None
    """Peak learning rate; None takes that of the model's size: see `sizes.SIZES`."""
    epochs: float | None = None
    """Passes over the examples, fractions allowed; None takes the number of the model's size, of the environment's seed
    family, or 3."""
    steps: int | None = None
    """Number of optimiser steps, for which the examples are passed over as often as it takes; None for `epochs`."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    batch_tokens: int | None = None
    """Maximum tokens per batch, padding included; None takes that of the model's size."""
    threads: int = 1
    """Batches per step, each in its own thread; a small network trains faster with one per core."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    seed: int = 0
    """Seed of initial weights, dropout and batch order; loops replace it with one derived from their own seed."""

    @property
    def epochs_or_default(self) -> float:
        """`epochs`, or `DEFAULT_EPOCHS` if it is None."""
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    @property
    def lr_or_default(self) -> float:
        """`lr`, or `DEFAULT_LR` if it is None."""
        return DEFAULT_LR if self.lr is None else self.lr

    @property
    def batch_tokens_or_default(self) -> int:
        """`batch_tokens`, or `DEFAULT_BATCH_TOKENS` if it is None."""
        return DEFAULT_BATCH_TOKENS if self.batch_tokens is None else self.batch_tokens


@dataclass(frozen=True)
class Example:
    """One chat to train on; the loss covers its trainable assistant turns."""

    messages: Sequence[Message]
    weight: float = 1.0
    """Factor on the loss of all its tokens."""


@dataclass(frozen=True)
class ValueExample:
    """One chat with the value that a value model should predict for it."""

    messages: Sequence[Message]
    label: float
    """Target value in [0, 1]."""
    weight: float = 1.0
    """Factor on its loss."""


@dataclass(frozen=True)
class FitResult:
    """Summary of one call of `Learner.fit`."""

    examples: int
    """Examples trained on."""
    too_long: int = 0
    """Examples left out because even their first and last turns exceed the model's window."""
    trained_tokens: int = 0
    """Tokens with a loss in one epoch."""
    steps: int = 0
    """Optimiser steps."""
    loss: float = 0.0
    """Mean loss of the last tenth of the steps, in the objective's unit (nats per token for `Sft`)."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Further numbers from `Objective.metrics`."""


@dataclass(frozen=True)
class Row:
    """One training row: a token sequence with a loss weight per token."""

    ids: list[int]
    """Token ids."""
    weight: list[float]
    """Loss weight of each token; same length as `ids`."""


class Policy(Protocol):
    """The network in training, as an objective sees it."""

    @property
    def network(self) -> Any:
        """The Hugging Face network with the adapter enabled."""
        ...

    @property
    def head(self) -> Any:
        """The module that `Objective.head` returned, None for most objectives."""
        ...

    @property
    def pad_id(self) -> int:
        """Id of the padding token."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        ...

    def reference(self) -> Any:
        """Return a context manager that disables the adapter, so that `network` is the base model inside."""
        ...


class Objective(ABC, Generic[E, R]):
    """Turns examples of type `E` into training rows of type `R` and computes their loss."""

    @abstractmethod
    def rows(self, examples: Sequence[E], chat: ChatEncoder, window: int) -> list[R]:
        """Encode examples as training rows.

        Args:
            examples: Examples to train on.
            chat: Encoder with the chat template and tokenizer of the base model.
            window: Maximum tokens per row.

        Returns:
            One row per example that fits the window, in the given order.

        Raises:
            UsageError: An example cannot be trained on.
        """

    @abstractmethod
    def loss(self, policy: Policy, batch: Sequence[R]) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            policy: The network in training.
            batch: Training rows of this objective.

        Returns:
            A scalar tensor with a gradient.
        """

    def head(self, network: Any, rows: Sequence[R]) -> Any:
        """Make a module that is trained and saved with the adapter, such as a value head.

        Args:
            network: The network with its adapter.
            rows: All training rows, for example to initialise a bias.

        Returns:
            A torch module, or None (the default) for an objective without one.
        """
        return None

    def metrics(self, rows: Sequence[R]) -> dict[str, float]:
        """Return statistics of the training rows for `FitResult.metrics`, by name; empty by default.

        Args:
            rows: All training rows.
        """
        return {}


class Learner(Protocol):
    """Trains adapters for one base model."""

    def fit(
        self,
        examples: Sequence[Any],
        out: Path,
        *,
        name: str,
        config: FitConfig,
        objective: Objective[Any, Any] | None = None,
        start: Path | None = None,
        progress: Progress = lambda share: None,
    ) -> FitResult:
        """Train an adapter and save it.

        The result is deterministic for equal arguments, thread count and machine.

        Args:
            examples: Examples of the objective, at least one.
            out: Existing empty folder that receives the adapter.
            name: Name of the adapter in its manifest.
            config: Hyperparameters.
            objective: Rows and loss; None for `Sft`.
            start: Adapter of the same base to continue from, whose LoRA shape is kept; None to start a new one.
            progress: Called with the completed share after each step.

        Returns:
            Counts, final loss and metrics.

        Raises:
            UsageError: There are no examples, an example has no token to train on, or a hyperparameter is invalid.
        """
        ...
