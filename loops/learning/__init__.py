"""Training: what examples are, which attempts become examples, and who makes adapters of them."""

from __future__ import annotations

from ...agents.models.core import Backend
from ...agents.models.scripted import ScriptedBackend
from ...errors import UsageError
from .core import Learner
from .table import TableLearner


def open_learner(backend: Backend) -> Learner:
    """Who trains adapters for a back end's models; raises `UsageError` where nothing can be trained."""
    if isinstance(backend, ScriptedBackend):
        return TableLearner()
    if backend.weights is None:
        raise UsageError(
            f"the model {backend.base!r} has no weights on this machine, so nothing can be trained; use a folder"
        )
    from .learner import LocalLearner

    return LocalLearner(backend.weights)
