"""The programs that run a solution in a sandbox, assembled from the modules of `guest`."""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path
from typing import Literal

from . import guest

Harness = Literal["calls", "asserts", "snippet"]
_MODULES = {
    "calls": ("values", "calls"),
    "asserts": ("values", "calls", "asserts"),
    "snippet": ("values", "calls", "snippet"),
}
_PROGRAM = """
import json, sys, types
sys.modules["guest"] = types.ModuleType("guest")
for name, source in json.loads({sources!r}):
    module = sys.modules["guest." + name] = types.ModuleType("guest." + name)
    module.__package__ = "guest"
    exec(compile(source, "<" + name + ">", "exec"), module.__dict__)
module.main()
"""


@functools.cache
def program(harness: Harness) -> str:
    """Return the source of a harness. It reads its request from stdin."""
    folder = Path(guest.__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES[harness]]
    return inspect.cleandoc(_PROGRAM).format(sources=json.dumps(sources))
