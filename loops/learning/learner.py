"""`LocalLearner`: LoRA adapters for a causal language model, saved in PEFT's layout; the base is never touched."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ...agents.models.chat import ChatEncoder
from ...agents.models.networks import denormals_flushed
from ...agents.models.value import HEAD
from ...agents.models.weights import MANIFEST, base_hash, load_base, model_version, quietly, window_of, with_adapter
from ...errors import UsageError
from .batching import SomeText, batches
from .core import FitConfig, FitResult, LoraShape, Objective, Progress
from .objectives import Sft


@dataclass(frozen=True)
class LocalPolicy:
    """A network with a LoRA on it; see `Policy`."""

    model: Any
    """PEFT's model."""
    head: Any
    pad_id: int

    @property
    def network(self) -> Any:
        """The network, its adapter at work."""
        return self.model.get_base_model()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        found: torch.device = self.model.device
        return found

    def reference(self) -> AbstractContextManager[None]:
        """Within, the network is the base alone."""
        found: AbstractContextManager[None] = self.model.disable_adapter()
        return found


class LocalLearner:
    """A `Learner` for the Hugging Face weights in a folder, on the GPU if there is one."""

    def __init__(self, weights: str | Path) -> None:
        self.weights = weights

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
        """See `Learner.fit`. Stock PEFT and vLLM can load what is saved.

        The base's hash goes into a manifest beside it, so that it is never loaded on another base.
        """
        if not examples:
            raise UsageError(
                f"nothing to train {name!r} on: no example was collected; sample more attempts or easier tasks"
            )
        config = replace(config, epochs=config.times)
        if config.times <= 0:
            raise UsageError(f"epochs is {config.epochs}; training takes more than 0")
        objective = objective or Sft()
        torch.manual_seed(config.seed)
        network, tokenizer = load_base(self.weights)
        rows = objective.rows(examples, ChatEncoder(tokenizer, str(self.weights)), window_of(network.config))
        policy = self._policy(network, config.lora, start, objective, rows, tokenizer.pad_token_id or 0)
        losses = optimise(policy, rows, objective, config, progress)
        tail = losses[-max(1, len(losses) // 10) :]
        result = FitResult(
            examples=len(rows),
            too_long=len(examples) - len(rows),
            trained_tokens=sum(sum(w > 0 for w in row.weight[1:]) for row in rows),
            steps=len(losses),
            loss=sum(tail) / len(tail),
            facts=objective.facts(rows),
        )
        manifest = {"name": name, "base_hash": base_hash(self.weights), "fit": asdict(config), "result": asdict(result)}
        _save(policy, out, manifest | ({"start": start.name} if start else {}))
        return result

    def _policy(
        self,
        network: Any,
        shape: LoraShape,
        start: Path | None,
        objective: Objective[Any, Any],
        rows: Sequence[Any],
        pad_id: int,
    ) -> LocalPolicy:
        if start is None:
            model = with_lora(network, shape, self.weights)
        else:
            # Refuses the adapter of another base.
            model_version(self.weights, start)
            model = with_adapter(network, start, trainable=True)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        head = objective.head(network, rows)
        return LocalPolicy(model, None if head is None else head.to(model.device), pad_id)


def _save(policy: LocalPolicy, out: Path, manifest: dict[str, Any]) -> None:
    try:
        policy.model.save_pretrained(str(out), save_embedding_layers=False)
        if policy.head is not None:
            weights = {name: value.detach().cpu().contiguous() for name, value in policy.head.state_dict().items()}
            save_file(weights, out / HEAD)
    except SafetensorError as error:
        # A full disk, which whoever keeps the folder knows how to say.
        raise OSError(str(error)) from error
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


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
    policy: LocalPolicy,
    rows: Sequence[SomeText],
    objective: Objective[Any, SomeText],
    config: FitConfig,
    progress: Progress,
) -> list[float]:
    """Train what has a gradient in the policy and its head; returns the loss of each step."""
    planned = plan(rows, config)
    trained = [p for p in parameters_of(policy) if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(len(planned), config.warmup))
    losses = []
    policy.model.train()
    with denormals_flushed():
        for step, batch in enumerate(planned):
            loss = objective.loss(policy, batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            progress((step + 1) / len(planned))
    policy.model.eval()
    return losses


def parameters_of(policy: LocalPolicy) -> Iterable[torch.nn.Parameter]:
    """The network's, then its head's."""
    yield from policy.model.parameters()
    if policy.head is not None:
        yield from policy.head.parameters()


def plan(rows: Sequence[SomeText], config: FitConfig) -> list[list[SomeText]]:
    """The batches of all epochs, a part of an epoch last."""
    rng = random.Random(config.seed)
    planned: list[list[SomeText]] = []
    whole, part = divmod(config.times, 1.0)
    for _ in range(int(whole)):
        planned += batches(rows, config.batch_tokens, rng)
    if part:
        last = list(batches(rows, config.batch_tokens, rng))
        planned += last[: math.ceil(part * len(last))]
    return planned


def _schedule(steps: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor
