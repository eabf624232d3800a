"""The command-line interface `kintsugi`, one module per command."""

from .main import main

__all__ = ["main"]
