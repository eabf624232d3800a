"""Where web tasks come from: embedded sites, MiniWoB++, lists of tasks on the live web; one module each."""

from __future__ import annotations

from .core import Place, Standing, World, world_named, world_of

__all__ = ["Place", "Standing", "World", "world_named", "world_of"]
