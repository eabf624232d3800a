"""Seed policies: small language models trained from scratch, with one recipe per environment."""
