"""ReST-MCTS*: self-training by process-reward guided tree search (arXiv 2406.03816, algorithm 1).

0. D_V  <- process rewards of UCT trees of the initial policy, without a value model  search/first
for i in 1..T:
1. V_{i-1} <- regression on all D_V so far                                            value@i-1
2. D_G  <- MCTS*(pi_{i-1}, V_{i-1}) on the practice tasks                             search/policy@i
   D_V  <- process rewards of the finished trees
3. D_pi <- passed traces of the highest value                                         collect/traces@i
   pi_i <- SFT of the base on D_pi, adopted if it passes the gate                     rest_mcts@i
4. V_T  <- regression on all D_V                                                      value@T

The last column names the stages and adapters. The paper trains V_i at the end of round i, which gives the same models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ..agents.core import Agent
from ..agents.search import MctsStar, PromptValue, SearchTree, Uct
from ..agents.search.search_env import PromptingAgent
from ..agents.search.strategy import SearchConfig
from ..agents.search.tree import ROOT, SearchUsage
from ..agents.trajectory import Trajectory
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.core import FitConfig
from .learning.training_data import TrainingData
from .learning.value import ValueRegression, value_examples
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run, job
from .runs.stages import Stage


@dataclass(frozen=True)
class ReSTMCTS(LoopConfig):
    """Self-training by value-guided tree search (ReST-MCTS*)."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=300))
    attempts: Attempts = field(default_factory=lambda: Attempts(k=1))
    """Here `k` is the number of trees per task, and `at_once` the number of trees searched in parallel."""
    data: TrainingData = field(default_factory=TrainingData)
    first_search: Uct = field(default_factory=lambda: Uct(iterations=4))
    """Search of the trees that the first value model (V_0) is trained on."""
    search: MctsStar = field(default_factory=lambda: MctsStar(iterations=24))
    """Search of each round; the authors' scripts use 50 iterations."""
    value: FitConfig = field(default_factory=lambda: FitConfig(epochs=3.0))
    """Training of the value models."""
    traces: int = 2
    """Maximum number of traces per task to train the policy on, highest values first."""
    min_value: float = 0.2
    """Minimum mean value of a trace to train the policy on."""
    rounds: int = 2
    """Number of rounds T; 2 in the paper."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """Also check the agent, which needs a prompt for the value model, and the rounds; see `LoopConfig.validate`."""
        super().validate(env, agent)
        require_prompt(agent)
        for name in ("rounds", "traces"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 0 <= self.min_value <= 1:
            raise UsageError(f"min_value is {self.min_value}; expected a value in [0, 1]; 0 keeps all passed traces")


def rest_mcts(run: Run, config: ReSTMCTS) -> Path | None:
    """Run the loop; return the last adopted adapter, or None if none was adopted."""
    trees = first_search(run, config)
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        adapter, searched = train_round(run, adopted, trees, config, i)
        trees += searched
        if config.passes_gate(run, adopted, adapter):
            adopted = adapter

    # 4: TRAIN THE LAST VALUE MODEL
    train_value(run, f"value@{config.rounds}", make_policy(run, None, config), trees, config)
    return adopted


def first_search(run: Run, config: ReSTMCTS) -> list[SearchTree]:
    """Run step 0; return the trees of the base model."""
    # 0: SEARCH WITHOUT A VALUE MODEL
    split, agent = config.practice.split, make_policy(run, None, config)
    stage = Stage("search", "first", split)
    trees = search_trees(run, stage, "search/first", agent, None, config.first_search, config)
    run.store.result(Stage("counts", "rest_mcts_first", split), search_counts, trees)
    return trees


def train_round(
    run: Run, start: Path | None, earlier: Sequence[SearchTree], config: ReSTMCTS, i: int
) -> tuple[Path, list[SearchTree]]:
    """Run one round, steps 1 to 3.

    Args:
        run: The run.
        start: Adapter of the policy to search with; None for the base model.
        earlier: Trees of all earlier searches, which the value model is trained on.
        config: Configuration.
        i: Round, from 1.

    Returns:
        The trained policy `rest_mcts@<i>`, and the trees of this round.

    Raises:
        UsageError: There is nothing to train on.
    """
    split, seed, agent = config.practice.split, config.seed, make_policy(run, start, config)
    # 1: TRAIN THE VALUE MODEL
    value = train_value(run, f"value@{i - 1}", agent, earlier, config)

    # 2: SEARCH
    stage = Stage("search", "policy", split, i)
    trees = search_trees(run, stage, f"search/policy@{i}", agent, value, config.search, config)

    # 3: CHOOSE TRACES, TRAIN THE POLICY
    traces = [trace for task_trees in group_by_task(trees) for trace in choose_traces(task_trees, config)]
    traces_stage = Stage("collect", "traces", split, i)
    if traces and not run.store.trajectories(traces_stage):
        run.store.add(traces_stage, traces)
    examples = config.data.mixture(agent, traces, run.demonstrations, seed)
    adapter = run.train(f"rest_mcts@{i}", examples, config.fit, seed=seed, rename=config.data.rename)
    counts = {**search_counts(trees), "traces": len(traces), "examples": len(examples)}
    run.store.result(Stage("counts", "rest_mcts", split, i), dict, counts)
    return adapter, trees


def make_policy(run: Run, adapter: Path | None, config: ReSTMCTS) -> PromptingAgent:
    """Return the policy with an adapter; None for the base model."""
    at_once = config.attempts.resolved(run.env).at_once or 1
    return require_prompt(run.make_agent(adapter, config.attempts, parallel=2 * at_once, batch_invariant=True))


def require_prompt(agent: Agent) -> PromptingAgent:
    """Return the agent if it has the method `prompt`, whose result the value model reads; else raise `UsageError`."""
    if not hasattr(agent, "prompt"):
        raise UsageError(
            f"agent {agent.name!r} has no method `prompt(episode)`, which the value model of ReST-MCTS* needs; "
            "pass --agent react"
        )
    return cast(PromptingAgent, agent)


def search_trees(
    run: Run,
    stage: Stage,
    stream: str,
    agent: PromptingAgent,
    value: Path | None,
    search: SearchConfig,
    config: ReSTMCTS,
) -> list[SearchTree]:
    """Search `k` trees per practice task, or take them from the store.

    Args:
        run: The run.
        stage: Stage that holds the trees.
        stream: Name of the random stream.
        agent: Policy.
        value: Adapter of the value model; None to search without one.
        search: Search algorithm and budget.
        config: Configuration.

    Returns:
        The finished trees, ordered by task, then sample.
    """
    tasks = config.practice.task_set(run.env, config.seed)
    jobs = [job(task, agent, sample, config.seed, stream) for task in tasks for sample in range(config.attempts.k)]
    value_model = PromptValue(run.backend.critic(value), agent) if value else None
    return run.search(stage, jobs, search, config.attempts.resolved(run.env).at_once or 1, value_model)


def train_value(run: Run, name: str, agent: PromptingAgent, trees: Sequence[SearchTree], config: ReSTMCTS) -> Path:
    """Train a value model on the process rewards of all trees, or take it from the store."""
    examples = value_examples(trees, agent)
    if not examples:
        raise UsageError(f"nothing to train {name!r} on: no tree reached an end; search longer or raise max_depth")
    return run.train(name, examples, config.value, seed=config.seed, objective=ValueRegression())


def group_by_task(trees: Iterable[SearchTree]) -> list[list[SearchTree]]:
    """Return the trees of each task, in the order of the tasks' first trees."""
    by_task: dict[str, list[SearchTree]] = {}
    for tree in trees:
        by_task.setdefault(tree.task.id, []).append(tree)
    return list(by_task.values())


def choose_traces(trees: Sequence[SearchTree], config: ReSTMCTS) -> list[Trajectory]:
    """Choose the traces of one task to train the policy on.

    Args:
        trees: Trees of the task.
        config: `traces` and `min_value` limit the choice.

    Returns:
        Passed traces with distinct actions, by descending value (shorter first if equal), as samples 0, 1, ...
    """
    ranked = sorted(
        (-trace_value(tree, end), tree.depth(end), tree.sample, end)
        for tree in trees
        for end in tree.ends()
        if tree.nodes[end].outcome == "success"
    )
    by_sample = {tree.sample: tree for tree in trees}
    distinct: dict[tuple[str, ...], Trajectory] = {}
    for negative_value, _, sample, end in ranked:
        if -negative_value >= config.min_value:
            trace = by_sample[sample].trajectory(end)
            distinct.setdefault(tuple(step.action for step in trace.steps), trace)
    return [replace(trace, sample=i) for i, trace in enumerate(list(distinct.values())[: config.traces])]


def trace_value(tree: SearchTree, end: int) -> float:
    """Return the mean of the search's values over the nodes from the first turn to `end`."""
    path = [number for number in tree.path(end) if number != ROOT]
    return sum(tree.values[number] for number in path) / len(path)


def search_counts(trees: Sequence[SearchTree]) -> dict[str, Any]:
    """Count the trees of one search, the tasks that they solved, and what they cost."""
    solved = {t.task.id for t in trees if any(t.nodes[end].outcome == "success" for end in t.ends())}
    return {
        "tasks": len({t.task.id for t in trees}),
        "solved": len(solved),
        "trees": len(trees),
        "nodes": sum(map(len, trees)),
        "infra_errors": sum(t.ended == "infra_error" for t in trees),
        **asdict(total_cost(trees)),
    }


def total_cost(trees: Iterable[SearchTree]) -> SearchUsage:
    """Return the summed cost of searches."""
    return sum((tree.usage for tree in trees), SearchUsage())


LOOP = Loop("rest-mcts", "value-guided search, train policy and value (ReST-MCTS*)", ReSTMCTS, rest_mcts)
