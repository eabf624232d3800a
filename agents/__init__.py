"""Who acts, and what it thinks with: agents, language models, rollouts, search, experts."""

from .core import Agent, Episode, ModelAgent, RuleAgent
from .trajectory import AgentSpec, Step, Trajectory

__all__ = ["Agent", "AgentSpec", "Episode", "ModelAgent", "RuleAgent", "Step", "Trajectory"]
