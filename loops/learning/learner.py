"""`fit`: LoRA adapters for a causal language model, saved in PEFT's layout; the base is never touched.

An example is a chat; what was sampled is trained on token by token as it was sampled, by turn.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..agents.models.chat import ChatEncoder
from ..agents.models.core import Message
from ..agents.models.local import MANIFEST, base_hash, load_base, model_version, quietly, with_adapter
from ..agents.models.networks import denormals_flushed
from ..errors import TooLongError, UsageError
from .seeds.pretrain import SomeText, Text, batches, loss_of, padded


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
    """Times that each example is learnt; None is the practised environment's usual number, and 3 elsewhere."""
    warmup: float = 0.05
    """Share of the steps over which the rate rises."""
    batch_tokens: int = 2048
    """Tokens of a batch, padding included."""
    max_grad_norm: float = 1.0
    seed: int = 0

    @property
    def times(self) -> float:
        """`epochs`, or the usual number."""
        return 3.0 if self.epochs is None else self.epochs


@dataclass(frozen=True)
class Example:
    """One chat to learn from."""

    messages: Sequence[Message]
    weight: float = 1.0
    """Multiplies the loss of all its tokens."""


@dataclass(frozen=True)
class FitResult:
    """What training did."""

    examples: int
    too_long: int
    """Examples left out, since even their first and last turns do not fit the model's window."""
    trained_tokens: int
    """Tokens with a loss in one epoch."""
    steps: int
    loss: float
    """Mean of the last tenth of the steps, nats per token."""


def fit(
    base: str | Path,
    examples: Sequence[Example],
    config: FitConfig,
    out: Path,
    *,
    name: str,
    start: Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> FitResult:
    """Train a LoRA on `base` and save it in `out`, which stock PEFT and vLLM can load.

    It begins as zero, or as the adapter `start` of the same base, whose shape it then keeps.

    `name` and the base's hash go into a manifest beside it, so that it is never loaded on another base. Deterministic
    for equal arguments, thread count and machine. Raises `UsageError` for no examples and for one without any token to
    train on.
    """
    if not examples:
        raise UsageError(
            f"nothing to train {name!r} on: no example was collected; sample more attempts or easier tasks"
        )
    config = replace(config, epochs=config.times)
    if config.times <= 0:
        raise UsageError(f"epochs is {config.epochs}; training takes more than 0")
    torch.manual_seed(config.seed)
    network, tokenizer = load_base(base)
    texts = encoded(tokenizer, examples, int(network.config.get_text_config().max_position_embeddings))
    if start is not None:
        # Refuses the adapter of another base.
        model_version(base, start)
    model = with_adapter(network, start, trainable=True) if start else with_lora(network, config.lora, base)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    pad_id = tokenizer.pad_token_id or 0

    def loss(batch: Sequence[Text]) -> torch.Tensor:
        ids, weights = padded(batch, pad_id)
        return loss_of(model.get_base_model(), ids.to(model.device), weights.to(model.device))

    losses = optimise(model, model.parameters(), texts, loss, config, progress)
    model.save_pretrained(str(out), save_embedding_layers=False)
    trained = sum(sum(w > 0 for w in text.weight[1:]) for text in texts)
    tail = losses[-max(1, len(losses) // 10) :]
    result = FitResult(len(texts), len(examples) - len(texts), trained, len(losses), sum(tail) / len(tail))
    manifest = {"name": name, "base_hash": base_hash(base), "fit": asdict(config), "result": asdict(result)}
    manifest |= {"start": start.name} if start else {}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return result


def encoded(tokenizer: Any, examples: Sequence[Example], window: int) -> list[Text]:
    """Examples as tokens with weights. One longer than `window` loses its oldest turns, never half a turn.

    Those of which not even the first and the last turns fit are left out; raises `TooLongError` when no other is left.
    """
    chat = ChatEncoder(tokenizer)
    texts: list[Text] = []
    for number, example in enumerate(examples):
        try:
            text = chat.encode(chat.fitting(example.messages, window, generate=False), generate=False)
        except TooLongError:
            if number + 1 == len(examples) and not texts:
                raise
            continue
        weight = [example.weight if trained else 0.0 for trained in text.mask]
        if not any(w > 0 for w in weight[1:]):
            raise UsageError(
                f"example {number} has no token to train on (its mask sums to 0): mark at least one assistant turn as "
                "trainable and give the example a weight above 0"
            )
        texts.append(Text(text.ids, weight))
    return texts


def with_lora(network: Any, shape: LoraShape, base: str | Path) -> Any:
    """`network` with fresh adapters, on the GPU if there is one; raises `UsageError` when none fit it."""
    from peft import LoraConfig, TaskType, get_peft_model

    lora = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=shape.targets if shape.targets == "all-linear" else shape.targets.split(","),
        task_type=TaskType.CAUSAL_LM,
    )
    with quietly():
        try:
            return get_peft_model(network.to("cuda" if torch.cuda.is_available() else "cpu"), lora)
        except ValueError as error:
            raise UsageError(f"no LoRA fits {str(base)!r}: {error}; name its modules in `targets`") from error


def optimise(
    model: Any,
    parameters: Iterable[torch.nn.Parameter],
    texts: Sequence[SomeText],
    loss_of_batch: Callable[[Sequence[SomeText]], torch.Tensor],
    config: FitConfig,
    progress: Callable[[float], None],
) -> list[float]:
    """Train those of `parameters` that have a gradient; returns the loss of each step."""
    rng = random.Random(config.seed)
    planned: list[list[SomeText]] = []
    whole, part = divmod(config.times, 1.0)
    for _ in range(int(whole)):
        planned += batches(texts, config.batch_tokens, rng)
    if part:
        last = list(batches(texts, config.batch_tokens, rng))
        planned += last[: math.ceil(part * len(last))]
    trained = [p for p in parameters if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(len(planned), config.warmup))
    losses = []
    model.train()
    with denormals_flushed():
        for step, batch in enumerate(planned):
            loss = loss_of_batch(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            progress((step + 1) / len(planned))
    model.eval()
    return losses


def _schedule(steps: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor
