"""`LocalLearner`: trains LoRA adapters for a causal language model and saves them in PEFT's format."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ...agents.models.chat import ChatEncoder
from ...agents.models.chat_format import DEFAULT_FORMAT, ChatFormat
from ...agents.models.core import MANIFEST
from ...agents.models.folder_checks import check_outputs
from ...agents.models.networks import flush_denormals
from ...agents.models.value import HEAD
from ...agents.models.weights import (
    base_hash,
    load_base,
    model_version,
    quiet_transformers,
    window_of,
    with_adapter,
)
from ...errors import UsageError
from .batching import RowT, batches, groups_of
from .core import FitConfig, FitResult, LoraShape, Objective, Progress
from .data_parallel import Loss, data_parallel
from .objectives import Sft


@dataclass(frozen=True)
class LocalPolicy:
    """A network with a LoRA adapter; see `Policy`."""

    model: Any
    """The `PeftModel`."""
    head: Any
    pad_id: int

    @property
    def network(self) -> Any:
        """See `Policy.network`."""
        return self.model.get_base_model()

    @property
    def device(self) -> torch.device:
        """See `Policy.device`."""
        device: torch.device = self.model.device
        return device

    def reference(self) -> AbstractContextManager[None]:
        """See `Policy.reference`."""
        context: AbstractContextManager[None] = self.model.disable_adapter()
        return context


class LocalLearner:
    """A `Learner` for a folder of Hugging Face weights; trains on a GPU if there is one, never changing the base."""

    def __init__(self, weights: str | Path, chat_format: ChatFormat = DEFAULT_FORMAT) -> None:
        self.weights, self.chat_format = weights, chat_format

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
        """Train an adapter; see `Learner.fit`.

        PEFT and vLLM can load the saved adapter. Its manifest holds the hash of the base, so that the adapter is never
        loaded with another base.
        """
        if not examples:
            raise UsageError(
                f"nothing to train {name!r} on: no example was collected; sample more attempts or easier tasks"
            )
        config = replace(
            config,
            lr=config.lr_or_default,
            epochs=config.epochs_or_default,
            batch_tokens=config.batch_tokens_or_default,
        )
        if config.epochs_or_default <= 0:
            raise UsageError(f"epochs is {config.epochs}; expected more than 0")
        if config.steps is not None and config.steps < 1:
            raise UsageError(f"steps is {config.steps}; expected at least 1, or None to train for whole epochs")
        if config.threads < 1:
            raise UsageError(f"threads is {config.threads}; expected at least 1")
        if config.threads > 1 and config.lora.dropout:
            raise UsageError(
                f"threads is {config.threads} and dropout {config.lora.dropout}; expected one of them alone: threads "
                "would draw the dropout in an order that differs each time"
            )
        objective = objective or Sft()
        torch.manual_seed(config.seed)
        network, tokenizer = load_base(self.weights, self.chat_format)
        chat = ChatEncoder(tokenizer, str(self.weights), self.chat_format)
        rows = objective.rows(examples, chat, window_of(network.config))
        policy = self._policy(network, config.lora, start, objective, rows, tokenizer.pad_token_id or 0)
        losses = optimise(policy, rows, objective, config, progress)
        tail = losses[-max(1, len(losses) // 10) :]
        result = FitResult(
            examples=len(rows),
            too_long=len(examples) - len(rows),
            trained_tokens=sum(sum(w > 0 for w in row.weight[1:]) for row in rows),
            steps=len(losses),
            loss=sum(tail) / len(tail),
            metrics=objective.metrics(rows),
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
            # Raises UsageError for the adapter of another base.
            model_version(self.weights, start)
            model = with_adapter(network, start, trainable=True)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        check_outputs(model, str(start or self.weights))
        head = objective.head(network, rows)
        return LocalPolicy(model, None if head is None else head.to(model.device), pad_id)


def _save(policy: LocalPolicy, out: Path, manifest: dict[str, Any]) -> None:
    try:
        policy.model.save_pretrained(str(out), save_embedding_layers=False)
        if policy.head is not None:
            weights = {name: value.detach().cpu().contiguous() for name, value in policy.head.state_dict().items()}
            save_file(weights, out / HEAD)
        _sort_sets(policy.model, out / "adapter_config.json")
    except SafetensorError as error:
        # Safetensors reports a full disk with its own error class; the run store explains an OSError to the user.
        raise OSError(str(error)) from error
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def _sort_sets(model: Any, path: Path) -> None:
    """Sort what PEFT keeps in sets: it writes them in an order that differs between processes."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in vars(model.active_peft_config).items():
        if isinstance(value, set | frozenset):
            config[name] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def with_lora(network: Any, shape: LoraShape, base: str | Path) -> Any:
    """Return the network with a new LoRA adapter, on the GPU if there is one.

    Raises:
        UsageError: The network has no module that `shape.targets` names.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    lora = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=shape.targets if shape.targets == "all-linear" else shape.targets.split(","),
        task_type=TaskType.CAUSAL_LM,
    )
    with quiet_transformers():
        # PEFT warns of settings that it then corrects, such as those for the layers of GPT-2.
        warnings.filterwarnings("ignore", category=UserWarning, module="peft")
        try:
            return get_peft_model(network.to("cuda" if torch.cuda.is_available() else "cpu"), lora)
        except ValueError as error:
            raise UsageError(
                f"LoRA targets {shape.targets!r} do not fit {str(base)!r}: {error}; "
                "name modules of the network in `targets`"
            ) from error


def optimise(
    policy: LocalPolicy,
    rows: Sequence[RowT],
    objective: Objective[Any, RowT],
    config: FitConfig,
    progress: Progress,
) -> list[float]:
    """Train the parameters of the policy and its head that require gradients; return the loss of each step."""
    planned = plan_steps(rows, config)
    modules = torch.nn.ModuleList([policy.model, *([] if policy.head is None else [policy.head])])
    trained = [p for p in modules.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.lr_or_default, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _lr_factor(len(planned), config.warmup))

    def part(batch: Sequence[RowT], share: float) -> Loss:
        def loss(modules: Any) -> torch.Tensor:
            head = modules[1] if len(modules) > 1 else None
            return objective.loss(replace(policy, model=modules[0], head=head), batch) * share

        return loss

    losses = []
    policy.model.train()
    with flush_denormals(), data_parallel(modules, config.threads) as backward:
        for step, parts in enumerate(planned):
            loss = backward([part(batch, 1 / len(parts)) for batch in parts])
            torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
            optimiser.step()
            schedule.step()
            losses.append(float(loss))
            progress((step + 1) / len(planned))
    policy.model.eval()
    return losses


def plan_steps(rows: Sequence[RowT], config: FitConfig) -> list[list[list[RowT]]]:
    """Return the batches of each optimiser step, `config.threads` of similar size but for the last of an epoch.

    A fractional epoch comes last. `config.steps` sets the number of steps.
    """
    rng = random.Random(config.seed)
    planned: list[list[list[RowT]]] = []

    def epoch() -> list[list[list[RowT]]]:
        return groups_of(batches(rows, config.batch_tokens_or_default, rng), config.threads, rng)

    if config.steps is not None:
        while len(planned) < config.steps:
            planned += epoch()
        return planned[: config.steps]
    whole, part = divmod(config.epochs_or_default, 1.0)
    for _ in range(int(whole)):
        planned += epoch()
    if part:
        last = epoch()
        planned += last[: math.ceil(part * len(last))]
    return planned


def _lr_factor(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the factor on the learning rate by step: linear warm-up, then cosine decay to 0.1."""
    warmup_steps = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))

    return factor
