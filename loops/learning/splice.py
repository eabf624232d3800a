"""Splices: a bad beginning, the thought that takes it back, a good ending; and whether that can happen at all.

Agent-R (Yuan et al., 2025), section 3.2. A good and a bad path of one tree part at a node, the fork:

    root ... fork, bad steps up to the first error       seen, not trained on
    revision thought + first good step after the fork    trained on
    the other good steps                                 trained on, their observations never

The paper writes down what the good steps were answered *at the fork*. After the bad steps the world may be another one:
`replay` says whether it answers as written.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...agents.models.core import LanguageModel, derived_seed
from ...agents.react import without_refused
from ...agents.search.tree import SearchTree
from ...agents.trajectory import Step, Trajectory
from ...agents.verifier import Judged, VerifierConfig, judge
from ...envs.core import AgentEnv
from ...errors import UsageError


@dataclass(frozen=True)
class Cut:
    """Where a bad and a good path of one tree are joined. Numbers are of nodes."""

    tree: str
    """`SearchTree.key`."""
    good: int
    """End of the good path."""
    bad: int
    """End of the bad path."""
    fork: int
    """The last node that both share."""
    last: int
    """The last node of the bad path that stays: its first error, or its end."""
    judged: int = 0
    """Steps that the verifier was asked about."""
    unparsed: int = 0
    """Answers of it that could not be read and count as uncertain."""
    found: bool = False
    """Whether a step was judged bad; if none was, the whole bad path stays, as in Direct-Revision."""


def pairs(tree: SearchTree, alpha: float, beta: float, most: int, seed: int) -> list[tuple[int, int]]:
    """(good, bad) ends of a tree: good is worth `alpha` or more, and more than `beta` above bad.

    `most` of them, drawn by `seed`; no bad end comes twice before each has come once. None when all ends are worth the
    same.
    """
    worth = {end: tree.nodes[end].score for end in tree.ends() if tree.nodes[end].outcome != "infra_error"}
    fitting = [(g, b) for g, b in itertools.permutations(worth, 2) if worth[g] >= alpha and worth[g] - worth[b] > beta]
    random.Random(derived_seed(seed, "pairs", tree.key)).shuffle(fitting)
    drawn = Counter[int]()

    def turn(pair: tuple[int, int]) -> int:
        drawn[pair[1]] += 1
        return drawn[pair[1]]

    return sorted(fitting, key=turn)[:most]


async def first_error(
    model: LanguageModel, tree: SearchTree, pair: tuple[int, int], config: VerifierConfig
) -> Cut | None:
    """Ask the actor where the bad path went wrong; None when that is a step that nothing can follow.

    Steps before the fork are not asked about: they lead to the good end as well.
    """
    good, bad = pair
    fork = tree.common(good, bad)
    path = tree.path(bad)[tree.depth(fork) + 1 :]
    steps = [step for step in (tree.nodes[number].step for number in path) if step is not None]
    known, last = tree.steps(fork), tree.nodes[bad].observation
    judged: list[Judged] = await judge(model, tree.task.env_id, tree.goal, known, steps, last, config)
    found = judged[-1].judgement == "bad"
    cut = Cut(
        tree.key,
        good,
        bad,
        fork,
        path[len(judged) - 1],
        judged=len(judged),
        unparsed=sum(not answer.parsed for answer in judged),
        found=found,
    )
    return _followable(tree, cut)


def whole_path(tree: SearchTree, pair: tuple[int, int]) -> Cut | None:
    """Direct-Revision: the whole bad path stays."""
    good, bad = pair
    return _followable(tree, Cut(tree.key, good, bad, tree.common(good, bad), bad))


def _followable(tree: SearchTree, cut: Cut) -> Cut | None:
    """A step that ended the episode for good is left out, for nothing can follow it."""
    if tree.nodes[cut.last].outcome == "failure":
        cut = replace(cut, last=tree.nodes[cut.last].parent)
    return None if cut.last == cut.fork else cut


def spliced(tree: SearchTree, cut: Cut, revision: str, *, drop_refused: bool) -> Trajectory:
    """The splice as the paper writes it down: its good steps show what they were answered at the fork.

    Whoever knows where the tree is kept names its `parents`.
    """
    good = tree.steps(cut.good)[tree.depth(cut.fork) :]
    steps = joined(tree.steps(cut.last), good, tree.nodes[cut.last].observation, revision, drop_refused=drop_refused)
    return replace(tree.trajectory(cut.good, "splice"), steps=steps)


def joined(
    bad: Sequence[Step], good: Sequence[Step], seen: str, revision: str, *, drop_refused: bool
) -> tuple[Step, ...]:
    """`bad` untrained, then `good`, whose first step sees what `bad` led to and thinks `revision` before its own
    thought.

    A revision costs no action and the environment no invented answer (the original's `wait` and `ok.`). With
    `drop_refused`, refused steps of `good` are left out.
    """
    kept = (without_refused(good) if drop_refused else ()) or tuple(good)
    first = kept[0]
    thought = f"{revision}\nThought: {first.thought}" if first.thought else revision
    turn = replace(first, observation=seen, thought=thought, text=None, token_ids=None, logprobs=None)
    return (
        *(replace(step, trainable=False) for step in bad),
        *(replace(step, trainable=True) for step in (turn, *kept[1:])),
    )


def replay(env: AgentEnv, splice: Trajectory) -> int | None:
    """Play a splice; None when the environment answers every step, and ends, as it says.

    Otherwise the number of its first step (from 0) that is answered, or can be played, in no such way. Raises
    `UsageError` when that is a step before the good ones: then the tree was grown in another task or version.
    """
    observation, info = env.reset(options={"task": splice.task})
    after = [step.observation for step in splice.steps[1:]] + [splice.final_observation]
    _refuse_other_world(splice, 0, splice.steps[0].observation, observation)
    ended = False
    for number, (step, expected) in enumerate(zip(splice.steps, after, strict=True)):
        if ended:
            return number
        observation, _, done, cut, info = env.step(step.action)
        if not step.trainable:
            _refuse_other_world(splice, number + 1, expected, observation)
        elif observation != expected:
            return number
        ended = done or cut
    success = bool(info.get("success"))
    same = success == splice.success and float(info.get("score", success)) == splice.score
    return None if same else len(splice.steps) - 1


def _refuse_other_world(splice: Trajectory, number: int, expected: str, seen: str) -> None:
    if seen != expected:
        raise UsageError(
            f"task {splice.task.id!r} shows {seen[:80]!r} after {number} steps where the search tree has "
            f"{expected[:80]!r}: it was grown in another task or in another version of the environment; "
            "search again in a new run folder"
        )
