"""Agent-R: train an agent to correct its errors as soon as it can recognise them (arXiv 2501.11425, sections 3.2-3.4).

for i = 1, 2, 3 with alpha_i = 0.5, 0.7, 1.0:
1. search a tree for each task with the current model                               search/<model>@<i>
2. pair good and bad ends of a tree: r(good) >= alpha_i and r(good) - r(bad) > beta
3. t' = first step of the bad path after the fork that the verifier judges Bad      cuts/<model>@<i>
   (the paper's verifier is the current model, which can lose this role in training: see `verifier_role`; a round
   whose verdicts do not parse stops the loop)
4. splice: bad steps up to t', revision thought, good steps after the fork          splice/<name>@<i>
   (beyond the paper: play the splice; if an observation differs from the recorded one, search for a new ending
   from t')                                                                         search/<model>@<i>/again
5. SFT from the last adopted weights on good paths, splices (bad steps masked) and a share eta of demonstrations
   (with `verifier_role` kept: also on verdicts of the round)

The last column names the stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import RenderableType

from ..agents.core import Agent
from ..agents.models.core import Message, derived_seed
from ..agents.resuming import ResumingAgent
from ..agents.rollout import run_in_waves, run_sync
from ..agents.search import SearchTree, Uct
from ..agents.trajectory import Trajectory
from ..agents.verifier import REVISION_THOUGHT, VerifierConfig
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.splice import (
    Cut,
    Splice,
    build_splice,
    check_splices,
    first_error,
    join_steps,
    pair_ends,
    splice_examples,
    whole_bad_path,
)
from .learning.training_data import TrainingData
from .learning.verdicts import chats_to_json, verdict_examples
from .measuring.gate import adapter_name
from .measuring.measure import Measure, MeasuredAttempts
from .measuring.recovery import (
    RECOVERY_TASKS,
    Recovery,
    bad_beginnings,
    behaviour_by_model,
    behaviour_table,
    measure_recovery,
)
from .measuring.splice_rounds import rounds_table, stop_lines, summary
from .measuring.tables import percent
from .registry import Loop, LoopConfig, Test
from .run import Practice, Run, job
from .runs.stages import Stage, node_key


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
    """Prompt and sampling of the verifier."""
    verifier_role: Literal["base", "kept", "paper"] = "base"
    """Which model judges bad paths. `base`: in all rounds the model without an adapter, which no training can change.
    `kept`: the acting model, and verdicts of the round are trained on, so that it goes on to answer as a verifier.
    `paper`: the acting model, trained to act only; it may lose the role after a round."""
    verdict_share: float = 0.25
    """Verifier chats to train on if `verifier_role` is `kept`, as a multiple of the examples from good paths and
    splices. The weights of a task's chats sum to 1, like those of its good paths."""
    max_unparsed: float = 0.5
    """A round stops the loop if a larger share of its verdicts does not parse; 1 never stops it."""
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
        if not (0 <= self.verdict_share < math.inf and 0 <= self.max_unparsed <= 1):
            raise UsageError(
                f"verdict_share is {self.verdict_share} and max_unparsed {self.max_unparsed}; expected a number from 0 "
                "and a share in [0, 1]"
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


class RoundStopped(UsageError):
    """The verdicts of a round do not parse, so nothing is trained on them."""


def agent_r(run: Run, config: AgentR, name: str = "agent_r") -> Path | None:
    """Run the loop; return the last adopted adapter `<name>@<round>`, or None if none was adopted.

    A round whose verdicts do not parse ends the loop, and `findings` says so. Raises `RoundStopped` if no round was
    adopted before it.
    """
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        try:
            adapter = train_round(run, adopted, config, i, name)
        except RoundStopped:
            if adopted is None:
                raise
            break
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

    Raises:
        RoundStopped: More than `config.max_unparsed` of the verdicts do not parse. The counts of the round are stored.
    """
    agent = run.make_agent(start, config.attempts, batch_invariant=True)
    stage = Stage("search", start.name.partition("@")[0] if start else "base", config.practice.split, i)
    counts, alpha = Stage("counts", name, stage.tasks, i), config.alpha[i - 1]

    # 1: COLLECT
    trees = search_trees(run, stage, agent, config)
    good = [tree.trajectory(end) for tree in trees.values() for end in good_ends(tree, alpha)]

    # 2, 3: PAIR, FIND THE FIRST ERROR
    cuts, chats = make_cuts(run, stage, start, agent, trees, config) if config.splice else ([], {})
    if stop := unparsed_line(f"{name}@{i}", start, cuts, config):
        run.store.result(counts, lambda: {**summary(trees, good, cuts, [], 0, 0, 0), "stopped": stop})
        raise RoundStopped(stop)

    # 4: SPLICE, PLAY
    splices = make_splices(run, stage, counts.with_kind("splice"), agent, trees, cuts, config) if config.splice else []

    # 5: TRAIN
    examples = [*config.data.examples(agent, good), *splice_examples(trained_on(splices, config), agent)]
    own_examples = len(examples)
    verdicts = verdict_examples(chats, round(config.verdict_share * own_examples), config.seed)
    examples += verdicts
    examples += config.data.demonstration_examples(agent, own_examples, run.demonstrations, config.seed)
    fit = config.fit if start is None else replace(config.fit, epochs=config.later_epochs)
    rename = config.data.rename
    adapter = run.train(f"{name}@{i}", examples, fit, seed=config.seed, start=start, rename=rename)
    run.store.result(counts, summary, trees, good, cuts, splices, own_examples, len(verdicts), len(examples))
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


def make_cuts(
    run: Run, trees_stage: Stage, start: Path | None, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR
) -> tuple[list[Cut], dict[str, Any]]:
    """Run steps 2 and 3 on the trees of `trees_stage`, or take their result from the store.

    Returns:
        The distinct cuts, and the verifier's chats to train on by task; see `chats_to_json`.
    """
    stage = replace(trees_stage, kind="cuts", tasks="first-error" if config.first_error else "direct")
    found = run.store.result(stage, find_cuts, run, start, agent, trees, config, trees_stage.round)
    return [Cut(**row) for row in found["cuts"]], found["chats"]


def find_cuts(
    run: Run, start: Path | None, agent: Agent, trees: Mapping[str, SearchTree], config: AgentR, i: int
) -> dict[str, Any]:
    """Return the distinct cuts of all trees in round `i`, and the verifier's chats to train on; JSON-serialisable."""
    alpha = config.alpha[i - 1]
    work = [
        (tree, pair)
        for tree in trees.values()
        for pair in pair_ends(tree, alpha, config.beta, config.pairs, config.seed)
    ]
    chats: list[tuple[str, list[Message]]] = []
    if config.first_error:
        if config.verifier_role == "base" and start is not None:
            # Only one model at a time is kept in memory.
            run.backend.free()
            agent = run.make_agent(None, config.attempts, batch_invariant=True)
        model, at_once = agent.models[0], config.attempts.resolved(run.env).at_once or 1
        calls = [lambda t=tree, p=pair: first_error(model, t, p, config.verifier) for tree, pair in work]
        judged = run_sync(run_in_waves(calls, at_once, [model]))
        cuts = [cut for cut, _ in judged]
        if config.verifier_role == "kept":
            chats = [(tree.task.id, chat) for (tree, _), (_, own) in zip(work, judged, strict=True) for chat in own]
    else:
        cuts = [whole_bad_path(tree, pair) for tree, pair in work]
    distinct = {(cut.tree, cut.good, cut.last): cut for cut in cuts if cut is not None}
    return {"cuts": [asdict(cut) for cut in distinct.values()], "chats": chats_to_json(chats)}


def unparsed_line(name: str, start: Path | None, cuts: Sequence[Cut], config: AgentR) -> str:
    """Return why a round stops: what happened, what was expected and what to do; nothing if the verdicts parse."""
    judged, unparsed = sum(cut.judged for cut in cuts), sum(cut.unparsed for cut in cuts)
    if unparsed <= config.max_unparsed * judged:
        return ""
    judge = "base" if config.verifier_role == "base" else adapter_name(start)
    advice = (
        "a --loop.verifier.prompt that the model answers in this form, a larger --loop.verifier.max-tokens, or "
        "--loop.no-first-error, which needs no verifier"
        if judge == "base"
        else "--loop.verifier-role base, with which the model without an adapter judges"
    )
    return (
        f"{name} stopped and is not trained: {unparsed} of {judged} verdicts of {judge} ({percent(unparsed / judged)}) "
        f"do not parse; expected at most {percent(config.max_unparsed)}, and lines such as 'Judgement: Bad'; start a "
        f"new run with {advice}"
    )


def make_splices(
    run: Run,
    trees_stage: Stage,
    stage: Stage,
    agent: Agent,
    trees: Mapping[str, SearchTree],
    cuts: Sequence[Cut],
    config: AgentR,
) -> list[Splice]:
    """Run step 4 on the trees of `trees_stage`; return all splices and store those to train on as `stage`."""
    store = run.store
    splices = []
    for number, cut in enumerate(cuts):
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
        store.add(stage, [splice.trajectory for splice in trained_on(splices, config)])
    record = {
        "trees": str(store.scoped_stage(trees_stage)),
        "cuts": list(map(asdict, cuts)),
        "how": [s.status for s in splices],
    }
    store.result(stage.with_kind("spliced"), dict, record)
    return splices


def trained_on(splices: Sequence[Splice], config: AgentR) -> list[Splice]:
    """Return the splices that the loop trains on."""
    statuses = ("verified", "searched", "unchecked", *(("counterfactual",) if config.counterfactual else ()))
    return [splice for splice in splices if splice.status in statuses]


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
    results = run.store.results()
    yield rounds_table(results)
    yield from stop_lines(results)


LOOP = Loop("agent-r", "search, splice bad and good paths, train (Agent-R)", AgentR, agent_r, recovery_test, findings)
