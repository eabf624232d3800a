"""ReST-MCTS*: self-training by process-reward guided tree search (Zhang et al., NeurIPS 2024, algorithm 1).

0. D_V0 <- trees of the first policy, searched by UCT, since there is no value model yet     search/first
   V_0  <- regression on their process rewards                                               value@0
for i in 1..T:
1. D_G  <- MCTS*(pi_{i-1}, V_{i-1}) on the tasks                                              search/policy@i
2. D_V  <- process rewards inferred from the finished trees;  V_i <- regression on all so far  value@i
3. D_pi <- traces that the environment passed, chosen by value                               collect/traces@i
   pi_i <- SFT of the base on D_pi, adopted if the gate admits it                            rest_mcts@i
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..agents.models.core import derived_seed
from ..agents.models.local import LocalModel
from ..agents.trajectory import Trajectory
from ..agents.tree import ROOT, SearchTree
from ..agents.value import LocalValue
from .gate import Gate
from .growing import SearchConfig
from .learner import FitConfig
from .mcts_star import MctsStar
from .practice import Practice
from .search import search
from .store import RunStore
from .uct import Uct
from .value import fit_value, judgements


@dataclass(frozen=True)
class ReSTMCTS:
    """Configuration of ReST-MCTS*."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=300, k=1))
    """`k` is how many trees are searched for each task, `at_once` how many are in flight."""
    first: Uct = field(default_factory=lambda: Uct(iterations=4))
    """How the trees that V_0 learns from are searched."""
    search: MctsStar = field(default_factory=lambda: MctsStar(iterations=24))
    """The released scripts have 50 iterations."""
    value: FitConfig = field(default_factory=lambda: FitConfig(epochs=3.0))
    """How value models are trained."""
    traces: int = 2
    """Of one task, at most so many are learnt from: those of the highest value."""
    min_value: float = 0.2
    """A trace is learnt from if its turns' mean value is at least so much."""
    rounds: int = 2
    """T; the paper has two."""
    gate: Gate = field(default_factory=Gate)


def rest_mcts(store: RunStore, base: Path, demonstrations: Sequence[Trajectory], config: ReSTMCTS) -> Path | None:
    """Run the loop in `store`; returns the last adopted policy, None when no round helped."""
    practice = config.practice
    # 0: A FIRST VALUE MODEL
    seen = grow(store, "search/first", base, None, None, config.first, practice)
    value = train_value(store, "value@0", base, seen, config)
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        # 1: SEARCH
        trees = grow(store, f"search/policy@{i}", base, adopted, value, config.search, practice)
        seen += trees

        # 2: LABEL, TRAIN THE VALUE MODEL
        value = train_value(store, f"value@{i}", base, seen, config)

        # 3: CHOOSE, TRAIN THE POLICY
        traces = [trace for part in by_task(trees) for trace in chosen(part, config)]
        stage = f"collect/traces@{i}"
        if traces and not store.trajectories(stage):
            store.add(stage, traces)
        examples = practice.mixture(traces, demonstrations)
        adapter = practice.train(store, f"rest_mcts@{i}", base, examples)
        store.stage(f"rest_mcts/round{i}", summary, trees, traces, len(examples))
        if config.gate.admits(store, practice, base, adopted, adapter):
            adopted = adapter
    return adopted


def grow(
    store: RunStore,
    stage: str,
    base: Path,
    policy: Path | None,
    value: Path | None,
    config: SearchConfig,
    practice: Practice,
) -> list[SearchTree]:
    """`k` trees for each task, searched or taken from the store."""
    model = LocalModel.load(base, policy, slots=2 * practice.together, exact=True)
    agent = practice.agent(model)
    jobs = [practice.job(task, agent, sample, stage) for task in practice.task_set() for sample in range(practice.k)]
    judge = LocalValue.load(base, value, agent.config) if value else None
    return search(practice.make_env, jobs, config, value=judge, store=store, stage=stage, at_once=practice.together)


def train_value(store: RunStore, name: str, base: Path, trees: Sequence[SearchTree], config: ReSTMCTS) -> Path:
    """The value model `name` of this run, trained on all instants of `trees`, now or before."""
    practice = config.practice
    fit = replace(config.value, seed=derived_seed(practice.seed, name) % (1 << 31))

    def make(out: Path) -> None:
        fit_value(base, judgements(trees), fit, out, name=name)

    return store.adapter(name, make)


def by_task(trees: Iterable[SearchTree]) -> list[list[SearchTree]]:
    """The trees of each task, in the order of the tasks' first trees."""
    found: dict[str, list[SearchTree]] = {}
    for tree in trees:
        found.setdefault(tree.task.id, []).append(tree)
    return list(found.values())


def chosen(trees: Sequence[SearchTree], config: ReSTMCTS) -> list[Trajectory]:
    """Of one task's trees, the passed traces to learn from, the best first and numbered anew.

    A trace is worth the mean value of its turns; of equal ones the shorter comes first. No two have the same actions.
    """
    ranked = sorted(
        (-trace_value(tree, end), tree.depth(end), tree.sample, end)
        for tree in trees
        for end in tree.ends()
        if tree.nodes[end].outcome == "success"
    )
    of = {tree.sample: tree for tree in trees}
    found: dict[tuple[str, ...], Trajectory] = {}
    for worth, _, sample, end in ranked:
        if -worth >= config.min_value:
            trace = of[sample].trajectory(end)
            found.setdefault(tuple(step.action for step in trace.steps), trace)
    return [replace(trace, sample=i) for i, trace in enumerate(list(found.values())[: config.traces])]


def trace_value(tree: SearchTree, end: int) -> float:
    """The mean of the search's values from the first turn to `end`."""
    path = [number for number in tree.path(end) if number != ROOT]
    return sum(tree.values[number] for number in path) / len(path)


def summary(trees: Sequence[SearchTree], traces: Sequence[Trajectory], examples: int) -> dict[str, Any]:
    """What a round found."""
    return {
        "trees": len(trees),
        "nodes": sum(map(len, trees)),
        "solved": sum(any(t.nodes[end].outcome == "success" for end in t.ends()) for t in trees),
        "infra_errors": sum(t.ended == "infra_error" for t in trees),
        "model_calls": sum(t.spent.model_calls for t in trees),
        "env_steps": sum(t.spent.env_steps for t in trees),
        "traces": len(traces),
        "examples": examples,
    }
