"""Tree search over any `AgentEnv`: many trees at once, whose model calls are batched together.

    search(make_env, jobs, config, *, value=None, store=None, stage="", at_once=32, retries=2, tally=None)
        -> list[SearchTree]                     one tree per `Job` (task, agent, seed, sample), in their order
    finished(store, stage) -> Iterator[SearchTree]
                                                the stored trees that a search has finished, one at a time

`config` is one of two small policies of one search: `Uct` (Agent-R) or `MctsStar` (ReST-MCTS*, which needs `value`).
The tree is a function of task, agent, seed and `config`: not of `at_once`, nor of where it was interrupted.

In a `RunStore`, a tree is the parts of its growth (`RunStore.growth`), written as they come:

part 0      {"begin": {"task", "model", "seed", "sample", "goal", "config", "root": node}}
part k      {"expand": number, "children": [node, ...], "spent": {...}}
            or {"roll": number, "best": V, "spent": {...}}
last        {"end": {"ended", "error", "visits": [...], "values": [...]}}

Statistics are not in the parts before the last: resuming runs the search again and answers from the parts what it asks
the model and the environment, so that any beginning of the parts leads to the same tree.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchConfig:
    """What both searches have."""

    candidates: int = 4
    """Turns drawn at a node when it is expanded; those with the same action become one child."""
    iterations: int = 8
    """Descents from the root."""
    max_depth: int | None = 20
    """Turns after which an episode counts as truncated; None leaves that to the environment."""
    parallel: int = 1
    """Descents in flight in one tree, kept apart by virtual loss. Part of the result."""
    model_calls: int | None = None
    """Budget of one tree; never exceeded. None is no limit."""
    env_steps: int | None = None
    """Budget of one tree in actions played for the first time; never exceeded. None is no limit."""
    end_gate: float | None = None
    """The search ends at the first end that is worth so much, None: it goes on (the papers' collection)."""
