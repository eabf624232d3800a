"""`kintsugi eval`: measure a model, with or without an adapter, on held-out tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..agents.models.local import model_version
from ..envs.registry import find
from ..loops.evaluation import Score
from ..loops.store import RunStore
from .measure import Measure, measure, where_time_went
from .progress import bar
from .seed import model_folder
from .tables import score_table, type_table


@dataclass(frozen=True)
class EvalConfig:
    """What is measured, on what."""

    model: str = "seed"
    """A Hugging Face model folder or name, or `seed` for the environment's seed policy."""
    adapter: Path | None = None
    """A PEFT adapter folder, e.g. `runs/improve/adapters/re_rest@1`."""
    name: str | None = None
    """What the score is called; the adapter's or the model's name when None."""
    on: Annotated[Measure, tyro.conf.arg(name="")] = field(default_factory=Measure)
    """Tasks and decoding."""
    run: Path = Path("runs/eval")
    """Where attempts and scores are kept; several models can be measured in one run."""
    pictures: bool = False
    """Whether what the environment shows is photographed at each step, for `kintsugi report`."""


def run(config: EvalConfig, console: Console) -> None:
    """The command `kintsugi eval`."""
    config.on.task_sets()
    base = model_folder(config.model if config.model != "seed" else f"seed:{find(config.on.env).name}", console)
    # What is wrong with the model is said before a run is begun that would be left empty.
    model_version(base, config.adapter)
    name = config.name or (config.adapter.name if config.adapter else Path(base).name)
    with RunStore.open(config.run, {"command": "eval", "on": asdict(config.on)}) as store:
        store.illustrated = config.pictures
        with bar(console) as store.watch:
            measure(store, name, base, config.adapter, config.on)
        results = store.results()
    scores = [Score.from_json(results[f"score/{name}/{split}"]) for split in config.on.splits]
    console.print(score_table(scores))
    console.print(type_table(scores))
    console.print(where_time_went(results), highlight=False)
