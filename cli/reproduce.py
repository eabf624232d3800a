"""`kintsugi reproduce PAPER`: run a paper's comparison with its controls."""

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
    "trading-group": "kintsugi.benchmarks.reproduce.trading_group:ReproduceTradingGroup",
}
"""What each paper's comparison is called, and where it is: a dataclass with a method `run(folder, console)`."""


@dataclass(frozen=True)
class PaperCommand:
    """The command of one paper."""

    name: str

    @property
    def config(self) -> type[Any]:
        """The dataclass of its flags."""
        what = load(PAPERS[self.name], f"paper {self.name!r}")
        about = tyro.conf.arg(help="The run's folder; the same command again continues it.")
        return make_dataclass(
            "Reproduce",
            [
                ("what", Annotated[what, tyro.conf.arg(name="")], field(default_factory=what)),
                ("run", Annotated[Path, about], field(default=Path(f"runs/reproduce-{self.name}"))),
            ],
            frozen=True,
        )

    def default(self, arguments: Sequence[str]) -> Any:
        """The usual values."""
        return self.config()

    def __call__(self, config: Any, console: Console) -> None:
        """Run it."""
        config.what.run(config.run, console)


command = PaperCommand
