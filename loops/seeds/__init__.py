"""Seed policies: small models trained from scratch, one recipe an environment."""
