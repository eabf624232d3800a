"""The code corpus: failed and mended attempts, masked mistakes, and reflections that use only visible text."""

from __future__ import annotations

import functools
import random

import pytest
from kintsugi.agents.experts.code import read_goal, step_expression
from kintsugi.agents.react import ReActConfig, parse
from kintsugi.agents.reflector import REFLECTION_PREFIX, failure_digest
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.code.family.generator import write_solution
from kintsugi.loops.seeds.code import FAMILY, chain_of, demonstrate, failed_and_mended, faulty_solution
from kintsugi.loops.seeds.family import Corpus, Mended, SeedRecipe, write_corpus
from kintsugi.loops.seeds.tokenizer import learn_tokenizer

pytestmark = pytest.mark.requires("sandbox")
RECIPE = SeedRecipe(family="code", demonstrations=24, reflections=24)


@functools.cache
def pairs() -> list[Mended]:
    found = [failed_and_mended(task, number) for number, task in enumerate(CodeEnv.tasks("train", 36, seed=4321))]
    return [pair for pair in found if pair is not None]


@functools.cache
def corpus() -> Corpus:
    return write_corpus(FAMILY, RECIPE, lambda share: None)


def test_failures_fail_and_mended_attempts_pass():
    assert len(pairs()) > 18
    for failure, _, passed in pairs():
        assert failure.task == passed.task
        assert failure.outcome in ("failure", "truncated")
        assert passed.success
        assert passed.source == "reflection"
    assert {failure.outcome for failure, _, _ in pairs()} == {"failure", "truncated"}


def test_reflections_name_a_step_that_the_last_solution_gets_wrong():
    for failure, text, _ in pairs():
        phrases, chain = read_goal(failure.goal)
        named = {
            f"{REFLECTION_PREFIX} written {step_expression(step)} to {phrase}.": i
            for i, (step, phrase) in enumerate(zip(chain, phrases, strict=True))
        }
        assert text in named
        shown = failure_digest(failure, 40, ReActConfig())
        assert phrases[named[text]] in shown
        last = [step.action for step in failure.steps if step.action.startswith("write")][-1]
        assert last in shown
        assert last != f"write {write_solution(chain)}"


def test_all_actions_are_trained_and_mistakes_are_masked():
    acting = [chat for chat in corpus().chats if not any(m.content.startswith(REFLECTION_PREFIX) for m in chat)]
    turns = [message for chat in acting for message in chat if message.role == "assistant"]
    assert {parse(turn.content)[1].split()[0] for turn in turns} == {"write", "test", "submit"}
    assert all(all(parse(turn.content)) for turn in turns)
    assert any("Step 1 should" in turn.content and turn.trainable for turn in turns)
    for demonstration in corpus().demonstrations:
        right = f"write {demonstration.task.params['solution']}"
        writes = [step for step in demonstration.steps if step.action.startswith("write")]
        assert [step.trainable for step in writes] == [step.action == right for step in writes]
        assert writes[-1].trainable
    assert any(not step.trainable for d in corpus().demonstrations for step in d.steps)
    assert len(acting) == len(corpus().demonstrations) == 24 < len(corpus().chats)


def test_the_corpus_is_deterministic():
    again = write_corpus(FAMILY, RECIPE, lambda share: None)
    assert again == corpus()
    assert demonstrate(next(iter(CodeEnv.tasks("train", 1))), 3) == demonstrate(
        next(iter(CodeEnv.tasks("train", 1))), 3
    )


def test_demonstrations_share_no_tasks_with_practice_and_held_out_tasks():
    shown = {d.task.hash for d in corpus().demonstrations}
    assert {d.task.split for d in corpus().demonstrations} == {"train"}
    for seed in range(3):
        assert not shown & {task.hash for task in CodeEnv.tasks("train", 300, seed)}


def test_mistakes_are_of_all_kinds():
    tasks, rng = list(CodeEnv.tasks("train", 60, seed=9)), random.Random(1)
    wrong = [(chain_of(task), faulty_solution(chain_of(task), rng)) for task in tasks for _ in range(5)]
    assert all(text != write_solution(chain) for chain, text in wrong)
    counts = {text.count(";") - len(chain) for chain, text in wrong}
    assert {0, -1} <= counts
    broken = 0
    for _, text in wrong:
        try:
            compile(text, "solution", "exec")
        except SyntaxError:
            broken += 1
    assert 0 < broken < len(wrong) / 3


def test_tokens_are_words_operators_and_names():
    tokenizer = learn_tokenizer(
        (m.content for chat in corpus().chats for m in chat),
        single_tokens=FAMILY.single_tokens,
        phrase_tokens=FAMILY.phrase_tokens,
        min_count=2,
    )
    text = " def f(x): x = [v + 3 for v in x]; x = sum(x); return x"
    pieces = [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]
    assert pieces[:4] == [" def f(x): x =", " [", "v", " +"]
    assert pieces[-7:] == ["]", "; x =", " sum", "(", "x", ")", "; return x"]
    for chat in corpus().chats:
        for message in chat:
            assert tokenizer.decode(tokenizer(message.content)["input_ids"]) == message.content
            if message.role == "assistant":
                assert len(tokenizer(message.content)["input_ids"]) < CodeEnv.metadata["turn_tokens"]
