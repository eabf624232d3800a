"""Agent-R: the paper's comparison, with the check of splices that it lacks as one of the columns.

All baselines learn from the trees of the first round, which the base grew; Agent-R's second and third round grow their
own. So that the three rounds can be told from what Agent-R adds to good paths, its first round is compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType

from ...loops.agent_r import AgentR, round_of, rounds_table
from ...loops.measuring.measure import Measure
from ...loops.measuring.recovery import (
    TASKS,
    bad_beginnings,
    behaviour_table,
    behaviours,
    measure_recovery,
)
from ...loops.registry import LoopConfig
from ...loops.runs.stages import Stage
from .core import UNGATED, Attempts, Lab, Reproduction

BASELINES: dict[str, dict[str, Any]] = {
    "good-only": {"splice": False},
    "direct-revision": {"first_error": False},
    "unchecked": {"check": False},
}
"""What each changes in Agent-R's first round."""


@dataclass(frozen=True)
class ReproduceAgentR(Reproduction):
    """The comparison of Agent-R's rounds, the base, and baselines that each leave one part out, over several seeds."""

    loop: AgentR = field(default_factory=lambda: AgentR(gate=UNGATED))
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_unseen",), tasks=200))
    baselines: bool = True
    """Also: good paths alone, Direct-Revision, splices that nobody checked."""

    paper: ClassVar[str] = "agent-r"
    gated: ClassVar[bool] = True
    pairs: ClassVar[tuple[tuple[str, str], ...]] = (
        ("base", "agent-r 3"),
        ("good-only", "agent-r 3"),
        ("base", "good-only"),
        ("good-only", "agent-r 1"),
        ("direct-revision", "agent-r 1"),
        ("unchecked", "agent-r 1"),
        ("agent-r 1", "agent-r 3"),
    )

    @property
    def settings(self) -> LoopConfig:
        """Agent-R's."""
        return self.loop

    def one_seed(self, lab: Lab) -> None:
        """Everything with one seed policy."""
        run, loop = lab.run, replace(self.loop, seed=self.loop.seed + lab.seed)

        def evaluate(name: str, adapter: Path | None) -> None:
            lab.measure(name, adapter)
            recovered = measure_recovery(run, name, adapter, self.held_out, loop.recovery, begun)
            lab.attempts[name][TASKS] = recovered

        lab.say("bad beginnings")
        begun = bad_beginnings(run, self.held_out, loop.recovery)
        evaluate("base", None)
        lab.say("growing trees")
        for name, changes in BASELINES.items() if self.baselines else ():
            lab.say(f"training {name}")
            evaluate(name, round_of(run, None, replace(loop, **changes), 1, name))
        adopted: Path | None = None
        for i in range(1, loop.rounds + 1):
            lab.say(f"Agent-R, round {i}")
            adapter = round_of(run, adopted, loop, i)
            evaluate(f"agent-r {i}", adapter)
            if loop.admits(run, adopted, adapter):
                adopted = adapter

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Success from the start, and from the bad beginnings."""
        return {"Success, paired": self.held_out.splits, "Recovery, paired": (TASKS,)}

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """How the models went about it, and what the splices were."""
        said = self.loop.revisions
        return [
            behaviour_table(behaviours(attempts, self.held_out.splits, said), "From the start"),
            behaviour_table(behaviours(attempts, (TASKS,), said), "From bad beginnings"),
            rounds_table(results),
        ]
