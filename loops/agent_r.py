"""Agent-R: train an agent to correct its errors as soon as it can recognise them (arXiv 2501.11425, sections 3.2-3.4).

for i = 1, 2, 3 with alpha_i = 0.5, 0.7, 1.0:
1. search a tree for each task with the current model                               search/<model>@<i>
2. pair good and bad ends of a tree: r(good) >= alpha_i and r(good) - r(bad) > beta
3. t' = first step of the bad path after the fork that the model itself judges Bad
4. splice: bad steps up to t', revision thought, good steps after the fork          splice/<name>@<i>
   (beyond the paper: play the splice; if an observation differs from the recorded one, search for a new ending
   from t')                                                                         search/<model>@<i>/again
5. SFT from the last adopted weights on good paths, splices (bad steps masked) and a share eta of demonstrations

The last column names the stages.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..agents.core import Agent
from ..agents.models.core import derived_seed
from ..agents.resuming import ResumingAgent
from ..agents.rollout import run_in_waves, run_sync
from ..agents.search import SearchTree, Uct
from ..agents.trajectory import Trajectory
from ..agents.verifier import REVISION_THOUGHT, VerifierConfig
from ..envs.core import AgentEnv
from ..envs.registry import EnvSpec
from ..errors import InfraError, UsageError
from .learning.core import Example
from .learning.splice import Cut, build_splice, first_divergence, first_error, join_steps, pair_ends, whole_bad_path
from .learning.training_data import TrainingData
from .measuring.measure import Measure, MeasuredAttempts
from .measuring.recovery import (
    RECOVERY_TASKS,
    Recovery,
    bad_beginnings,
    behaviour_by_model,
    behaviour_table,
    measure_recovery,
)
from .measuring.tables import percent, plain_table
from .registry import Loop, LoopConfig, Test
from .run import Practice, Run, job
from .runs.stages import Stage, node_key

SpliceStatus = Literal["verified", "searched", "counterfactual", "unchecked", "infra_error"]
"""Result of playing a splice. `verified`: all observations match. `searched`: they differ, and a search from the bad
steps found a new ending. `counterfactual`: they differ, and there is no new ending. `unchecked`: it was not played.
`infra_error`: an infrastructure failure ended the attempt to play it."""


@dataclass(frozen=True)
class AgentR(LoopConfig):
    """Agent-R: correct errors as soon as they can be recognised."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=120))
    data: TrainingData = field(default_factory=lambda: TrainingData(replay=0.25))
    """Training data; `replay` is eta / (1 - eta) for the paper's eta of 0.2."""
    search: Uct = field(default_factory=lambda: Uct(candidates=3, iterations=6, max_depth=20))
    """Tree search; the paper uses 4 candidates and 8 iterations."""
    alpha: tuple[float, ...] = (0.5, 0.7, 1.0)
    """Minimum score of a good end, one value per round."""
    beta: float = 0.2
    """The scores of the two ends of a pair must differ by more than this."""
    pairs: int = 4
    """Maximum number of splices per tree."""
    splice: bool = True
    """Train on splices; if false, on good paths only."""
    first_error: bool = True
    """Cut bad paths at the first error; if false, keep the whole bad path (Direct-Revision)."""
    check: bool = True
    """Play each splice in the environment; if false, trust the recorded observations, as the paper's code does."""
    continue_search: Uct | None = field(default_factory=lambda: Uct(candidates=3, iterations=2, max_depth=30))
    """Search for a new ending of a splice whose observations differ when played; None disables it."""
    counterfactual: bool = False
    """Also train on splices whose observations differ when played and for which no new ending was found."""
    verifier: VerifierConfig = field(default_factory=VerifierConfig)
    """Prompt and sampling of the verifier, which uses the agent's own model."""
    revisions: tuple[str, ...] = (REVISION_THOUGHT,)
    """Revision thoughts to draw from. The paper uses ten; greedy decoding produces a single one more often."""
    later_epochs: float = 1.0
    """Epochs of rounds that continue from an earlier round's adapter; other rounds use `fit.epochs`."""
    recovery: Recovery = field(default_factory=Recovery)
    """Test of recovery from bad beginnings, the first turns of failed attempts of the base model."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """Also check that the agent has a model, which serves as verifier; see `LoopConfig.validate`."""
        if not agent.models:
            raise UsageError(
                f"agent {agent.name!r} has no model, which Agent-R needs as verifier; pass an agent with a model, "
                "such as --agent react"
            )
        super().validate(env, agent)

    @property
    def rounds(self) -> int:
        """Number of rounds, one per value of alpha."""
        return len(self.alpha)

    @property
    def drop_refused(self) -> bool:
        """Whether splices leave out refused steps of good paths."""
        return self.data.mistakes != "trained"

    def trees_at_once(self, env: EnvSpec) -> int:
        """Return how many trees to search in parallel, with at most `attempts.at_once` candidates in all."""
        return max(1, (self.attempts.resolved(env).at_once or 1) // self.search.candidates)


def agent_r(run: Run, config: AgentR, name: str = "agent_r") -> Path | None:
    """Run the loop; return the last adopted adapter `<name>@<round>`, or None if none was adopted."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        adapter = train_round(run, adopted, config, i, name)
        if config.passes_gate(run, adopted, adapter):
            adopted = adapter
    return adopted


def train_round(run: Run, start: Path | None, config: AgentR, i: int, name: str = "agent_r") -> Path:
    """Run one round.

    Args:
        run: The run.
        start: Adapter to search with and to continue training from; None for the base model.
        config: Configuration.
        i: Round, from 1.
        name: The new adapter is named `<name>@<i>`.

    Returns:
        The trained adapter.
    """
    agent = run.make_agent(start, config.attempts, batch_invariant=True)
    stage = Stage("search", start.name.partition("@")[0] if start else "base", config.practice.split, i)
    alpha = config.alpha[i - 1]

    # 1: COLLECT
    trees = search_trees(run, stage, agent, config)

    # 2, 3, 4: PAIR, FIND THE FIRST ERROR, SPLICE, PLAY
    good = [tree.trajectory(end) for tree in trees.values() for end in good_ends(tree, alpha)]
    splices = (
        make_splices(run, stage, Stage("splice", name, stage.tasks, i), agent, trees, config) if config.splice else []
    )

    # 5: TRAIN
    examples = [*config.data.examples(agent, good), *splice_examples(splices, agent, config)]
    own_examples = len(examples)
    examples += config.data.demonstration_examples(agent, own_examples, run.demonstrations, config.seed)
    fit = config.fit if start is None else replace(config.fit, epochs=config.later_epochs)
    rename = config.data.rename
    adapter = run.train(f"{name}@{i}", examples, fit, seed=config.seed, start=start, rename=rename)
    counts = Stage("counts", name, stage.tasks, i)
    run.store.result(counts, summary, trees, good, splices, own_examples, len(examples))
    return adapter


# -- 1: collect -------------------------------------------------------------------------------------------------------


def search_trees(run: Run, stage: Stage, agent: Agent, config: AgentR) -> dict[str, SearchTree]:
    """Search one tree per practice task, or take it from the store; return the trees by key."""
    tasks = config.practice.task_set(run.env, config.seed)
    jobs = [job(task, agent, 0, config.seed, f"search/{stage.model_round}") for task in tasks]
    trees = run.search(stage, jobs, config.search, config.trees_at_once(run.env))
    return {tree.key: tree for tree in trees}


def good_ends(tree: SearchTree, alpha: float) -> list[int]:
    """Return the end nodes with a score of at least `alpha`."""
    return [end for end in tree.ends() if tree.nodes[end].score >= alpha]


# -- 2 to 4: pair, find the first error, splice, play -----------------------------------------------------------------


@dataclass(frozen=True)
class Splice:
    """One splice, its cut and its status."""

    cut: Cut
    status: SpliceStatus
    trajectory: Trajectory

    def is_trained_on(self, config: AgentR) -> bool:
        """Return whether the loop trains on this splice."""
        return self.status in ("verified", "searched", "unchecked") or (
            self.status == "counterfactual" and config.counterfactual
        )


def make_splices(
    run: Run, trees_stage: Stage, stage: Stage, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR
) -> list[Splice]:
    """Run steps 2 to 4 on the trees of `trees_stage`; return all splices and store those to train on as `stage`."""
    store, variant = run.store, "first-error" if config.first_error else "direct"
    cuts_stage = replace(trees_stage, kind="cuts", tasks=variant)
    rows = store.result(cuts_stage, lambda: [asdict(cut) for cut in find_cuts(run, agent, trees, config, stage.round)])
    splices = []
    for number, cut in enumerate(Cut(**row) for row in rows):
        tree = trees[cut.tree]
        drawn = derived_seed(config.seed, "revision", tree.key, number) % len(config.revisions)
        built = build_splice(tree, cut, config.revisions[drawn], drop_refused=config.drop_refused)
        parents = tuple(store.key(trees_stage, node_key(tree.key, node)) for node in (cut.bad, cut.good))
        splices.append(Splice(cut, "unchecked", replace(built, sample=number, parents=parents)))
    if config.check:
        statuses = store.result(stage.with_kind("replay"), check_splices, [s.trajectory for s in splices], run.env)
        splices = [replace(splice, status=status) for splice, status in zip(splices, statuses, strict=True)]
        if config.continue_search:
            splices = list(continue_by_search(run, trees_stage, agent, trees, splices, config, stage.round))
    if not store.trajectories(stage):
        store.add(stage, [splice.trajectory for splice in splices if splice.is_trained_on(config)])
    record = {"trees": str(store.scoped_stage(trees_stage)), "cuts": rows, "how": [s.status for s in splices]}
    store.result(stage.with_kind("spliced"), dict, record)
    return splices


def find_cuts(run: Run, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR, i: int) -> list[Cut]:
    """Return the distinct cuts of all trees in round `i`."""
    alpha = config.alpha[i - 1]
    work = [
        (tree, pair)
        for tree in trees.values()
        for pair in pair_ends(tree, alpha, config.beta, config.pairs, config.seed)
    ]
    if config.first_error:
        model, at_once = agent.models[0], config.attempts.resolved(run.env).at_once or 1
        calls = [lambda t=tree, p=pair: first_error(model, t, p, config.verifier) for tree, pair in work]
        cuts = run_sync(run_in_waves(calls, at_once, [model]))
    else:
        cuts = [whole_bad_path(tree, pair) for tree, pair in work]
    return list({(cut.tree, cut.good, cut.last): cut for cut in cuts if cut is not None}.values())


def check_splices(splices: Sequence[Trajectory], env: EnvSpec, retries: int = 2) -> list[SpliceStatus]:
    """Play splices and compare the observations with the recorded ones; retry after infrastructure failures."""

    def check(env: AgentEnv, splice: Trajectory) -> SpliceStatus:
        for _ in range(1 + retries):
            with contextlib.suppress(InfraError):
                return "verified" if first_divergence(env, splice) is None else "counterfactual"
        return "infra_error"

    with contextlib.closing(env.make()) as made:
        return [check(made, splice) for splice in splices]


def continue_by_search(
    run: Run,
    trees_stage: Stage,
    agent: Agent,
    trees: Mapping[str, SearchTree],
    splices: Sequence[Splice],
    config: AgentR,
    i: int,
) -> Iterator[Splice]:
    """Yield all splices; counterfactual ones get a new ending if a search from their bad steps finds one."""
    direct = not config.first_error
    stage = replace(trees_stage, tasks="again-direct" if direct else "again")
    stream, alpha = f"search/{trees_stage.model_round}_again{'/direct' if direct else ''}", config.alpha[i - 1]
    counterfactual = {(s.cut.tree, s.cut.last): s for s in splices if s.status == "counterfactual"}
    jobs = [
        job(trees[tree].task, ResumingAgent(agent, trees[tree].steps(last)), s.trajectory.sample, config.seed, stream)
        for (tree, last), s in counterfactual.items()
    ]
    search_config = replace(config.continue_search or config.search, stop_score=alpha)
    new_trees = run.search(stage, jobs, search_config, config.trees_at_once(run.env))
    endings = {cut_key: best_ending(tree, alpha) for cut_key, tree in zip(counterfactual, new_trees, strict=True)}
    for splice in splices:
        ending = endings.get((splice.cut.tree, splice.cut.last))
        if splice.status == "counterfactual" and ending is not None:
            mended = _replace_ending(splice, trees[splice.cut.tree], ending, config)
            yield replace(splice, status="searched", trajectory=mended)
        else:
            yield splice


def best_ending(tree: SearchTree, alpha: float) -> Trajectory | None:
    """Return the shortest attempt of a tree with a score of at least `alpha`, None if there is none."""
    best = min(good_ends(tree, alpha), key=tree.depth, default=None)
    return None if best is None else tree.trajectory(best)


def _replace_ending(splice: Splice, tree: SearchTree, end: Trajectory, config: AgentR) -> Trajectory:
    bad = tree.steps(splice.cut.last)
    observation = tree.nodes[splice.cut.last].observation
    revision = splice.trajectory.steps[len(bad)].thought.partition("\n")[0]
    steps = join_steps(bad, end.steps[len(bad) :], observation, revision, drop_refused=config.drop_refused)
    return replace(
        splice.trajectory, steps=steps, final_observation=end.final_observation, outcome=end.outcome, score=end.score
    )


# -- 5: train ---------------------------------------------------------------------------------------------------------


def splice_examples(splices: Sequence[Splice], agent: Agent, config: AgentR) -> list[Example]:
    """Return the training examples of distinct splices; the weights of each task sum to 1."""
    by_task: dict[str, dict[tuple[tuple[str, bool], ...], Trajectory]] = {}
    for splice in splices:
        if splice.is_trained_on(config):
            turns = tuple((step.action, step.trainable) for step in splice.trajectory.steps)
            by_task.setdefault(splice.trajectory.task.id, {}).setdefault(turns, splice.trajectory)
    return [
        Example(chat, 1.0 / (len(distinct) * len(chats)))
        for distinct in by_task.values()
        for chats in map(agent.chats, distinct.values())
        for chat in chats
    ]


def summary(
    trees: Mapping[str, SearchTree], good: Sequence[Trajectory], splices: Sequence[Splice], own: int, total: int
) -> dict[str, Any]:
    """Return the statistics of a round; `own` counts examples without demonstrations, `total` with them."""
    scores = {key: {tree.nodes[end].score for end in tree.ends()} for key, tree in trees.items()}
    statuses = Counter(splice.status for splice in splices)
    cuts = [splice.cut for splice in splices]
    judged, unparsed = sum(cut.judged for cut in cuts), sum(cut.unparsed for cut in cuts)
    bad_steps = [trees[cut.tree].depth(cut.last) - trees[cut.tree].depth(cut.fork) for cut in cuts]
    return {
        "trees": len(trees),
        "nodes": sum(map(len, trees.values())),
        "model_calls": sum(tree.usage.model_calls for tree in trees.values()),
        "trees_with_equal_ends": sum(len(distinct) < 2 for distinct in scores.values()),
        "trees_without_a_pair": len(trees.keys() - {cut.tree for cut in cuts}),
        "good_paths": len(good),
        "splices": len(splices),
        "bad_steps": sum(bad_steps) / len(bad_steps) if bad_steps else None,
        "no_error_found": sum(not cut.error_found for cut in cuts),
        "judged": judged,
        "unparsed_share": unparsed / judged if judged else None,
        **{status: statuses[status] / len(splices) for status in get_args(SpliceStatus) if splices},
        "own_examples": own,
        "examples": total,
    }


# -- Further evaluations and output -----------------------------------------------------------------------------------


def recovery_test(run: Run, config: AgentR, held_out: Measure) -> dict[str, Test]:
    """Return the test of recovery from the base model's bad beginnings; see `Loop.tests`."""
    beginnings = bad_beginnings(run, held_out, config.recovery)
    return {
        RECOVERY_TASKS: lambda name, adapter: measure_recovery(
            run, name, adapter, held_out, config.recovery, beginnings
        )
    }


def findings(
    run: Run, config: AgentR, held_out: Measure, measured: Mapping[str, MeasuredAttempts]
) -> Iterable[RenderableType]:
    """Return tables of the models' behaviour and of the splices; see `Loop.findings`."""
    yield behaviour_table(behaviour_by_model(measured, held_out.splits, config.revisions), "From the start")
    yield behaviour_table(behaviour_by_model(measured, (RECOVERY_TASKS,), config.revisions), "From bad beginnings")
    yield rounds_table(run.store.results())


def rounds_table(results: Mapping[Stage, Any]) -> Table:
    """Return a table of the trees and splices of each round."""
    names = [
        "trees",
        "no pair",
        "good",
        "splices",
        "bad\nsteps",
        "verified",
        "searched",
        "counter-\nfactual",
        "not\nparsed",
    ]
    table = plain_table("Trees and splices", ["round"], names, [])
    for stage, r in results.items():
        if stage.kind != "counts" or "splices" not in r:
            continue
        shares = [percent(r[status]) if status in r else "" for status in ("verified", "searched", "counterfactual")]
        unparsed = "" if r["unparsed_share"] is None else percent(r["unparsed_share"])
        steps = "" if r["bad_steps"] is None else f"{r['bad_steps']:.1f}"
        counts = [r["trees"], r["trees_without_a_pair"], r["good_paths"], r["splices"]]
        table.add_row(
            Text(" ".join(filter(None, (stage.scope, stage.model_round)))), *map(str, counts), steps, *shares, unparsed
        )
    return table


LOOP = Loop("agent-r", "search, splice bad and good paths, train (Agent-R)", AgentR, agent_r, recovery_test, findings)
