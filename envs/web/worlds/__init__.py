"""Sources of web tasks, one module each: embedded sites, MiniWoB++, and files of tasks on the live web."""

from __future__ import annotations

from .core import Scenario, Status, World, world_named, world_of

__all__ = ["Scenario", "Status", "World", "world_named", "world_of"]
