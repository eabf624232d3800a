"""`kintsugi eval`: measure an agent, over any model and adapter, on held-out tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..arguments import plain
from ..benchmarks.progress import bar
from ..loops.learning.table import TableLearner
from ..loops.measuring.evaluation import Score
from ..loops.measuring.measure import Measure, measure, where_time_went
from ..loops.measuring.tables import score_table, type_table
from ..loops.run import Run, resolved
from ..loops.runs.stages import Stage
from ..loops.runs.store import RunStore
from .opening import Playing


@dataclass(frozen=True)
class EvalConfig(Playing):
    """What is measured, on what."""

    adapter: Path | None = None
    """An adapter folder, e.g. `runs/improve/adapters/re_rest@1`."""
    name: str | None = None
    """What the score is called; None is the adapter's name, the agent's if it is not `react`, or the model's."""
    on: Annotated[Measure, tyro.conf.arg(name="")] = field(default_factory=Measure)
    """Tasks and decoding."""
    run: Path = Path("runs/eval")
    """Where attempts and scores are kept; several models and agents can be measured in one run."""


def run(config: EvalConfig, console: Console) -> None:
    """The command `kintsugi eval`."""
    env = config.env_spec
    on = resolved(config.on, env)
    on.task_sets(env)
    env.make().close()
    with bar(console) as watch:
        backend = config.backend(watch)
        # What is wrong with the adapter is said before a run is begun that would be left empty.
        backend.model(config.adapter)
        name = config.name or (config.adapter.name if config.adapter else _name(config, backend.base))
        world = {key: value for key, value in config.record().items() if key.startswith("env")}
        with RunStore.open(config.run, {"command": "eval", **world, "on": plain(on)}) as store:
            store.illustrated, store.watch = config.pictures, watch
            # Nothing is trained here.
            measure(Run(store, backend, TableLearner(), env, config.agent_spec), name, config.adapter, on)
            results = store.results()
    found = [Score.from_json(results[Stage.named("score", name, split)]) for split in on.splits]
    console.print(score_table(found))
    console.print(type_table(found))
    console.print(where_time_went(results), highlight=False)


def _name(config: EvalConfig, base: str) -> str:
    return base.partition(":")[0] if config.agent == "react" else config.agent.rpartition(":")[2]
