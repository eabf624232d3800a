"""Splices: pairs of ends, cuts at the first error, loss masks, and comparison with the environment's answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Message, ScriptedModel
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.react import ReActConfig, parse, render_chat, turn_text
from kintsugi.agents.registry import make_reader
from kintsugi.agents.search.tree import SearchTree
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.agents.verifier import REVISION_THOUGHT, VerifierConfig
from kintsugi.errors import UsageError
from kintsugi.loops.learning.splice import Cut, build_splice, first_divergence, first_error, pair_ends, whole_bad_path
from tiny_models import encoder_of
from vault_env import ACTIONS, Vault, build_tree

TASK, OTHER = Vault.tasks("train", 2)
GOOD = ("go cellar", "take key", "go hall", "open chest")
DETOUR = ("go cellar", "sing", "sing")
REFUSED = ("go cellar", "open chest", "take key", "burn key")
BURNT = ("go cellar", "take key", "burn key", "sing")
TREE = build_tree(TASK, [GOOD, DETOUR, REFUSED, BURNT])


def end_of(tree: SearchTree, *actions: str) -> int:
    at = 0
    for action in actions:
        at = next(child for child in tree.children[at] if tree.steps(child)[-1].action == action)
    return at


def cut_of(bad: tuple[str, ...], kept: int, tree: SearchTree = TREE) -> Cut:
    good, worse = end_of(tree, *GOOD), end_of(tree, *bad)
    return Cut(tree.key, good, worse, tree.common_ancestor(good, worse), end_of(tree, *bad[:kept]), error_found=True)


# -- Pairs ------------------------------------------------------------------------------------------------------------


def with_scores(*scores: float) -> SearchTree:
    """A tree with one end per score."""
    tree = build_tree(TASK, [("sing",) * (i + 1) + ("go cellar",) for i in range(len(scores))])
    ends = dict(zip(tree.ends(), scores, strict=True))
    nodes = tuple(replace(node, score=ends.get(i, 0.0)) for i, node in enumerate(tree.nodes))
    return replace(tree, nodes=nodes)


def scores_of(tree: SearchTree, found: list[tuple[int, int]]) -> set[tuple[float, float]]:
    return {(tree.nodes[good].score, tree.nodes[bad].score) for good, bad in found}


def test_a_good_end_scores_at_least_alpha_and_more_than_beta_above_the_bad_one():
    tree = with_scores(0.0, 0.4, 0.5, 0.7, 1.0)
    assert scores_of(tree, pair_ends(tree, 0.5, 0.2, 99, 0)) == {
        (0.5, 0.0),
        (0.7, 0.0),
        (0.7, 0.4),
        *((1.0, worse) for worse in (0.0, 0.4, 0.5, 0.7)),
    }
    assert scores_of(tree, pair_ends(tree, 0.7, 0.2, 99, 0)) == {
        (a, b) for a, b in scores_of(tree, pair_ends(tree, 0.5, 0.2, 99, 0)) if a >= 0.7
    }


def test_an_alpha_of_1_accepts_a_score_of_1():
    tree = with_scores(1.0, 0.9, 0.1)
    assert scores_of(tree, pair_ends(tree, 1.0, 0.2, 99, 0)) == {(1.0, 0.1)}


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0), (1.0, 1.0), (0.6, 0.5), (0.4, 0.0), (1.0,)])
def test_ends_with_equal_or_close_scores_make_no_pair(scores):
    assert pair_ends(with_scores(*scores), 0.5, 0.2, 99, 0) == []


def test_pairs_are_limited_seeded_and_use_each_bad_end_before_any_twice():
    tree = with_scores(1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    drawn = [pair_ends(tree, 1.0, 0.2, 3, seed) for seed in range(8)]
    assert all(len({bad for _, bad in found}) == len(found) == 3 for found in drawn)
    assert len({tuple(found) for found in drawn}) > 3
    assert pair_ends(tree, 1.0, 0.2, 3, 5) == drawn[5]
    assert len(pair_ends(tree, 1.0, 0.2, 99, 0)) == 9


# -- First error ------------------------------------------------------------------------------------------------------


def judged_by(script, bad: tuple[str, ...], tree: SearchTree = TREE):
    model = ScriptedModel(script)
    pair = end_of(tree, *GOOD), end_of(tree, *bad)
    cut, _ = asyncio.run(first_error(model, tree, pair, VerifierConfig(max_tokens=200)))
    return cut, model


def calls_bad(action: str):
    """A verifier that judges one action Bad and all others Uncertain."""
    return lambda messages, _: (
        f"Thought: hm\nJudgement: {'Bad' if f'> {action}' in messages[-1].content.splitlines()[-2] else 'Uncertain'}"
    )


def test_the_cut_is_at_the_first_step_that_the_verifier_judges_bad():
    cut, model = judged_by(calls_bad("take key"), REFUSED)
    assert (cut.fork, cut.last) == (end_of(TREE, "go cellar"), end_of(TREE, *REFUSED[:3]))
    assert (cut.judged, cut.unparsed, cut.error_found, model.calls) == (2, 0, True, 2)


def test_steps_before_the_fork_are_shown_but_not_judged():
    seen = []

    def script(messages, sampling):
        seen.append(messages)
        return "Judgement: Bad"

    cut, _ = judged_by(script, BURNT)
    assert cut.fork == end_of(TREE, "go cellar", "take key")
    log, judged = seen[0][1].content.split("Judge from here on.\n")
    assert "> go cellar\n" in log
    assert "> take key\n" in log
    assert "burn" not in log
    assert judged.startswith("> burn key\nYou burn key.")


def test_without_a_bad_step_the_whole_path_is_kept():
    cut, _ = judged_by(lambda *_: "Judgement: Good", REFUSED)
    assert (cut.last, cut.judged, cut.error_found) == (end_of(TREE, *REFUSED), 3, False)
    assert replace(cut, judged=0) == whole_bad_path(TREE, (cut.good, cut.bad))


def test_answers_that_do_not_parse_are_counted_and_taken_as_uncertain():
    cut, _ = judged_by(lambda messages, _: "dunno", REFUSED)
    assert (cut.judged, cut.unparsed, cut.error_found) == (3, 3, False)


def test_a_step_that_ends_the_episode_is_left_out():
    """No step can follow it. If it is the only step after the fork, there is no splice."""
    last = end_of(TREE, *REFUSED)
    failed = replace(
        TREE, nodes=tuple(replace(n, outcome="failure") if i == last else n for i, n in enumerate(TREE.nodes))
    )
    cut, _ = judged_by(calls_bad("burn key"), REFUSED, failed)
    assert cut.last == end_of(TREE, *REFUSED[:3])
    only = build_tree(TASK, [GOOD, (*GOOD[:3], "sing")])
    last = end_of(only, *GOOD[:3], "sing")
    only = replace(
        only, nodes=tuple(replace(n, outcome="failure") if i == last else n for i, n in enumerate(only.nodes))
    )
    assert whole_bad_path(only, (end_of(only, *GOOD), last)) is None


# -- Splices ----------------------------------------------------------------------------------------------------------


def test_a_splice_consists_of_bad_steps_a_revision_and_good_steps():
    splice = build_splice(TREE, cut_of(DETOUR, 2), REVISION_THOUGHT, drop_refused=True)
    assert [step.action for step in splice.steps] == ["go cellar", "sing", *GOOD[1:]]
    assert [step.trainable for step in splice.steps] == [False, False, True, True, True]
    revised = splice.steps[2]
    assert revised.observation == TREE.nodes[end_of(TREE, *DETOUR[:2])].observation
    assert revised.thought == f"{REVISION_THOUGHT}\nThought: I take key"
    assert (revised.text, revised.token_ids, revised.logprobs) == (None, None, None)
    assert parse(turn_text(revised)) == (revised.thought, "take key")
    assert (splice.source, splice.outcome, splice.score) == ("splice", "success", 1.0)
    assert splice.parents == (), "the loop adds them, because they contain the stage"
    assert first_divergence(Vault(), splice) is None


def test_a_splice_belongs_to_the_agent_that_searched_the_tree():
    spec = AgentSpec("react", {"system": "Be brief."})
    tree = replace(TREE, agent=f"{spec.name}@scripted", made_by=spec)
    splice = build_splice(tree, cut_of(DETOUR, 2, tree), REVISION_THOUGHT, drop_refused=True)
    assert (splice.agent, splice.made_by, splice.model) == (tree.agent, spec, "scripted")
    [chat] = make_reader(splice.made_by).chats(splice)
    assert chat[0].content == "Be brief."


def test_refused_steps_of_the_good_path_can_be_left_out():
    good = ("go cellar", "take key", "go hall", "take key", "open chest")
    tree = build_tree(TASK, [good, DETOUR])
    cut = Cut(
        tree.key, end_of(tree, *good), end_of(tree, *DETOUR), end_of(tree, "go cellar"), end_of(tree, *DETOUR[:2])
    )
    kept, whole = (build_splice(tree, cut, REVISION_THOUGHT, drop_refused=drop) for drop in (True, False))
    assert [s.action for s in kept.steps[2:]] == ["take key", "go hall", "open chest"]
    assert len(whole.steps) == len(kept.steps) + 1
    assert first_divergence(Vault(), kept) is None is first_divergence(Vault(), whole)


def test_a_step_without_a_thought_gets_only_the_revision():
    nodes = tuple(replace(n, step=n.step and replace(n.step, thought="")) for n in TREE.nodes)
    splice = build_splice(replace(TREE, nodes=nodes), cut_of(DETOUR, 2), REVISION_THOUGHT, drop_refused=True)
    assert splice.steps[2].thought == REVISION_THOUGHT


def test_a_splice_after_an_irreversible_action_diverges():
    splice = build_splice(TREE, cut_of(BURNT, 3), REVISION_THOUGHT, drop_refused=True)
    assert [s.action for s in splice.steps] == ["go cellar", "take key", "burn key", "go hall", "open chest"]
    assert first_divergence(Vault(), splice) == 3


def test_a_splice_that_ends_before_its_last_step_diverges():
    tree = build_tree(TASK, [GOOD, ("sing",) * 3], max_steps=5)
    splice = build_splice(tree, cut_of(("sing",) * 3, 3, tree), REVISION_THOUGHT, drop_refused=True)
    assert first_divergence(Vault(max_steps=7), splice) is None
    assert first_divergence(Vault(max_steps=5), splice) == 5
    assert first_divergence(Vault(max_steps=2), splice) == 2


def test_a_tree_of_another_task_or_version_is_refused():
    splice = build_splice(TREE, cut_of(DETOUR, 2), REVISION_THOUGHT, drop_refused=True)
    with pytest.raises(UsageError, match="shows .*house 1.* after 0 steps; expected .*house 0"):
        first_divergence(Vault(), replace(splice, task=OTHER))

    class Newer(Vault):
        def act(self, action):
            return (f"Now: {super().act(action)[0]}", *super().act(action)[1:])

    with pytest.raises(UsageError, match="after 1 steps; .* another version of the environment; use a new run"):
        first_divergence(Newer(), splice)


# -- Properties -------------------------------------------------------------------------------------------------------

WALKS = st.lists(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=6), min_size=1, max_size=4)


@st.composite
def splices(draw):
    """A tree with a good path and random bad paths, and a cut anywhere on one of these; None without a pair."""
    tree = build_tree(TASK, [GOOD, *draw(WALKS)])
    found = [(g, b) for g, b in pair_ends(tree, 0.5, 0.2, 99, 0) if tree.nodes[g].outcome == "success"]
    if not found:
        return None
    good, bad = draw(st.sampled_from(found))
    fork = tree.common_ancestor(good, bad)
    last = draw(st.sampled_from(tree.path(bad)[tree.depth(fork) + 1 :]))
    return tree, Cut(tree.key, good, bad, fork, last)


def played(actions):
    """Observations and final score of these actions, played until the episode ends."""
    env = Vault()
    observation, info = env.reset(options={"task": TASK})
    observations, ended = [observation], False
    for action in actions:
        if ended:
            break
        observation, _, terminated, truncated, info = env.step(action)
        observations.append(observation)
        ended = terminated or truncated
    return observations, info["score"]


@given(splices(), st.booleans())
def test_a_splice_diverges_exactly_if_its_record_differs_from_the_environment(found, drop):
    if found is None:
        return
    tree, cut = found
    splice = build_splice(tree, cut, REVISION_THOUGHT, drop_refused=drop)
    observations, score = played([step.action for step in splice.steps])
    recorded = [*(step.observation for step in splice.steps), splice.final_observation]
    assert (first_divergence(Vault(), splice) is None) == (observations == recorded and score == splice.score == 1.0)


@given(splices(), st.sampled_from(["seed", "chatml", "trimmed"]))
def test_exactly_the_bad_steps_and_all_observations_are_masked(found, template):
    if found is None:
        return
    tree, cut = found
    splice = build_splice(tree, cut, REVISION_THOUGHT, drop_refused=False)
    bad, good = tree.depth(cut.last), tree.depth(cut.good) - tree.depth(cut.fork)
    assert [step.trainable for step in splice.steps] == [False] * bad + [True] * good
    chat = render_chat(splice, ReActConfig())
    encoder: ChatEncoder = encoder_of(template)
    encoded = encoder.encode(chat, generate=False)
    trained = encoder.tokenizer.decode([i for i, on in zip(encoded.ids, encoded.mask, strict=True) if on])
    turns = [turn_text(step) for step in splice.steps if step.trainable]
    assert trained == "".join(turn + encoder.eos for turn in turns)
    masked = [m for m in chat if m.role != "assistant" or not m.trainable]
    assert len(chat) - len(masked) == good
    assert all(isinstance(m, Message) for m in masked)
