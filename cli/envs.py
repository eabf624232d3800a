"""`kintsugi envs`: list the environments."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..envs.registry import entries


@dataclass(frozen=True)
class EnvsConfig:
    """Settings of `kintsugi envs`; there are none."""


def run(config: EnvsConfig, console: Console) -> None:
    """Run `kintsugi envs`: print short name, Gymnasium id and description of each environment."""
    table = Table.grid(padding=(0, 2))
    for entry in entries():
        table.add_row(Text(entry.name, style="yellow"), Text(entry.id), Text(entry.about))
    console.print(table)
