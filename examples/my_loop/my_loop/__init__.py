"""Parts of Kintsugi that another package brings; `pyproject.toml` names them as entry points."""
