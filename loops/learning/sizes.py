"""Defaults that depend on the size of the model.

The defaults of the environments' seed families suit their seed policies, which have about a million parameters. Larger
models need smaller learning rates (with 3e-3, one with 135 million parameters repeats its training texts after a few
steps) and fewer epochs, and fewer conversations at once fill a processor.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .core import FitConfig

C = TypeVar("C")


@dataclass(frozen=True)
class SizeDefaults:
    """Defaults for models of one size."""

    lr: float
    """Peak learning rate of LoRA."""
    epochs: float
    """Passes over the training examples."""
    batch_tokens: int
    """Maximum tokens per batch, padding included."""
    at_once: int
    """Episodes played in parallel."""


SIZES: tuple[tuple[int, SizeDefaults], ...] = (
    (10_000_000, SizeDefaults(5e-4, 2.0, 2048, 32)),
    (1_000_000_000, SizeDefaults(2e-4, 2.0, 4096, 32)),
)
"""Defaults by the number of parameters from which they apply. Smaller models have those of their seed family."""


def size_defaults(parameters: int | None) -> SizeDefaults | None:
    """Return the defaults of a model.

    Args:
        parameters: Number of its parameters; None if it is not known.

    Returns:
        None for small models, and for those of unknown size.
    """
    found = None
    for least, defaults in SIZES:
        if parameters is not None and parameters >= least:
            found = defaults
    return found


def sized(config: C, parameters: int | None) -> C:
    """Return a configuration with the defaults of a model's size in place of None, nested parts included.

    Args:
        config: A configuration of a loop, of training or of a measurement.
        parameters: Number of the model's parameters; None if it is not known.
    """
    defaults = size_defaults(parameters)
    if defaults is None or not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    values: dict[str, Any] = {
        part.name: sized(getattr(config, part.name), parameters) for part in dataclasses.fields(config)
    }
    names = ("lr", "epochs", "batch_tokens") if isinstance(config, FitConfig) else ("at_once",)
    values |= {name: getattr(defaults, name) for name in names if name in values and values[name] is None}
    complete: C = replace(config, **values)
    return complete


def training_text(fit: FitConfig) -> str:
    """Return the hyperparameters of a training in words."""
    length = f"{fit.steps} steps" if fit.steps is not None else f"{fit.epochs_or_default:g} epochs"
    return (
        f"learning rate {fit.lr_or_default:g}, {length}, batches of {fit.batch_tokens_or_default} tokens, "
        f"LoRA of rank {fit.lora.rank}"
    )
