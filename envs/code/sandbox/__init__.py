"""Sandboxes, in which untrusted programs run."""

from .choose import open_sandbox, shared_sandbox
from .core import Limits, Result, Sandbox, Unavailable

__all__ = ["Limits", "Result", "Sandbox", "Unavailable", "open_sandbox", "shared_sandbox"]
