"""Sandboxes, in which untrusted programs run."""

from .choose import open_sandbox, shared_sandbox
from .core import Channel, Limits, Result, Sandbox, Unavailable

__all__ = ["Channel", "Limits", "Result", "Sandbox", "Unavailable", "open_sandbox", "shared_sandbox"]
