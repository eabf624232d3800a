"""Minds: who acts, and what it thinks with."""
