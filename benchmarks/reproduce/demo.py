"""The comparison of `kintsugi demo`: the base model, self-training and Re-ReST, with one seed policy."""

from __future__ import annotations

from ...loops.measuring.measure import Measure
from .re_rest import ReproduceReReST

DEMO = ReproduceReReST(
    held_out=Measure(params={"size": "small"}, splits=("valid_unseen",), tasks=200),
    models=("base", "self-training", "re-rest"),
    seeds=1,
)
"""Settings of the comparison."""
