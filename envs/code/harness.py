"""The programs that run in a sandbox, assembled from the modules of `guest`."""

from __future__ import annotations

import base64
import functools
import importlib.util
import inspect
import json
import marshal
import zlib
from pathlib import Path
from typing import Any, Literal

from . import guest

Harness = Literal["check", "plain", "snippet", "solution", "tests"]
_SHARED = (
    "values",
    "containers",
    "mirror",
    "descriptions",
    "link",
    "load",
    "process_state",
    "coroutines",
    "subclasses",
    "peer",
)
_MODULES = {
    "check": ("load", "check"),
    "plain": ("load", "plain"),
    "snippet": ("load", "snippet"),
    "solution": (*_SHARED, "own_data", "solution"),
    "tests": (*_SHARED, "guard", "namespace", "tests_peer", "tests"),
}
PROGRAM = inspect.cleandoc(
    """
    import base64, importlib.util, json, marshal, sys, types, zlib
    magic, modules = json.loads(sys.stdin.buffer.readline())
    sys.modules["guest"] = types.ModuleType("guest")
    for name, source, code in modules:
        module = sys.modules["guest." + name] = types.ModuleType("guest." + name)
        module.__package__ = "guest"
        # Code of another version of Python cannot be used.
        same = magic == importlib.util.MAGIC_NUMBER.hex()
        packed = base64.b64decode(code if same else source)
        exec(marshal.loads(packed) if same else zlib.decompress(packed), module.__dict__)
    module.main()
    """
)
"""The program itself. Its input is a line with the modules of the harness, and then a request."""


def stdin(harness: Harness, request: Any) -> bytes:
    """Return the input of `PROGRAM` for a harness and its request, which is JSON data."""
    return _modules(harness) + json.dumps(request).encode()


@functools.cache
def _modules(harness: Harness) -> bytes:
    folder = Path(guest.__file__).parent
    modules = []
    for name in _MODULES[harness]:
        source = (folder / f"{name}.py").read_text(encoding="utf-8")
        code = marshal.dumps(compile(source, f"<{name}>", "exec", dont_inherit=True, optimize=2))
        packed = base64.b64encode(zlib.compress(source.encode(), 9)).decode()
        modules.append((name, packed, base64.b64encode(code).decode()))
    return json.dumps([importlib.util.MAGIC_NUMBER.hex(), modules]).encode() + b"\n"
