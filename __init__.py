"""Kintsugi: language-model agents that mend their own failures into training data.

Importing the package registers its environments with Gymnasium; the heavy libraries are imported where they are used.
"""

from .envs.registry import register_all

__version__ = "0.1.0"

register_all()
