"""Reproductions of papers, reports on runs, and speed measurements."""
