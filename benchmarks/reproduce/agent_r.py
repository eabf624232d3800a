"""Reproduction of Agent-R's comparison (arXiv 2501.11425), with unverified splices as an additional baseline.

All baselines train on the trees of the first round, which the base model searched. Rounds two and three of Agent-R
search new trees. The first round is compared as well, to separate the effect of splices from that of more rounds.

Every round is measured, adopted or not. `agent-r gated` is what the gate made of them: the last adopted round, or the
base model. A round whose verdicts do not parse ends the rounds of its seed; these models are missing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType

from ...loops.agent_r import AgentR, RoundStopped, train_round
from ...loops.measuring.gate import adapter_name
from ...loops.measuring.measure import Measure
from ...loops.measuring.recovery import (
    RECOVERY_TASKS,
    bad_beginnings,
    behaviour_by_model,
    behaviour_table,
    measure_recovery,
)
from ...loops.measuring.splice_rounds import rounds_table, stop_lines
from ...loops.registry import LoopConfig
from ...loops.runs.stages import Stage
from .core import Attempts, Lab, Reproduction

BASELINES: dict[str, dict[str, Any]] = {
    "good-only": {"splice": False},
    "direct-revision": {"first_error": False},
    "unchecked": {"check": False},
}
"""Settings of Agent-R's first round that each baseline changes."""
GATED = "agent-r gated"
"""Name of the last adopted model."""


@dataclass(frozen=True)
class ReproduceAgentR(Reproduction):
    """Compare the base model, Agent-R's rounds, and baselines that each leave out one component, over several seeds."""

    loop: AgentR = field(default_factory=AgentR)
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_unseen",), tasks=200))
    baselines: bool = True
    """Also run the baselines: good paths only, Direct-Revision, unverified splices."""

    paper: ClassVar[str] = "agent-r"
    gated: ClassVar[bool] = True
    pairs: ClassVar[tuple[tuple[str, str], ...]] = (
        ("base", "agent-r 1"),
        ("base", "agent-r 2"),
        ("base", "agent-r 3"),
        ("base", GATED),
        ("good-only", "agent-r 3"),
        ("good-only", GATED),
        ("base", "good-only"),
        ("good-only", "agent-r 1"),
        ("direct-revision", "agent-r 1"),
        ("unchecked", "agent-r 1"),
        ("agent-r 1", "agent-r 3"),
    )

    @property
    def settings(self) -> LoopConfig:
        """The configuration of Agent-R."""
        return self.loop

    def one_seed(self, lab: Lab) -> None:
        """Run all models with one seed policy."""
        run, loop = lab.run, replace(self.loop, seed=self.loop.seed + lab.seed)

        def evaluate(name: str, adapter: Path | None) -> None:
            lab.measure(name, adapter)
            recovered = measure_recovery(run, name, adapter, self.held_out, loop.recovery, beginnings)
            lab.attempts[name][RECOVERY_TASKS] = recovered

        def train(names: Sequence[str], start: Path | None, settings: AgentR, i: int, adapter: str) -> Path | None:
            """Train and measure the first of `names`; if the round stops, leave out all of them."""
            try:
                trained = train_round(run, start, settings, i, adapter)
            except RoundStopped as stop:
                lab.leave_out(names, str(stop))
                return None
            evaluate(names[0], trained)
            return trained

        lab.say("bad beginnings")
        beginnings = bad_beginnings(run, self.held_out, loop.recovery)
        evaluate("base", None)
        lab.say("searching trees")
        for name, changes in BASELINES.items() if self.baselines else ():
            lab.say(f"training {name}")
            train([name], None, replace(loop, **changes), 1, name)
        adopted, adopted_name = None, "base"
        rounds = [f"agent-r {i}" for i in range(1, loop.rounds + 1)]
        for i, name in enumerate(rounds, 1):
            lab.say(f"Agent-R, round {i}")
            adapter = train(rounds[i - 1 :], adopted, loop, i, "agent_r")
            if adapter is None:
                break
            if loop.passes_gate(run, adopted, adapter):
                adopted, adopted_name = adapter, name
        if loop.gate.mode == "on":
            run.store.result(Stage("counts", "agent_r"), dict, {"adopted": adapter_name(adopted)})
            lab.name_again(GATED, adopted_name)

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Return the held-out splits (success) and the bad beginnings (recovery)."""
        return {"Success, paired": self.held_out.splits, "Recovery, paired": (RECOVERY_TASKS,)}

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """Return tables of the models' behaviour and of the splices."""
        revisions = self.loop.revisions
        return [
            behaviour_table(behaviour_by_model(attempts, self.held_out.splits, revisions), "From the start"),
            behaviour_table(behaviour_by_model(attempts, (RECOVERY_TASKS,), revisions), "From bad beginnings"),
            rounds_table(results),
            *stop_lines(results),
        ]
