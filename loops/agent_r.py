"""Agent-R: an agent learns to take back its errors as soon as it can see them (Yuan et al., 2025), sections 3.2 to 3.4.

for i = 1, 2, 3 with alpha_i = 0.5, 0.7, 1.0:
1. grow a tree for each task with the current model                            search/<model>@<i>
2. pair ends: r(good) >= alpha_i, r(good) - r(bad) > beta
3. t' = the first step of the bad path, after the fork, that the model itself calls bad
4. splice: bad steps up to t', revision thought, good steps after the fork
   and play it: kept if the environment answers as written; else searched on from t'   search/<model>_again@<i>
5. the model goes on from its last weights: SFT on good paths, splices (bad steps masked) and a share eta of
   demonstrations                                                              splice/<name>@<i>
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.models.local import LocalModel
from ..agents.react import chat_of
from ..agents.resuming import ResumingAgent
from ..agents.rollout import in_waves, run_sync
from ..agents.trajectory import Trajectory
from ..agents.tree import SearchTree
from ..agents.verifier import MISTAKE, VerifierConfig
from ..envs.core import AgentEnv
from ..errors import InfraError
from .gate import Gate
from .learner import Example
from .practice import Practice
from .search import Uct, search
from .splice import Cut, first_error, joined, pairs, replay, spliced, whole_path
from .store import RunStore

Replayed = Literal["verified", "searched", "counterfactual", "unchecked", "infra_error"]
"""What became of a splice: it was answered as written; it was not, and a search went on from its bad steps; or that
found nothing; nobody looked; the environment broke while it was played."""


@dataclass(frozen=True)
class AgentR:
    """Configuration of Agent-R."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=120, replay=0.25))
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
    """Of the rounds that go on from an earlier round's weights; the first has `practice.fit.epochs`."""
    gate: Gate = field(default_factory=Gate)

    @property
    def rounds(self) -> int:
        """As many as there are values of alpha."""
        return len(self.alpha)


def agent_r(
    store: RunStore, base: Path, demonstrations: Sequence[Trajectory], config: AgentR, name: str = "agent_r"
) -> Path | None:
    """Run the loop in `store`; returns the last adopted adapter `<name>@<round>`, None when no round helped."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        adapter = round_of(store, base, adopted, demonstrations, config, i, name)
        if config.gate.admits(store, config.practice, base, adopted, adapter):
            adopted = adapter
    return adopted


def round_of(
    store: RunStore,
    base: Path,
    start: Path | None,
    demonstrations: Sequence[Trajectory],
    config: AgentR,
    i: int,
    name: str = "agent_r",
) -> Path:
    """Round `i` from the adapter `start` (None is the base itself); returns the adapter that it trained."""
    practice = config.practice
    model = LocalModel.load(base, start, slots=practice.together, exact=True)
    who = f"{start.name.partition('@')[0]}@{i}" if start else f"base@{i}"

    # 1: COLLECT
    trees = grow(store, f"search/{who}", model, config)

    # 2, 3, 4: PAIR, FIND THE FIRST ERROR, SPLICE, REPLAY
    good = [tree.trajectory(end) for tree in trees.values() for end in good_ends(tree, config.alpha[i - 1])]
    found = splices(store, who, f"{name}@{i}", model, trees, config, config.alpha[i - 1]) if config.splice else []

    # 5: TRAIN
    examples = [*practice.examples(good), *splice_examples(found, config)]
    own = len(examples)
    examples += practice.demonstrated(own, demonstrations)
    epochs = practice.fit.epochs if start is None else config.later_epochs
    later = replace(practice, fit=replace(practice.fit, epochs=epochs))
    adapter = later.train(store, f"{name}@{i}", base, examples, start)
    store.stage(f"{name}/round{i}", summary, trees, good, found, own, len(examples))
    return adapter


# -- 1: collect -------------------------------------------------------------------------------------------------------


def grow(store: RunStore, stage: str, model: LanguageModel, config: AgentR) -> dict[str, SearchTree]:
    """A tree of each practice task, by key; grown now or taken from the store.

    Raises `UsageError` when the store holds trees that were begun otherwise: another model, task or search.
    """
    practice = config.practice
    agent = practice.agent(model)
    jobs = [practice.job(task, agent, 0, stage) for task in practice.task_set()]
    trees = search(practice.make_env, jobs, config.search, store=store, stage=stage, at_once=_trees_at_once(config))
    return {tree.key: tree for tree in trees}


def good_ends(tree: SearchTree, alpha: float) -> list[int]:
    """Ends that are worth `alpha` or more."""
    return [end for end in tree.ends() if tree.nodes[end].score >= alpha]


def _trees_at_once(config: AgentR) -> int:
    """So many that a backend that keeps `at_once` conversations keeps those of all candidates."""
    return max(1, config.practice.together // config.search.candidates)


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
    store: RunStore,
    who: str,
    name: str,
    model: LanguageModel,
    trees: Mapping[str, SearchTree],
    config: AgentR,
    alpha: float,
) -> list[Spliced]:
    """Steps 2 to 4 with the trees of the model `who`; those that are learnt from are stored as `splice/<name>`."""
    direct = "" if config.first_error else "/direct"
    rows = store.stage(f"cuts/{who}{direct}", lambda: [asdict(cut) for cut in cuts(model, trees, config, alpha)])
    practice, found = config.practice, []
    for number, cut in enumerate(Cut(**row) for row in rows):
        tree = trees[cut.tree]
        drawn = derived_seed(practice.seed, "revision", tree.key, number) % len(config.revisions)
        written = spliced(tree, cut, config.revisions[drawn], drop_refused=practice.mistakes != "learnt")
        found.append(Spliced(cut, "unchecked", replace(written, sample=number)))
    if config.check:
        outcomes = store.stage(f"replay/{name}", replayed, [each.trajectory for each in found], practice)
        found = [replace(each, how=how) for each, how in zip(found, outcomes, strict=True)]
        if config.again:
            found = searched_on(store, f"search/{who}_again{direct}", model, trees, found, config, alpha)
    if not store.trajectories(f"splice/{name}"):
        store.add(f"splice/{name}", [each.trajectory for each in found if each.learnt(config)])
    store.stage(
        f"spliced/{name}", lambda: {"trees": f"search/{who}", "cuts": rows, "how": [each.how for each in found]}
    )
    return found


def cuts(model: LanguageModel, trees: Mapping[str, SearchTree], config: AgentR, alpha: float) -> list[Cut]:
    """Where the pairs of all trees are joined, each place once."""
    practice = config.practice
    work = [
        (tree, pair) for tree in trees.values() for pair in pairs(tree, alpha, config.beta, config.pairs, practice.seed)
    ]
    if config.first_error:
        asked = [lambda t=tree, p=pair: first_error(model, t, p, config.verifier) for tree, pair in work]
        found = run_sync(in_waves(asked, practice.together, [model]))
    else:
        found = [whole_path(tree, pair) for tree, pair in work]
    return list({(cut.tree, cut.good, cut.last): cut for cut in found if cut is not None}.values())


def replayed(splices: Sequence[Trajectory], practice: Practice, retries: int = 2) -> list[Replayed]:
    """What the environment says to each splice."""

    def outcome(env: AgentEnv, splice: Trajectory) -> Replayed:
        for _ in range(1 + retries):
            with contextlib.suppress(InfraError):
                return "verified" if replay(env, splice) is None else "counterfactual"
        return "infra_error"

    with contextlib.closing(practice.make_env()) as env:
        return [outcome(env, splice) for splice in splices]


def searched_on(
    store: RunStore,
    stage: str,
    model: LanguageModel,
    trees: Mapping[str, SearchTree],
    found: Sequence[Spliced],
    config: AgentR,
    alpha: float,
) -> list[Spliced]:
    """The splices that were not answered as written, with another ending that a search from their bad steps found."""
    practice = config.practice
    lost = {(s.cut.tree, s.cut.last): s for s in found if s.how == "counterfactual"}
    agent = practice.agent(model)
    jobs = [
        practice.job(trees[tree].task, ResumingAgent(agent, trees[tree].steps(last)), each.trajectory.sample, stage)
        for (tree, last), each in lost.items()
    ]
    again = replace(config.again or config.search, end_gate=alpha)
    grown = search(practice.make_env, jobs, again, store=store, stage=stage, at_once=_trees_at_once(config))
    endings = {place: ending(tree, alpha) for place, tree in zip(lost, grown, strict=True)}

    def mended(each: Spliced) -> Spliced:
        end = endings.get((each.cut.tree, each.cut.last))
        if each.how != "counterfactual" or end is None:
            return each
        return replace(each, how="searched", trajectory=_with_ending(each, trees[each.cut.tree], end, practice))

    return [mended(each) for each in found]


def ending(tree: SearchTree, alpha: float) -> Trajectory | None:
    """The shortest attempt of a tree that is worth `alpha` or more."""
    best = min(good_ends(tree, alpha), key=tree.depth, default=None)
    return None if best is None else tree.trajectory(best)


def _with_ending(each: Spliced, tree: SearchTree, end: Trajectory, practice: Practice) -> Trajectory:
    bad = tree.steps(each.cut.last)
    seen = tree.nodes[each.cut.last].observation
    first = each.trajectory.steps[len(bad)].thought.partition("\n")[0]
    steps = joined(bad, end.steps[len(bad) :], seen, first, drop_refused=practice.mistakes != "learnt")
    return replace(
        each.trajectory, steps=steps, final_observation=end.final_observation, outcome=end.outcome, score=end.score
    )


# -- 5: train ---------------------------------------------------------------------------------------------------------


def splice_examples(found: Sequence[Spliced], config: AgentR) -> list[Example]:
    """What is learnt from splices: distinct ones, each task weighing the same."""
    by_task: dict[str, dict[tuple[tuple[str, bool], ...], Trajectory]] = {}
    for each in found:
        if each.learnt(config):
            turns = tuple((step.action, step.trainable) for step in each.trajectory.steps)
            by_task.setdefault(each.trajectory.task.id, {}).setdefault(turns, each.trajectory)
    return [
        Example(chat_of(splice), 1.0 / len(distinct)) for distinct in by_task.values() for splice in distinct.values()
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
        "model_calls": sum(tree.spent.model_calls for tree in trees.values()),
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
