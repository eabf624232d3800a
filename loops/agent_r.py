"""Agent-R: an agent learns to take back its errors as soon as it can see them (Yuan et al., 2025), sections 3.2 to 3.4.

for i = 1, 2, 3 with alpha_i = 0.5, 0.7, 1.0:
1. grow a tree for each task with the current model                            search/<model>@<i>
2. pair ends: r(good) >= alpha_i, r(good) - r(bad) > beta
3. t' = the first step of the bad path, after the fork, that the model itself calls bad
4. splice: bad steps up to t', revision thought, good steps after the fork
   and play it: kept if the environment answers as written; else searched on from t'   search/<model>@<i>/again
5. the model goes on from its last weights: SFT on good paths, splices (bad steps masked) and a share eta of
   demonstrations                                                              splice/<name>@<i>
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
from ..agents.rollout import in_waves, run_sync
from ..agents.search import SearchTree, Uct
from ..agents.trajectory import Trajectory
from ..agents.verifier import MISTAKE, VerifierConfig
from ..envs.core import AgentEnv
from ..envs.registry import EnvSpec
from ..errors import InfraError, UsageError
from .learning.core import Example
from .learning.splice import Cut, first_error, joined, pairs, replay, spliced, whole_path
from .learning.training_data import TrainingData
from .measuring.measure import Measure, Measured
from .measuring.recovery import (
    TASKS,
    Recovery,
    bad_beginnings,
    behaviour_table,
    behaviours,
    measure_recovery,
)
from .measuring.tables import percent, plain_table
from .registry import Loop, LoopConfig, Test
from .run import Practice, Run, job
from .runs.stages import Stage, node_key

Replayed = Literal["verified", "searched", "counterfactual", "unchecked", "infra_error"]
"""What became of a splice: it was answered as written; it was not, and a search went on from its bad steps; or that
found nothing; nobody looked; the environment broke while it was played."""


@dataclass(frozen=True)
class AgentR(LoopConfig):
    """Agent-R: errors that are taken back as soon as they can be seen."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=120))
    data: TrainingData = field(default_factory=lambda: TrainingData(replay=0.25))
    """`replay` is eta / (1 - eta) for the paper's eta of 0.2; its first round has 3 epochs."""
    search: Uct = field(default_factory=lambda: Uct(candidates=3, iterations=6, max_depth=20))
    """The paper's has 4 candidates and 8 iterations."""
    alpha: tuple[float, ...] = (0.5, 0.7, 1.0)
    """Least score of a good end, for each round."""
    beta: float = 0.2
    """A bad end's score is lower by more than this."""
    pairs: int = 4
    """Splices of one tree at most."""
    splice: bool = True
    """False learns from good paths alone."""
    first_error: bool = True
    """False keeps the whole bad path (Direct-Revision)."""
    check: bool = True
    """False takes splices as they are written, as the paper's code does."""
    again: Uct | None = field(default_factory=lambda: Uct(candidates=3, iterations=2, max_depth=30))
    """Search from the bad steps of a splice that is not answered as written; None goes without."""
    counterfactual: bool = False
    """Also learn from splices that are not answered as written and that no search could mend."""
    verifier: VerifierConfig = field(default_factory=VerifierConfig)
    revisions: tuple[str, ...] = (MISTAKE,)
    """Revision thoughts, drawn for each splice. The paper has ten; with one, a greedy agent's wish to take something
    back is not split among them."""
    later_epochs: float = 1.0
    """Of the rounds that go on from an earlier round's weights; the first has `fit.epochs`."""
    recovery: Recovery = field(default_factory=Recovery)
    """Bad beginnings, made by the base at the held-out tasks, that models have to recover from."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """See `LoopConfig.validate`; the agent's own model has to judge its steps."""
        if not agent.models:
            raise UsageError(f"Agent-R asks the agent's model which step was an error, and {agent.name!r} has none")
        super().validate(env, agent)

    @property
    def rounds(self) -> int:
        """As many as there are values of alpha."""
        return len(self.alpha)

    @property
    def drop_refused(self) -> bool:
        """Whether refused steps of good paths are left out of splices."""
        return self.data.mistakes != "learnt"

    def trees_at_once(self, env: EnvSpec) -> int:
        """So many that a back end that keeps `at_once` conversations keeps those of all candidates."""
        return max(1, (self.attempts.resolved(env).at_once or 1) // self.search.candidates)


def agent_r(run: Run, config: AgentR, name: str = "agent_r") -> Path | None:
    """Run the loop; returns the last adopted adapter `<name>@<round>`, None when no round helped."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        adapter = round_of(run, adopted, config, i, name)
        if config.admits(run, adopted, adapter):
            adopted = adapter
    return adopted


def round_of(run: Run, start: Path | None, config: AgentR, i: int, name: str = "agent_r") -> Path:
    """Round `i` from the adapter `start` (None is the base itself); returns the adapter that it trained."""
    agent = run.acting(start, config.attempts, batch_invariant=True)
    stage = Stage("search", start.name.partition("@")[0] if start else "base", config.practice.split, i)
    alpha = config.alpha[i - 1]

    # 1: COLLECT
    trees = grow(run, stage, agent, config)

    # 2, 3, 4: PAIR, FIND THE FIRST ERROR, SPLICE, REPLAY
    good = [tree.trajectory(end) for tree in trees.values() for end in good_ends(tree, alpha)]
    found = splices(run, stage, Stage("splice", name, stage.tasks, i), agent, trees, config) if config.splice else []

    # 5: TRAIN
    examples = [*config.data.examples(agent, good), *splice_examples(found, agent, config)]
    own = len(examples)
    examples += config.data.demonstrated(agent, own, run.demonstrations, config.seed)
    fit = config.fit if start is None else replace(config.fit, epochs=config.later_epochs)
    rename = config.data.rename
    adapter = run.train(f"{name}@{i}", examples, fit, seed=config.seed, start=start, rename=rename)
    counts = Stage("counts", name, stage.tasks, i)
    run.store.result(counts, summary, trees, good, found, own, len(examples))
    return adapter


# -- 1: collect -------------------------------------------------------------------------------------------------------


def grow(run: Run, stage: Stage, agent: Agent, config: AgentR) -> dict[str, SearchTree]:
    """A tree of each practice task, by key; grown now or taken from the store.

    Raises `UsageError` when the store holds trees that were begun otherwise: another agent, task or search.
    """
    tasks = config.practice.task_set(run.env, config.seed)
    jobs = [job(task, agent, 0, config.seed, f"search/{stage.who}") for task in tasks]
    trees = run.search(stage, jobs, config.search, config.trees_at_once(run.env))
    return {tree.key: tree for tree in trees}


def good_ends(tree: SearchTree, alpha: float) -> list[int]:
    """Ends that are worth `alpha` or more."""
    return [end for end in tree.ends() if tree.nodes[end].score >= alpha]


# -- 2 to 4: pair, find the first error, splice, replay ---------------------------------------------------------------


@dataclass(frozen=True)
class Spliced:
    """One splice and what became of it."""

    cut: Cut
    how: Replayed
    trajectory: Trajectory

    def learnt(self, config: AgentR) -> bool:
        """Whether it is trained on."""
        return self.how in ("verified", "searched", "unchecked") or (
            self.how == "counterfactual" and config.counterfactual
        )


def splices(
    run: Run, trees_at: Stage, stage: Stage, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR
) -> list[Spliced]:
    """Steps 2 to 4 with the trees of a stage; those splices that are learnt from are stored as `stage`."""
    store, which = run.store, "first-error" if config.first_error else "direct"
    kept = replace(trees_at, kind="cuts", tasks=which)
    rows = store.result(kept, lambda: [asdict(cut) for cut in cuts(run, agent, trees, config, stage.round)])
    found = []
    for number, cut in enumerate(Cut(**row) for row in rows):
        tree = trees[cut.tree]
        drawn = derived_seed(config.seed, "revision", tree.key, number) % len(config.revisions)
        written = spliced(tree, cut, config.revisions[drawn], drop_refused=config.drop_refused)
        parents = tuple(store.key(trees_at, node_key(tree.key, node)) for node in (cut.bad, cut.good))
        found.append(Spliced(cut, "unchecked", replace(written, sample=number, parents=parents)))
    if config.check:
        outcomes = store.result(stage.of("replay"), replayed, [each.trajectory for each in found], run.env)
        found = [replace(each, how=how) for each, how in zip(found, outcomes, strict=True)]
        if config.again:
            found = list(searched_on(run, trees_at, agent, trees, found, config, stage.round))
    if not store.trajectories(stage):
        store.add(stage, [each.trajectory for each in found if each.learnt(config)])
    about = {"trees": str(store.scope(trees_at)), "cuts": rows, "how": [each.how for each in found]}
    store.result(stage.of("spliced"), dict, about)
    return found


def cuts(run: Run, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR, i: int) -> list[Cut]:
    """Where the pairs of all trees are joined in round `i`, each place once."""
    alpha = config.alpha[i - 1]
    work = [
        (tree, pair) for tree in trees.values() for pair in pairs(tree, alpha, config.beta, config.pairs, config.seed)
    ]
    if config.first_error:
        model, at_once = agent.models[0], config.attempts.resolved(run.env).at_once or 1
        asked = [lambda t=tree, p=pair: first_error(model, t, p, config.verifier) for tree, pair in work]
        found = run_sync(in_waves(asked, at_once, [model]))
    else:
        found = [whole_path(tree, pair) for tree, pair in work]
    return list({(cut.tree, cut.good, cut.last): cut for cut in found if cut is not None}.values())


def replayed(splices: Sequence[Trajectory], env: EnvSpec, retries: int = 2) -> list[Replayed]:
    """What the environment says to each splice."""

    def outcome(env: AgentEnv, splice: Trajectory) -> Replayed:
        for _ in range(1 + retries):
            with contextlib.suppress(InfraError):
                return "verified" if replay(env, splice) is None else "counterfactual"
        return "infra_error"

    with contextlib.closing(env.make()) as made:
        return [outcome(made, splice) for splice in splices]


def searched_on(
    run: Run,
    trees_at: Stage,
    agent: Agent,
    trees: Mapping[str, SearchTree],
    found: Sequence[Spliced],
    config: AgentR,
    i: int,
) -> Iterator[Spliced]:
    """The splices that were not answered as written, with another ending that a search from their bad steps found."""
    direct = not config.first_error
    stage = replace(trees_at, tasks="again-direct" if direct else "again")
    stream, alpha = f"search/{trees_at.who}_again{'/direct' if direct else ''}", config.alpha[i - 1]
    lost = {(s.cut.tree, s.cut.last): s for s in found if s.how == "counterfactual"}
    jobs = [
        job(
            trees[tree].task,
            ResumingAgent(agent, trees[tree].steps(last)),
            each.trajectory.sample,
            config.seed,
            stream,
        )
        for (tree, last), each in lost.items()
    ]
    again = replace(config.again or config.search, end_gate=alpha)
    grown = run.search(stage, jobs, again, config.trees_at_once(run.env))
    endings = {place: ending(tree, alpha) for place, tree in zip(lost, grown, strict=True)}
    for each in found:
        end = endings.get((each.cut.tree, each.cut.last))
        if each.how == "counterfactual" and end is not None:
            mended = _with_ending(each, trees[each.cut.tree], end, config)
            yield replace(each, how="searched", trajectory=mended)
        else:
            yield each


def ending(tree: SearchTree, alpha: float) -> Trajectory | None:
    """The shortest attempt of a tree that is worth `alpha` or more."""
    best = min(good_ends(tree, alpha), key=tree.depth, default=None)
    return None if best is None else tree.trajectory(best)


def _with_ending(each: Spliced, tree: SearchTree, end: Trajectory, config: AgentR) -> Trajectory:
    bad = tree.steps(each.cut.last)
    seen = tree.nodes[each.cut.last].observation
    first = each.trajectory.steps[len(bad)].thought.partition("\n")[0]
    steps = joined(bad, end.steps[len(bad) :], seen, first, drop_refused=config.drop_refused)
    return replace(
        each.trajectory, steps=steps, final_observation=end.final_observation, outcome=end.outcome, score=end.score
    )


# -- 5: train ---------------------------------------------------------------------------------------------------------


def splice_examples(found: Sequence[Spliced], agent: Agent, config: AgentR) -> list[Example]:
    """What is learnt from splices: distinct ones, each task weighing the same."""
    by_task: dict[str, dict[tuple[tuple[str, bool], ...], Trajectory]] = {}
    for each in found:
        if each.learnt(config):
            turns = tuple((step.action, step.trainable) for step in each.trajectory.steps)
            by_task.setdefault(each.trajectory.task.id, {}).setdefault(turns, each.trajectory)
    return [
        Example(chat, 1.0 / (len(distinct) * len(chats)))
        for distinct in by_task.values()
        for chats in map(agent.chats, distinct.values())
        for chat in chats
    ]


def summary(
    trees: Mapping[str, SearchTree], good: Sequence[Trajectory], found: Sequence[Spliced], own: int, examples: int
) -> dict[str, Any]:
    """What a round came to."""
    scores = {key: {tree.nodes[end].score for end in tree.ends()} for key, tree in trees.items()}
    kinds = Counter(each.how for each in found)
    cuts = [each.cut for each in found]
    judged, unparsed = sum(cut.judged for cut in cuts), sum(cut.unparsed for cut in cuts)
    bad_steps = [trees[cut.tree].depth(cut.last) - trees[cut.tree].depth(cut.fork) for cut in cuts]
    return {
        "trees": len(trees),
        "nodes": sum(map(len, trees.values())),
        "model_calls": sum(tree.usage.model_calls for tree in trees.values()),
        "trees_with_equal_ends": sum(len(worth) < 2 for worth in scores.values()),
        "trees_without_a_pair": len(trees.keys() - {cut.tree for cut in cuts}),
        "good_paths": len(good),
        "splices": len(found),
        "bad_steps": sum(bad_steps) / len(bad_steps) if bad_steps else None,
        "no_error_found": sum(not cut.found for cut in cuts),
        "judged": judged,
        "unparsed_share": unparsed / judged if judged else None,
        **{how: kinds[how] / len(found) for how in get_args(Replayed) if found},
        "own_examples": own,
        "examples": examples,
    }


# -- What is measured and printed beside success ----------------------------------------------------------------------


def recovery_test(run: Run, config: AgentR, on: Measure) -> dict[str, Test]:
    """Recovery from the base's own bad beginnings."""
    begun = bad_beginnings(run, on, config.recovery)
    return {TASKS: lambda name, adapter: measure_recovery(run, name, adapter, on, config.recovery, begun)}


def findings(run: Run, config: AgentR, on: Measure, measured: Mapping[str, Measured]) -> Iterable[RenderableType]:
    """How the models went about it, and what the splices were."""
    yield behaviour_table(behaviours(measured, on.splits, config.revisions), "From the start")
    yield behaviour_table(behaviours(measured, (TASKS,), config.revisions), "From bad beginnings")
    yield rounds_table(run.store.results())


def rounds_table(results: Mapping[Stage, Any]) -> Table:
    """One line for each round of each seed: trees, splices, and what became of them."""
    shown = [
        "trees",
        "no pair",
        "good",
        "splices",
        "bad\nsteps",
        "as\nwritten",
        "searched",
        "counter-\nfactual",
        "not\nparsed",
    ]
    made = plain_table("Trees and splices", ["round"], shown, [])
    for stage, r in results.items():
        if stage.kind != "counts" or "splices" not in r:
            continue
        shares = [percent(r[how]) if how in r else "" for how in ("verified", "searched", "counterfactual")]
        unparsed = "" if r["unparsed_share"] is None else percent(r["unparsed_share"])
        steps = "" if r["bad_steps"] is None else f"{r['bad_steps']:.1f}"
        counts = [r["trees"], r["trees_without_a_pair"], r["good_paths"], r["splices"]]
        made.add_row(
            Text(" ".join(filter(None, (stage.scope, stage.who)))), *map(str, counts), steps, *shares, unparsed
        )
    return made


LOOP = Loop("agent-r", "search, splice bad and good paths, train (Agent-R)", AgentR, agent_r, recovery_test, findings)
