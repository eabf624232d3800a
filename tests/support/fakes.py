"""Fakes for tests of loops: scripted models, a learner that fills tables, and gates with fixed verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kintsugi.agents.models import Script, ScriptedBackend
from kintsugi.agents.trajectory import AgentSpec, Trajectory
from kintsugi.envs import EnvSpec
from kintsugi.loops.learning.table import TableLearner
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.run import Run
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore


def scripted_run(
    store: RunStore,
    env: str,
    script: Script | Sequence[str],
    adapters: Mapping[str, Script] | None = None,
    demonstrations: Sequence[Trajectory] = (),
    agent: AgentSpec | None = None,
) -> Run:
    """Return a run whose base model follows `script`. `adapters` gives scripts that replace adapters, by name."""
    backend = ScriptedBackend(script, "base", adapters)
    return Run(store, backend, TableLearner(), EnvSpec(env), agent or AgentSpec(), demonstrations=demonstrations)


def backend_of(run: Run) -> ScriptedBackend:
    """Return the backend of a run. `ScriptedBackend.opened` lists the models that were called."""
    return cast(ScriptedBackend, run.backend)


def learner_of(run: Run) -> TableLearner:
    """Return the learner of a run. `TableLearner.fitted` lists its training data."""
    return cast(TableLearner, run.learner)


@dataclass(frozen=True)
class ScriptedGate(Gate):
    """A gate with fixed verdicts, one for each round."""

    verdicts: Iterator[bool] = field(default_factory=lambda: iter(()))
    compared: list[tuple[str | None, str]] = field(default_factory=list)
    """Names of the old and the new adapter of each verdict; None is the base model."""

    def admits(self, run: Run, old: Path | None, new: Path, **_: Any) -> bool:
        self.compared.append((old.name if old else None, new.name))
        return next(self.verdicts)


def scripted_gate(*verdicts: bool) -> ScriptedGate:
    """Return a gate with these verdicts."""
    return ScriptedGate("on", verdicts=iter(verdicts))


def stages_of(store: RunStore) -> list[str]:
    """Return the names of the stages with attempts, oldest first."""
    return list(map(str, store.trajectory_stages()))


def results_of(store: RunStore, kind: str) -> dict[str, Any]:
    """Return the results of one kind in a store, by `<model>@<round>` or, without rounds, `<model>`."""
    return {stage.model_round: result for stage, result in store.results().items() if stage.kind == kind}


def attempts_at(store: RunStore, name: str) -> list[Trajectory]:
    """Return the attempts of the stage with this name."""
    return store.trajectories(Stage.parse(name))
