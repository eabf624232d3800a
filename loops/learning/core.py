"""What training takes and gives: examples, configuration, `Objective` and `Learner`. Nothing here loads a model."""

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
"""Gets the share that is done, in [0, 1]."""
DEFAULT_EPOCHS = 3.0
"""Where nobody says how often examples are learnt."""
E = TypeVar("E")
R = TypeVar("R", bound="Text")


@dataclass(frozen=True)
class LoraShape:
    """Which low-rank matrices are added."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str = "all-linear"
    """PEFT's name for the modules: `all-linear`, or a comma-separated list such as `q_proj,v_proj`."""


@dataclass(frozen=True)
class FitConfig:
    """How an adapter is trained (AdamW, linear warm-up, cosine decay to a tenth)."""

    lora: LoraShape = LoraShape()
    lr: float = 3e-3
    """Peak; 1e-4 to 3e-4 is usual for models of billions of parameters."""
    epochs: float | None = None
    """Times that each example is learnt; None is what the environment's seed family says, 3 without one."""
    warmup: float = 0.05
    """Share of the steps over which the rate rises."""
    batch_tokens: int = 2048
    """Tokens of a batch, padding included."""
    max_grad_norm: float = 1.0
    seed: int = 0

    @property
    def times(self) -> float:
        """`epochs`, or the usual number."""
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs


@dataclass(frozen=True)
class Example:
    """One chat to learn from."""

    messages: Sequence[Message]
    weight: float = 1.0
    """Multiplies the loss of all its tokens."""


@dataclass(frozen=True)
class Judgement:
    """A chat and what it is worth: what a value model learns from."""

    messages: Sequence[Message]
    label: float
    """In [0, 1]."""
    weight: float = 1.0


@dataclass(frozen=True)
class FitResult:
    """What training did."""

    examples: int
    too_long: int = 0
    """Examples left out, since even their first and last turns do not fit the model's window."""
    trained_tokens: int = 0
    """Tokens with a loss in one epoch."""
    steps: int = 0
    loss: float = 0.0
    """Mean of the last tenth of the steps; what it measures is the objective's, nats per token for `Sft`."""
    facts: dict[str, float] = field(default_factory=dict)
    """What the objective has to say beside it."""


@dataclass(frozen=True)
class Text:
    """One training text."""

    ids: list[int]
    weight: list[float]
    """Loss weight of each token; as long as `ids`."""


class Policy(Protocol):
    """The network that is trained, as an objective sees it."""

    @property
    def network(self) -> Any:
        """The Hugging Face network with its adapter."""
        ...

    @property
    def head(self) -> Any:
        """The objective's own module, None for most; trained and saved with the adapter."""
        ...

    @property
    def pad_id(self) -> int:
        """The token that pads texts to one length."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    def reference(self) -> Any:
        """A context in which `network` is the base: its adapter is switched off."""
        ...


class Objective(ABC, Generic[E, R]):
    """What an example becomes, and what its loss is."""

    @abstractmethod
    def rows(self, examples: Sequence[E], chat: ChatEncoder, window: int) -> list[R]:
        """Training rows, one for each example that fits `window` tokens; raises `UsageError` for bad examples."""

    @abstractmethod
    def loss(self, policy: Policy, batch: Sequence[R]) -> torch.Tensor:
        """The loss of some rows, a scalar with a gradient."""

    def head(self, network: Any, rows: Sequence[R]) -> Any:
        """A module to train and to save beside the adapter, such as a value head; None, here."""
        return None

    def facts(self, rows: Sequence[R]) -> dict[str, float]:
        """What is to be known of the rows beside the loss; nothing, here."""
        return {}


class Learner(Protocol):
    """Makes adapters of one base."""

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
        """Train an adapter and save it in the folder `out`; `name` goes into its manifest.

        It begins as zero, or as the adapter `start` of the same base, whose shape it then keeps. `objective` is `Sft`
        when None. Deterministic for equal arguments, thread count and machine. Raises `UsageError` for no examples, for
        one without anything to train on, and for a number that nothing can be trained with.
        """
        ...
