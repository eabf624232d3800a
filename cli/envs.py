"""`kintsugi envs`: which environments there are."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..envs.registry import entries


@dataclass(frozen=True)
class EnvsConfig:
    """Nothing to choose yet."""


def run(config: EnvsConfig, console: Console) -> None:
    """The command `kintsugi envs`: short name, Gymnasium id and what it is."""
    table = Table.grid(padding=(0, 2))
    for entry in entries():
        table.add_row(Text(entry.name, style="yellow"), Text(entry.id), Text(entry.about))
    console.print(table)
