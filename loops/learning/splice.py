"""Splices of a bad and a good path of one search tree (Agent-R, arXiv 2501.11425, section 3.2).

The two paths share their first nodes; the last shared node is the fork. A splice consists of:

    root ... fork, bad steps up to the first error       in the context, no loss
    revision thought + first good step after the fork    trained on
    the remaining good steps                             trained on

The observations of the good steps were recorded *at the fork*. After the bad steps, the environment may answer
differently. `first_divergence` checks this; the paper does not.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...agents import env_calls
from ...agents.core import Agent
from ...agents.models.core import LanguageModel, Message, derived_seed
from ...agents.react import drop_refused_steps
from ...agents.search.tree import SearchTree
from ...agents.trajectory import Step, Trajectory
from ...agents.verifier import StepJudgement, VerifierConfig, judge_steps, whole_chats
from ...envs.core import AgentEnv
from ...envs.registry import EnvSpec
from ...errors import InfraError, UsageError
from .core import Example

SpliceStatus = Literal["verified", "searched", "counterfactual", "unchecked", "infra_error"]
"""Result of playing a splice. `verified`: all observations match. `searched`: they differ, and a search from the bad
steps found a new ending. `counterfactual`: they differ, and there is no new ending. `unchecked`: it was not played.
`infra_error`: an infrastructure failure ended the attempt to play it."""


@dataclass(frozen=True)
class Cut:
    """Where a bad and a good path of one tree are joined; numbers are node numbers."""

    tree: str
    """`SearchTree.key` of the tree."""
    good: int
    """End of the good path."""
    bad: int
    """End of the bad path."""
    fork: int
    """Last node on both paths."""
    last: int
    """Last node of the bad path that the splice keeps: the first error, or the end of the path."""
    judged: int = 0
    """Number of steps that the verifier judged."""
    unparsed: int = 0
    """Number of verifier answers that did not parse; they count as Uncertain."""
    error_found: bool = False
    """Whether a step was judged Bad; if not, the whole bad path is kept, as in Direct-Revision."""


@dataclass(frozen=True)
class Splice:
    """A splice with its cut and its status."""

    cut: Cut
    status: SpliceStatus
    trajectory: Trajectory


def pair_ends(tree: SearchTree, alpha: float, beta: float, limit: int, seed: int) -> list[tuple[int, int]]:
    """Sample pairs of a good and a bad end of a tree, with r(good) >= alpha and r(good) - r(bad) > beta.

    Args:
        tree: Finished search tree.
        alpha: Minimum score of the good end.
        beta: The score difference must exceed this.
        limit: Maximum number of pairs.
        seed: Seed of the order.

    Returns:
        Pairs (good, bad) of node numbers; every bad end appears once before any appears twice.
    """
    r = {end: tree.nodes[end].score for end in tree.ends() if tree.nodes[end].outcome != "infra_error"}
    eligible = [(g, b) for g, b in itertools.permutations(r, 2) if r[g] >= alpha and r[g] - r[b] > beta]
    random.Random(derived_seed(seed, "pairs", tree.key)).shuffle(eligible)
    uses = Counter[int]()

    def use_of_bad_end(pair: tuple[int, int]) -> int:
        uses[pair[1]] += 1
        return uses[pair[1]]

    return sorted(eligible, key=use_of_bad_end)[:limit]


async def first_error(
    model: LanguageModel, tree: SearchTree, pair: tuple[int, int], config: VerifierConfig
) -> tuple[Cut | None, list[list[Message]]]:
    """Let a verifier find the first error of a bad path.

    Steps before the fork are not judged, because the good path contains them too.

    Args:
        model: Verifier.
        tree: Tree of the two paths.
        pair: Ends (good, bad) of the two paths.
        config: Prompt and sampling of the verifier.

    Returns:
        The cut at the first step judged Bad, or at the end of the bad path if there is none; None if the cut would
        leave no bad step, because the only one ended the episode. And the verifier's chats; see `whole_chats`.
    """
    good, bad = pair
    fork = tree.common_ancestor(good, bad)
    path = tree.path(bad)[tree.depth(fork) + 1 :]
    steps = [step for step in (tree.nodes[number].step for number in path) if step is not None]
    before_fork, last = tree.steps(fork), tree.nodes[bad].observation
    judged: list[StepJudgement] = await judge_steps(
        model, tree.task.env_id, tree.goal, before_fork, steps, last, config
    )
    error_found = judged[-1].judgement == "bad"
    cut = Cut(
        tree.key,
        good,
        bad,
        fork,
        path[len(judged) - 1],
        judged=len(judged),
        unparsed=sum(not answer.parsed for answer in judged),
        error_found=error_found,
    )
    return _drop_terminal_step(tree, cut), whole_chats(judged)


def whole_bad_path(tree: SearchTree, pair: tuple[int, int]) -> Cut | None:
    """Return the cut at the end of the bad path (the paper's baseline Direct-Revision); None as in `first_error`."""
    good, bad = pair
    return _drop_terminal_step(tree, Cut(tree.key, good, bad, tree.common_ancestor(good, bad), bad))


def _drop_terminal_step(tree: SearchTree, cut: Cut) -> Cut | None:
    """Move a cut back by one step if that step ended the episode in failure; None if no bad step remains."""
    if tree.nodes[cut.last].outcome == "failure":
        cut = replace(cut, last=tree.nodes[cut.last].parent)
    return None if cut.last == cut.fork else cut


def build_splice(tree: SearchTree, cut: Cut, revision: str, *, drop_refused: bool) -> Trajectory:
    """Build the splice of a cut as in the paper, with the observations recorded at the fork.

    Args:
        tree: Tree of the cut.
        cut: Where the paths are joined.
        revision: Revision thought.
        drop_refused: Whether to leave out refused steps of the good path.

    Returns:
        The splice, with an empty `parents`.
    """
    good = tree.steps(cut.good)[tree.depth(cut.fork) :]
    steps = join_steps(
        tree.steps(cut.last), good, tree.nodes[cut.last].observation, revision, drop_refused=drop_refused
    )
    return replace(tree.trajectory(cut.good, "splice"), steps=steps)


def join_steps(
    bad: Sequence[Step], good: Sequence[Step], observation: str, revision: str, *, drop_refused: bool
) -> tuple[Step, ...]:
    """Join bad steps (not trainable) and good steps (trainable).

    The revision thought is put before the thought of the first good step. This adds no action and no invented
    observation, unlike the paper's code, which inserts an action `wait` with the observation `ok.`.

    Args:
        bad: Steps of the bad path.
        good: Steps of the good path.
        observation: Observation after the bad steps, shown to the first good step.
        revision: Revision thought.
        drop_refused: Whether to leave out refused good steps.

    Returns:
        All steps in order.
    """
    kept = (drop_refused_steps(good) if drop_refused else ()) or tuple(good)
    first = kept[0]
    thought = f"{revision}\nThought: {first.thought}" if first.thought else revision
    revised = replace(first, observation=observation, thought=thought, text=None, token_ids=None, logprobs=None)
    return (
        *(replace(step, trainable=False) for step in bad),
        *(replace(step, trainable=True) for step in (revised, *kept[1:])),
    )


def first_divergence(env: AgentEnv, splice: Trajectory) -> int | None:
    """Play a splice and find its first step at which the environment answers differently.

    Args:
        env: Environment of the splice's task.
        splice: Splice to play.

    Returns:
        None if all observations, the outcome and the score match; else the number (from 0) of the first good step
        that gets another observation or cannot be played, or of the last step if only outcome or score differ.

    Raises:
        UsageError: A bad step differs, so the tree comes from another task or version of the environment.
        InfraError: The environment failed.
    """
    observation, info = env_calls.reset(env, splice.task)
    following = [step.observation for step in splice.steps[1:]] + [splice.final_observation]
    _refuse_other_version(splice, 0, splice.steps[0].observation, observation)
    ended = False
    for number, (step, expected) in enumerate(zip(splice.steps, following, strict=True)):
        if ended:
            return number
        observation, _, terminated, truncated, info = env_calls.step(env, step.action)
        if not step.trainable:
            _refuse_other_version(splice, number + 1, expected, observation)
        elif observation != expected:
            return number
        ended = terminated or truncated
    success = bool(info.get("success"))
    same = success == splice.success and float(info.get("score", success)) == splice.score
    return None if same else len(splice.steps) - 1


def check_splices(splices: Sequence[Trajectory], env: EnvSpec, retries: int = 2) -> list[SpliceStatus]:
    """Play splices and compare the observations with the recorded ones; retry after infrastructure failures."""

    def check(env: AgentEnv, splice: Trajectory) -> SpliceStatus:
        for _ in range(1 + retries):
            with contextlib.suppress(InfraError):
                return "verified" if first_divergence(env, splice) is None else "counterfactual"
        return "infra_error"

    with contextlib.closing(env.make()) as made:
        return [check(made, splice) for splice in splices]


def _refuse_other_version(splice: Trajectory, number: int, expected: str, observed: str) -> None:
    if observed != expected:
        raise UsageError(
            f"task {splice.task.id!r} shows {observed[:80]!r} after {number} steps; expected {expected[:80]!r} as in "
            "the search tree, which comes from another task or another version of the environment; use a new run folder"
        )


def splice_examples(splices: Sequence[Splice], agent: Agent) -> list[Example]:
    """Return the training examples of distinct splices; the weights of each task sum to 1."""
    by_task: dict[str, dict[tuple[tuple[str, bool], ...], Trajectory]] = {}
    for splice in splices:
        turns = tuple((step.action, step.trainable) for step in splice.trajectory.steps)
        by_task.setdefault(splice.trajectory.task.id, {}).setdefault(turns, splice.trajectory)
    return [
        Example(chat, 1.0 / (len(distinct) * len(chats)))
        for distinct in by_task.values()
        for chats in map(agent.chats, distinct.values())
        for chat in chats
    ]
