"""Language models behind one small protocol; `open_backend` imports heavy libraries when they are needed."""

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
