"""Training of adapters: examples, objectives, learners, and the training data made from attempts and search trees."""

from __future__ import annotations

from ...agents.models.chat_format import DEFAULT_FORMAT
from ...agents.models.core import Backend
from ...agents.models.scripted import ScriptedBackend
from ...errors import UsageError
from .core import Learner
from .table import TableLearner


def open_learner(backend: Backend) -> Learner:
    """Return the learner that trains adapters for a backend's models.

    Args:
        backend: Backend whose models are to be trained.

    Returns:
        A `TableLearner` for scripted models, else a `LocalLearner` for the backend's weights.

    Raises:
        UsageError: The backend has no local weights.
    """
    if isinstance(backend, ScriptedBackend):
        return TableLearner()
    if backend.weights is None:
        raise UsageError(
            f"model {backend.base!r} has no weights on this machine and cannot be trained; pass a folder to --model"
        )
    from .learner import LocalLearner

    return LocalLearner(backend.weights, getattr(backend, "chat_format", DEFAULT_FORMAT))
