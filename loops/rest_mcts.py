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
from typing import Any, cast

from ..agents.core import Agent
from ..agents.search import MctsStar, PromptValue, SearchTree, Uct
from ..agents.search.search_env import Prompting
from ..agents.search.strategy import SearchConfig
from ..agents.search.tree import ROOT
from ..agents.trajectory import Trajectory
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.core import FitConfig
from .learning.training_data import TrainingData
from .learning.value import ValueRegression, judgements
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run, job
from .runs.stages import Stage


@dataclass(frozen=True)
class ReSTMCTS(LoopConfig):
    """Self-training by value-guided tree search (ReST-MCTS*)."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=300))
    attempts: Attempts = field(default_factory=lambda: Attempts(k=1))
    """`k` is how many trees are searched for each task, `at_once` how many are in flight."""
    data: TrainingData = field(default_factory=TrainingData)
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

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """See `LoopConfig.validate`."""
        super().validate(env, agent)
        prompting(agent)


def rest_mcts(run: Run, config: ReSTMCTS) -> Path | None:
    """Run the loop; returns the last adopted policy, None when no round helped."""
    split, seed = config.practice.split, config.seed
    # 0: A FIRST VALUE MODEL
    agent = acting(run, None, config)
    seen = grow(run, Stage("search", "first", split), "search/first", agent, None, config.first, config)
    value = train_value(run, "value@0", agent, seen, config)
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        # 1: SEARCH
        agent = acting(run, adopted, config)
        stage = Stage("search", "policy", split, i)
        trees = grow(run, stage, f"search/policy@{i}", agent, value, config.search, config)
        seen += trees

        # 2: LABEL, TRAIN THE VALUE MODEL
        value = train_value(run, f"value@{i}", agent, seen, config)

        # 3: CHOOSE, TRAIN THE POLICY
        traces = [trace for part in by_task(trees) for trace in chosen(part, config)]
        kept = Stage("collect", "traces", split, i)
        if traces and not run.store.trajectories(kept):
            run.store.add(kept, traces)
        examples = config.data.mixture(agent, traces, run.demonstrations, seed)
        adapter = run.train(f"rest_mcts@{i}", examples, config.fit, seed=seed, rename=config.data.rename)
        run.store.result(Stage("counts", "rest_mcts", split, i), summary, trees, traces, len(examples))
        if config.admits(run, adopted, adapter):
            adopted = adapter
    return adopted


def acting(run: Run, adapter: Path | None, config: ReSTMCTS) -> Prompting:
    """The policy."""
    together = config.attempts.resolved(run.env).at_once or 1
    return prompting(run.acting(adapter, config.attempts, parallel=2 * together, batch_invariant=True))


def prompting(agent: Agent) -> Prompting:
    """The agent as one that can say what it would be shown, which a value model is to read."""
    if not hasattr(agent, "prompt"):
        raise UsageError(
            f"the value model of ReST-MCTS* reads what the agent would be shown next, and {agent.name!r} has no method "
            "`prompt(episode)` that says it; use react"
        )
    return cast(Prompting, agent)


def grow(
    run: Run,
    stage: Stage,
    stream: str,
    agent: Prompting,
    value: Path | None,
    search: SearchConfig,
    config: ReSTMCTS,
) -> list[SearchTree]:
    """`k` trees for each task, searched or taken from the store."""
    tasks = config.practice.task_set(run.env, config.seed)
    jobs = [job(task, agent, sample, config.seed, stream) for task in tasks for sample in range(config.attempts.k)]
    judge = PromptValue(run.backend.critic(value), agent) if value else None
    return run.search(stage, jobs, search, config.attempts.resolved(run.env).at_once or 1, judge)


def train_value(run: Run, name: str, agent: Prompting, trees: Sequence[SearchTree], config: ReSTMCTS) -> Path:
    """The value model `name` of this run, trained on all instants of `trees`, now or before."""
    found = judgements(trees, agent)
    if not found:
        raise UsageError(f"nothing to train {name!r} on: no tree reached an end; search longer or raise max_depth")
    return run.train(name, found, config.value, seed=config.seed, objective=ValueRegression())


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
        "model_calls": sum(t.usage.model_calls for t in trees),
        "env_steps": sum(t.usage.env_steps for t in trees),
        "traces": len(traces),
        "examples": examples,
    }


LOOP = Loop("rest-mcts", "search trees by value, learn from both (ReST-MCTS*)", ReSTMCTS, rest_mcts)
