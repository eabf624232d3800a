"""Sandboxes: where programs run that nobody trusts."""

from .choose import open_sandbox, shared_sandbox
from .core import Limits, Result, Sandbox, Unavailable

__all__ = ["Limits", "Result", "Sandbox", "Unavailable", "open_sandbox", "shared_sandbox"]
