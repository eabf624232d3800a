"""`kintsugi reproduce agent-r`: the paper's comparison, with the check of splices that it lacks as one of the columns.

All baselines learn from the trees of the first round, which the base grew; Agent-R's second and third round grow their
own. So that the three rounds can be told from what Agent-R adds to good paths, its first round is compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from rich.console import Console, RenderableType

from ..loops.agent_r import AgentR, round_of
from .measure import Measure
from .recovery import TASKS, Recovery, bad_beginnings, behaviour_table, behaviours, measure_recovery, rounds_table
from .reproduce import Attempts, Lab, Reproduction, run_in

BASELINES: dict[str, dict[str, Any]] = {
    "good-only": {"splice": False},
    "direct-revision": {"first_error": False},
    "unchecked": {"check": False},
}
"""What each changes in Agent-R's first round."""


@dataclass(frozen=True)
class ReproduceAgentR(Reproduction):
    """The comparison of Agent-R's rounds, the base, and baselines that each leave one part out, over several seeds."""

    loop: AgentR = field(default_factory=AgentR)
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_unseen",), tasks=200))
    recovery: Recovery = field(default_factory=Recovery)
    baselines: bool = True
    """Also: good paths alone, Direct-Revision, splices that nobody checked."""

    paper: ClassVar[str] = "agent-r"
    pairs: ClassVar[tuple[tuple[str, str], ...]] = (
        ("base", "agent-r 3"),
        ("good-only", "agent-r 3"),
        ("base", "good-only"),
        ("good-only", "agent-r 1"),
        ("direct-revision", "agent-r 1"),
        ("unchecked", "agent-r 1"),
        ("agent-r 1", "agent-r 3"),
    )

    def check(self) -> None:
        """There have to be tasks to practise on."""
        self.loop.practice.task_set()

    def one_seed(self, lab: Lab) -> None:
        """Everything with one seed policy."""
        loop = replace(self.loop, practice=replace(self.loop.practice, seed=self.loop.practice.seed + lab.seed))
        store, base, shown = lab.store, lab.base, lab.demonstrations

        def evaluate(name: str, adapter: Path | None) -> None:
            lab.measure(name, adapter)
            lab.attempts[name][TASKS] = measure_recovery(
                store, name, base, adapter, self.held_out, self.recovery, begun
            )

        lab.say("bad beginnings")
        begun = bad_beginnings(store, base, self.held_out, self.recovery)
        evaluate("base", None)
        lab.say("growing trees")
        for name, changes in BASELINES.items() if self.baselines else ():
            lab.say(f"training {name}")
            evaluate(name, round_of(store, base, None, shown, replace(loop, **changes), 1, name))
        start: Path | None = None
        for i in range(1, loop.rounds + 1):
            lab.say(f"Agent-R, round {i}")
            start = round_of(store, base, start, shown, loop, i)
            evaluate(f"agent-r {i}", start)

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Success from the start, and from the bad beginnings."""
        return {"Success, paired": self.held_out.splits, "Recovery, paired": (TASKS,)}

    def findings(self, attempts: Attempts, results: Mapping[str, Any]) -> list[RenderableType]:
        """How the models went about it, and what the splices were."""
        said = self.loop.revisions
        return [
            behaviour_table(behaviours(attempts, self.held_out.splits, said), "From the start"),
            behaviour_table(behaviours(attempts, (TASKS,), said), "From bad beginnings"),
            rounds_table(results),
        ]


@dataclass(frozen=True)
class ReproduceConfig:
    """`kintsugi reproduce agent-r`."""

    what: Annotated[ReproduceAgentR, tyro.conf.arg(name="")] = field(default_factory=ReproduceAgentR)
    run: Path = Path("runs/reproduce-agent-r")
    """The run's folder; the same command again continues it."""


def run(config: ReproduceConfig, console: Console) -> None:
    """The command `kintsugi reproduce agent-r`."""
    run_in(config.run, config.what, console)
