"""Language models and the backends that open them. Heavy libraries are imported only when they are needed."""

from .core import Backend, Completion, Critic, LanguageModel, Message, ModelBase, Sampling, Usage, derived_seed
from .registry import open_backend
from .scripted import Script, ScriptedBackend, ScriptedModel

__all__ = [
    "Backend",
    "Completion",
    "Critic",
    "LanguageModel",
    "Message",
    "ModelBase",
    "Sampling",
    "Script",
    "ScriptedBackend",
    "ScriptedModel",
    "Usage",
    "derived_seed",
    "open_backend",
]
