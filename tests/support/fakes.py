"""What stands behind the seams in tests of loops: scripted models, a learner by table, verdicts that are given."""

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
    """A run whose base says what `script` says; `adapters` replaces what adapters of these names have learnt."""
    backend = ScriptedBackend(script, "base", adapters)
    return Run(store, backend, TableLearner(), EnvSpec(env), agent or AgentSpec(), demonstrations=demonstrations)


def backend_of(run: Run) -> ScriptedBackend:
    """What its models are opened by; `opened` says which of them were asked something."""
    return cast(ScriptedBackend, run.backend)


def learner_of(run: Run) -> TableLearner:
    """Who trained; `fitted` says on what."""
    return cast(TableLearner, run.learner)


@dataclass(frozen=True)
class Given(Gate):
    """A gate whose verdicts are given, one a round."""

    verdicts: Iterator[bool] = field(default_factory=lambda: iter(()))
    asked: list[tuple[str | None, str]] = field(default_factory=list)
    """Which adapters were compared, by name."""

    def admits(self, run: Run, old: Path | None, new: Path, **_: Any) -> bool:
        self.asked.append((old.name if old else None, new.name))
        return next(self.verdicts)


def given(*verdicts: bool) -> Given:
    """A gate with these verdicts."""
    return Given("on", verdicts=iter(verdicts))


def stages_of(store: RunStore) -> list[str]:
    """Names of the stages that hold trajectories."""
    return list(map(str, store.trajectory_stages()))


def results_of(store: RunStore, kind: str) -> dict[str, Any]:
    """A run's results of one kind, by model and round."""
    return {stage.who: result for stage, result in store.results().items() if stage.kind == kind}


def attempts_at(store: RunStore, name: str) -> list[Trajectory]:
    """The trajectories of the stage of this name."""
    return store.trajectories(Stage.parse(name))
