"""The web: a real browser, and worlds to browse."""

from .env import WebConfig, WebEnv

__all__ = ["WebConfig", "WebEnv"]
