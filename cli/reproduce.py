"""`kintsugi reproduce PAPER`: reproduce the comparison of a paper, with controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ..plugins import load

PAPERS = {
    "re-rest": "kintsugi.benchmarks.reproduce.re_rest:ReproduceReReST",
    "agent-r": "kintsugi.benchmarks.reproduce.agent_r:ReproduceAgentR",
    "rest-mcts": "kintsugi.benchmarks.reproduce.rest_mcts:ReproduceReSTMCTS",
    "trading-group": "kintsugi.benchmarks.reproduce.trading_group:ReproduceTradingGroup",
}
"""The comparison of each paper: a dataclass with a method `run(folder, console)`."""


@dataclass(frozen=True)
class PaperCommand:
    """The command `kintsugi reproduce` for one paper."""

    name: str

    @property
    def config(self) -> type[Any]:
        """The dataclass of the command's flags."""
        comparison = load(PAPERS[self.name], f"paper {self.name!r}")
        about = tyro.conf.arg(help="Folder of the run; repeat the command to resume it.")
        return make_dataclass(
            "Reproduce",
            [
                ("comparison", Annotated[comparison, tyro.conf.arg(name="")], field(default_factory=comparison)),
                ("run", Annotated[Path, about], field(default=Path(f"runs/reproduce-{self.name}"))),
            ],
            frozen=True,
        )

    def default(self, arguments: Sequence[str]) -> Any:
        """Return the default values of the flags."""
        return self.config()

    def __call__(self, config: Any, console: Console) -> None:
        """Run the comparison."""
        config.comparison.run(config.run, console)


command = PaperCommand
