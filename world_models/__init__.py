"""Imagination: models that predict what the world would answer."""
