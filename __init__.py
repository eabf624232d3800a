"""Kintsugi: language-model agents that turn their own failures into training data.

Importing the package registers its environments with Gymnasium. Heavy libraries are imported only when they are used.
"""

from .envs.registry import register_all

__version__ = "0.1.0"

register_all()
