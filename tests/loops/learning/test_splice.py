"""Splices: which ends are paired, where they are cut, what is trained on, and whether the world plays along."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Message, ScriptedModel
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.react import ReActConfig, parse, render_chat, turn_text
from kintsugi.agents.registry import reader
from kintsugi.agents.search.tree import SearchTree
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.agents.verifier import MISTAKE, VerifierConfig
from kintsugi.errors import UsageError
from kintsugi.loops.learning.splice import Cut, first_error, pairs, replay, spliced, whole_path
from tiny_models import family
from vault_env import ACTIONS, Vault, grown

TASK, OTHER = Vault.tasks("train", 2)
GOOD = ("go cellar", "take key", "go hall", "open chest")
DETOUR = ("go cellar", "sing", "sing")
REFUSED = ("go cellar", "open chest", "take key", "burn key")
BURNT = ("go cellar", "take key", "burn key", "sing")
TREE = grown(TASK, [GOOD, DETOUR, REFUSED, BURNT])


def end_of(tree: SearchTree, *actions: str) -> int:
    at = 0
    for action in actions:
        at = next(child for child in tree.children[at] if tree.steps(child)[-1].action == action)
    return at


def cut_of(bad: tuple[str, ...], kept: int, tree: SearchTree = TREE) -> Cut:
    good, worse = end_of(tree, *GOOD), end_of(tree, *bad)
    return Cut(tree.key, good, worse, tree.common(good, worse), end_of(tree, *bad[:kept]), found=True)


# -- Pairs ------------------------------------------------------------------------------------------------------------


def with_scores(*scores: float) -> SearchTree:
    """A tree with one end of each score."""
    tree = grown(TASK, [("sing",) * (i + 1) + ("go cellar",) for i in range(len(scores))])
    ends = dict(zip(tree.ends(), scores, strict=True))
    nodes = tuple(replace(node, score=ends.get(i, 0.0)) for i, node in enumerate(tree.nodes))
    return replace(tree, nodes=nodes)


def scores_of(tree: SearchTree, found: list[tuple[int, int]]) -> set[tuple[float, float]]:
    return {(tree.nodes[good].score, tree.nodes[bad].score) for good, bad in found}


def test_a_good_end_is_worth_alpha_and_more_than_beta_above_the_bad_one():
    tree = with_scores(0.0, 0.4, 0.5, 0.7, 1.0)
    assert scores_of(tree, pairs(tree, 0.5, 0.2, 99, 0)) == {
        (0.5, 0.0),
        (0.7, 0.0),
        (0.7, 0.4),
        *((1.0, worse) for worse in (0.0, 0.4, 0.5, 0.7)),
    }
    assert scores_of(tree, pairs(tree, 0.7, 0.2, 99, 0)) == {
        (a, b) for a, b in scores_of(tree, pairs(tree, 0.5, 0.2, 99, 0)) if a >= 0.7
    }


def test_an_alpha_of_1_admits_a_reward_of_1():
    tree = with_scores(1.0, 0.9, 0.1)
    assert scores_of(tree, pairs(tree, 1.0, 0.2, 99, 0)) == {(1.0, 0.1)}


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0), (1.0, 1.0), (0.6, 0.5), (0.4, 0.0), (1.0,)])
def test_equal_ends_and_ends_too_near_make_no_pair(scores):
    assert pairs(with_scores(*scores), 0.5, 0.2, 99, 0) == []


def test_pairs_are_bounded_drawn_by_seed_and_take_each_bad_end_before_any_twice():
    tree = with_scores(1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    drawn = [pairs(tree, 1.0, 0.2, 3, seed) for seed in range(8)]
    assert all(len({bad for _, bad in found}) == len(found) == 3 for found in drawn)
    assert len({tuple(found) for found in drawn}) > 3
    assert pairs(tree, 1.0, 0.2, 3, 5) == drawn[5]
    assert len(pairs(tree, 1.0, 0.2, 99, 0)) == 9


# -- First error ------------------------------------------------------------------------------------------------------


def judged_by(script, bad: tuple[str, ...], tree: SearchTree = TREE):
    model = ScriptedModel(script)
    pair = end_of(tree, *GOOD), end_of(tree, *bad)
    return asyncio.run(first_error(model, tree, pair, VerifierConfig(max_tokens=200))), model


def says(bad: str):
    """A verifier that dislikes one action."""
    return lambda messages, _: (
        f"Thought: hm\nJudgement: {'Bad' if f'> {bad}' in messages[-1].content.splitlines()[-2] else 'Uncertain'}"
    )


def test_the_bad_path_ends_with_the_first_step_that_the_actor_calls_bad():
    cut, model = judged_by(says("take key"), REFUSED)
    assert (cut.fork, cut.last) == (end_of(TREE, "go cellar"), end_of(TREE, *REFUSED[:3]))
    assert (cut.judged, cut.unparsed, cut.found, model.calls) == (2, 0, True, 2)


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


def test_without_a_bad_step_the_whole_path_stays():
    cut, _ = judged_by(lambda *_: "Judgement: Good", REFUSED)
    assert (cut.last, cut.judged, cut.found) == (end_of(TREE, *REFUSED), 3, False)
    assert replace(cut, judged=0) == whole_path(TREE, (cut.good, cut.bad))


def test_answers_that_do_not_parse_are_counted_and_uncertain():
    cut, _ = judged_by(lambda messages, _: "dunno", REFUSED)
    assert (cut.judged, cut.unparsed, cut.found) == (3, 3, False)


def test_a_step_that_ends_the_episode_for_good_is_left_out():
    """Nothing can follow it; where it is all there is after the fork, there is no splice."""
    last = end_of(TREE, *REFUSED)
    failed = replace(
        TREE, nodes=tuple(replace(n, outcome="failure") if i == last else n for i, n in enumerate(TREE.nodes))
    )
    cut, _ = judged_by(says("burn key"), REFUSED, failed)
    assert cut.last == end_of(TREE, *REFUSED[:3])
    only = grown(TASK, [GOOD, (*GOOD[:3], "sing")])
    last = end_of(only, *GOOD[:3], "sing")
    only = replace(
        only, nodes=tuple(replace(n, outcome="failure") if i == last else n for i, n in enumerate(only.nodes))
    )
    assert whole_path(only, (end_of(only, *GOOD), last)) is None


# -- Splices ----------------------------------------------------------------------------------------------------------


def test_a_splice_is_a_bad_beginning_a_revision_and_a_good_ending():
    splice = spliced(TREE, cut_of(DETOUR, 2), MISTAKE, drop_refused=True)
    assert [step.action for step in splice.steps] == ["go cellar", "sing", *GOOD[1:]]
    assert [step.trainable for step in splice.steps] == [False, False, True, True, True]
    turn = splice.steps[2]
    assert turn.observation == TREE.nodes[end_of(TREE, *DETOUR[:2])].observation
    assert turn.thought == f"{MISTAKE}\nThought: I take key"
    assert (turn.text, turn.token_ids, turn.logprobs) == (None, None, None)
    assert parse(turn_text(turn)) == (turn.thought, "take key")
    assert (splice.source, splice.outcome, splice.score) == ("splice", "success", 1.0)
    assert splice.parents == (), "whoever knows the stage names them"
    assert replay(Vault(), splice) is None


def test_a_splice_is_of_the_agent_that_grew_the_tree():
    spec = AgentSpec("react", {"system": "Be brief."})
    tree = replace(TREE, agent=f"{spec.name}@scripted", made_by=spec)
    splice = spliced(tree, cut_of(DETOUR, 2, tree), MISTAKE, drop_refused=True)
    assert (splice.agent, splice.made_by, splice.model) == (tree.agent, spec, "scripted")
    [chat] = reader(splice.made_by).chats(splice)
    assert chat[0].content == "Be brief."


def test_refused_steps_of_the_good_path_are_left_out_if_asked():
    good = ("go cellar", "take key", "go hall", "take key", "open chest")
    tree = grown(TASK, [good, DETOUR])
    cut = Cut(
        tree.key, end_of(tree, *good), end_of(tree, *DETOUR), end_of(tree, "go cellar"), end_of(tree, *DETOUR[:2])
    )
    kept, whole = (spliced(tree, cut, MISTAKE, drop_refused=drop) for drop in (True, False))
    assert [s.action for s in kept.steps[2:]] == ["take key", "go hall", "open chest"]
    assert len(whole.steps) == len(kept.steps) + 1
    assert replay(Vault(), kept) is None is replay(Vault(), whole)


def test_a_step_without_a_thought_gets_the_revision_alone():
    nodes = tuple(replace(n, step=n.step and replace(n.step, thought="")) for n in TREE.nodes)
    splice = spliced(replace(TREE, nodes=nodes), cut_of(DETOUR, 2), MISTAKE, drop_refused=True)
    assert splice.steps[2].thought == MISTAKE


def test_what_cannot_be_undone_is_counterfactual():
    splice = spliced(TREE, cut_of(BURNT, 3), MISTAKE, drop_refused=True)
    assert [s.action for s in splice.steps] == ["go cellar", "take key", "burn key", "go hall", "open chest"]
    assert replay(Vault(), splice) == 3


def test_an_episode_that_is_over_before_the_good_ending_is_counterfactual():
    tree = grown(TASK, [GOOD, ("sing",) * 3], max_steps=5)
    splice = spliced(tree, cut_of(("sing",) * 3, 3, tree), MISTAKE, drop_refused=True)
    assert replay(Vault(max_steps=7), splice) is None
    assert replay(Vault(max_steps=5), splice) == 5
    assert replay(Vault(max_steps=2), splice) == 2


def test_a_tree_of_another_task_or_version_is_refused():
    splice = spliced(TREE, cut_of(DETOUR, 2), MISTAKE, drop_refused=True)
    with pytest.raises(UsageError, match="shows .*house 1.* after 0 steps where the search tree has .*house 0"):
        replay(Vault(), replace(splice, task=OTHER))

    class Newer(Vault):
        def act(self, action):
            return (f"Now: {super().act(action)[0]}", *super().act(action)[1:])

    with pytest.raises(UsageError, match="after 1 steps .* another version of the environment; search again"):
        replay(Newer(), splice)


# -- Laws -------------------------------------------------------------------------------------------------------------

WALKS = st.lists(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=6), min_size=1, max_size=4)


@st.composite
def splices(draw):
    """A tree with a good path that leaves somewhere, bad walks, and a cut anywhere on one of them."""
    tree = grown(TASK, [GOOD, *draw(WALKS)])
    found = [(g, b) for g, b in pairs(tree, 0.5, 0.2, 99, 0) if tree.nodes[g].outcome == "success"]
    if not found:
        return None
    good, bad = draw(st.sampled_from(found))
    fork = tree.common(good, bad)
    last = draw(st.sampled_from(tree.path(bad)[tree.depth(fork) + 1 :]))
    return tree, Cut(tree.key, good, bad, fork, last)


def played(actions):
    """What the world says to these actions, as far as it can be asked, and what they are worth."""
    env = Vault()
    seen, info = env.reset(options={"task": TASK})
    seen_texts, over = [seen], False
    for action in actions:
        if over:
            break
        seen, _, done, cut, info = env.step(action)
        seen_texts.append(seen)
        over = done or cut
    return seen_texts, info["score"]


@given(splices(), st.booleans())
def test_a_verified_splice_happens_as_written_and_any_other_does_not(found, drop):
    if found is None:
        return
    tree, cut = found
    splice = spliced(tree, cut, MISTAKE, drop_refused=drop)
    shown, worth = played([step.action for step in splice.steps])
    written = [*(step.observation for step in splice.steps), splice.final_observation]
    assert (replay(Vault(), splice) is None) == (shown == written and worth == splice.score == 1.0)


@given(splices(), st.sampled_from(["seed", "chatml", "trimmed"]))
def test_what_is_masked_is_exactly_the_bad_beginning_and_what_was_seen(found, template):
    if found is None:
        return
    tree, cut = found
    splice = spliced(tree, cut, MISTAKE, drop_refused=False)
    bad, good = tree.depth(cut.last), tree.depth(cut.good) - tree.depth(cut.fork)
    assert [step.trainable for step in splice.steps] == [False] * bad + [True] * good
    chat = render_chat(splice, ReActConfig())
    encoder: ChatEncoder = family(template)
    encoded = encoder.encode(chat, generate=False)
    trained = encoder.tokenizer.decode([i for i, on in zip(encoded.ids, encoded.mask, strict=True) if on])
    turns = [turn_text(step) for step in splice.steps if step.trainable]
    assert trained == "".join(turn + encoder.eos for turn in turns)
    masked = [m for m in chat if m.role != "assistant" or not m.trainable]
    assert len(chat) - len(masked) == good
    assert all(isinstance(m, Message) for m in masked)
