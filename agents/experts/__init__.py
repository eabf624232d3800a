"""Experts of the environments: they solve tasks from observations alone and give demonstrations."""

from .household import HouseholdExpert
from .household_memory import HouseholdMemory

__all__ = ["HouseholdExpert", "HouseholdMemory"]
