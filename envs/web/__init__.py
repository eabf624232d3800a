"""Web environment: a real browser and the worlds to browse in it."""

from .env import WebConfig, WebEnv

__all__ = ["WebConfig", "WebEnv"]
