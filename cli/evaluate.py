"""`kintsugi eval`: measure an agent with any model and adapter on held-out tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..arguments import to_plain
from ..benchmarks.progress import bar
from ..loops.learning.sizes import sized
from ..loops.learning.table import TableLearner
from ..loops.measuring.evaluation import Score
from ..loops.measuring.measure import Measure, measure, timing_summary
from ..loops.measuring.tables import score_table, type_table
from ..loops.run import Run, resolved
from ..loops.runs.stages import Stage
from ..loops.runs.store import RunStore
from .episode_config import EpisodeConfig


@dataclass(frozen=True)
class EvalConfig(EpisodeConfig):
    """Settings of `kintsugi eval`."""

    adapter: Path | None = None
    """Folder of an adapter, e.g. `runs/improve/adapters/re_rest@1`."""
    name: str | None = None
    """Name of the score; by default the name of the adapter, of the agent (if not `react`) or of the model."""
    held_out: Annotated[Measure, tyro.conf.arg(name="")] = field(default_factory=Measure)
    """The held-out tasks and how they are attempted."""
    run: Path = Path("runs/eval")
    """Folder of the run; several models and agents can be measured in one run."""


def run(config: EvalConfig, console: Console) -> None:
    """Run `kintsugi eval`."""
    env = config.env_spec
    held_out = resolved(config.held_out, env)
    held_out.task_sets(env)
    env.make().close()
    with bar(console) as on_status:
        backend = config.backend(on_status)
        held_out = resolved(sized(config.held_out, getattr(backend, "parameters", None)), env)
        # Check the adapter before the run's folder is created.
        backend.model(config.adapter)
        name = config.name or (config.adapter.name if config.adapter else _name(config, backend.base))
        env_record = {key: value for key, value in config.record().items() if key.startswith("env") or key == "date"}
        with RunStore.open(config.run, {"command": "eval", **env_record, "held_out": to_plain(held_out)}) as store:
            store.keeps_pictures, store.on_status = config.pictures, on_status
            # `Run` requires a learner, but nothing is trained here.
            measure(Run(store, backend, TableLearner(), env, config.agent_spec), name, config.adapter, held_out)
            results = store.results()
    found = [Score.from_json(results[Stage.from_model_round("score", name, split)]) for split in held_out.splits]
    console.print(score_table(found))
    console.print(type_table(found))
    console.print(timing_summary(results), highlight=False)


def _name(config: EvalConfig, base: str) -> str:
    return base.partition(":")[0] if config.agent == "react" else config.agent.rpartition(":")[2]
