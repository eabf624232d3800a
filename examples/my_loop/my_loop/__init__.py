"""Example package with plugins for Kintsugi. `pyproject.toml` registers them as entry points."""
