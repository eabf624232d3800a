"""`kintsugi improve`: run one loop on a model, and measure the model before and after on held-out tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ..agents.models.local import base_hash
from ..envs.registry import find
from ..loops.evaluation import Score, compare
from ..loops.practice import Practice
from ..loops.re_rest import ReReST
from ..loops.seeds.recipe import demonstrations_of
from ..loops.self_training import SelfTraining
from ..loops.store import RunStore
from .measure import Measure, measure
from .progress import bar
from .seed import model_folder
from .tables import comparison_table, score_table


@dataclass(frozen=True)
class _Improve:
    """What every loop's command has."""

    model: str = "seed"
    """A Hugging Face model folder, or `seed` for the environment's seed policy."""
    run: Path = Path("runs/improve")
    """The run's folder; the same command again continues it."""
    held_out: Measure = field(default_factory=Measure)
    """What the model is measured on before and after."""


@dataclass(frozen=True)
class ImproveSelfTraining(_Improve):
    """Self-training (ReST-EM)."""

    loop: SelfTraining = field(default_factory=SelfTraining)


@dataclass(frozen=True)
class ImproveReReST(_Improve):
    """Reflection-Reinforced Self-Training (Re-ReST)."""

    loop: ReReST = field(default_factory=ReReST)


def self_training(config: ImproveSelfTraining, console: Console) -> None:
    """The command `kintsugi improve self-training`."""
    from ..loops.self_training import self_training as loop

    _improve(
        "self-training",
        config,
        config.loop.practice,
        lambda store, base, shown: loop(store, base, shown, config.loop),
        console,
    )


def re_rest(config: ImproveReReST, console: Console) -> None:
    """The command `kintsugi improve re-rest`."""
    from ..loops.re_rest import re_rest as loop

    _improve(
        "re-rest",
        config,
        config.loop.practice,
        lambda store, base, shown: loop(store, base, shown, config.loop),
        console,
    )


def _improve(name: str, config: Any, practice: Practice, loop: Callable[..., Path | None], console: Console) -> None:
    # What is wrong with the tasks is said before a run is begun that could only be begun anew.
    practice.task_set()
    for split in config.held_out.splits:
        config.held_out.task_set(split)
    model = config.model if config.model != "seed" else f"seed:{find(practice.env).name}"
    base = Path(model_folder(model, console))
    settings = {
        "command": f"improve {name}",
        "model": f"{base.name}:{base_hash(base)}",
        "loop": asdict(config.loop),
        "held_out": asdict(config.held_out),
    }
    with RunStore.open(config.run, settings) as store:
        with bar(console) as store.watch:
            before = measure(store, "base", base, None, config.held_out)
            adapter = loop(store, base, demonstrations_of(base))
            after = measure(store, name, base, adapter, config.held_out) if adapter else {}
        if adapter is None:
            console.print("no round was adopted: the gate found none that helped")
            return
        results = store.results()
        scores = [Score.from_json(results[f"score/{who}/{split}"]) for split in before for who in ("base", name)]
        console.print(score_table(scores))
        found = [compare(before[split], after[split], names=("base", name)) for split in before]
        console.print(comparison_table(found))
        console.print(f"adapter: {adapter}", soft_wrap=True, highlight=False)
