"""Language models behind one small protocol. Back ends with heavy libraries are imported by name: `.local`."""

from .core import Completion, LanguageModel, Message, Sampling
from .scripted import ScriptedModel

__all__ = ["Completion", "LanguageModel", "Message", "Sampling", "ScriptedModel"]
