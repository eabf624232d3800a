"""The command `kintsugi`."""

from .main import main

__all__ = ["main"]
