"""Agents, language models, rollouts, search and experts."""

from .core import Agent, Episode, ModelAgent, RuleAgent
from .trajectory import AgentSpec, Step, Trajectory

__all__ = ["Agent", "AgentSpec", "Episode", "ModelAgent", "RuleAgent", "Step", "Trajectory"]
