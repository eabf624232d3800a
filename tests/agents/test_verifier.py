"""Verifier: prompts, parsing of judgements, and truncation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.trajectory import Step
from kintsugi.agents.verifier import (
    VerifierConfig,
    judge_steps,
    opening_messages,
    parse_judgement,
    render_step,
    verifier_prompt,
    whole_chats,
)
from kintsugi.envs import AgentEnv, find
from kintsugi.errors import TooLongError
from tiny_envs import Wordy

STEPS = [Step(f"seen {i}", f"thought {i}", f"do {i}") for i in range(6)]
CONFIG = VerifierConfig(max_tokens=200)


@pytest.mark.parametrize(
    ("answer", "judgement"),
    [
        ("Thought: fine.\nJudgement: Good", "good"),
        ("Thought: it broke.\nJudgement: Bad\n", "bad"),
        ("judgement: <Uncertain>", "uncertain"),
        ("**Judgement:** Bad.", "bad"),
        ("Judgement: Good\nOn second thoughts.\nJudgement: Bad", "bad"),
    ],
)
def test_parse_judgement(answer, judgement):
    result = parse_judgement(answer)
    assert (result.judgement, result.parsed, result.text) == (judgement, True, answer)


@pytest.mark.parametrize(
    "answer", ["", "Good", "Judgement:", "Judgement: Goodish", "My Judgement: Bad", "Judgment: Bad"]
)
def test_unparsable_answers_are_uncertain(answer):
    result = parse_judgement(answer)
    assert (result.judgement, result.parsed, result.text) == ("uncertain", False, answer)


@pytest.mark.parametrize(
    ("env_id", "verifier_instructions"),
    [
        *(
            (f"kintsugi/{name}-v0", find(name.lower()).load().verifier_instructions)
            for name in ("Household", "Code", "Web")
        ),
        (Wordy.env_id, Wordy.verifier_instructions),
        ("mine/Garden-v0", AgentEnv.verifier_instructions),
    ],
)
def test_system_prompt_of_environment_or_configuration(env_id, verifier_instructions):
    prompt = verifier_prompt(env_id, CONFIG)
    assert prompt.startswith(verifier_instructions)
    assert (verifier_instructions == AgentEnv.verifier_instructions) == (env_id == "mine/Garden-v0")
    for word in ("Good", "Bad", "Uncertain"):
        assert f"'Judgement: {word}'" in prompt
    assert verifier_prompt(env_id, replace(CONFIG, prompt="Judge.")) == "Judge."


def test_opening_messages_show_task_context_and_step_without_thoughts():
    system, user = opening_messages("mine/Garden-v0", "dig.", STEPS[:3], STEPS[3], "seen 4", CONFIG)
    assert system.content == verifier_prompt("mine/Garden-v0", CONFIG)
    assert user.content == (
        "seen 0\nYour task is to: dig.\n> do 0\nseen 1\n> do 1\nseen 2\n> do 2\nseen 3\n"
        "Judge from here on.\n> do 3\nseen 4"
    )
    _, user = opening_messages(
        "mine/Garden-v0", "dig.", [], replace(STEPS[0], observation="Please dig."), "seen 1", CONFIG
    )
    assert user.content == "Please dig.\nJudge from here on.\n> do 0\nseen 1"


def test_long_context_is_cut_to_its_last_turns():
    _, user = opening_messages("mine/Garden-v0", "dig.", STEPS[:5], STEPS[5], "end", replace(CONFIG, max_turns=2))
    assert user.content.split("\n")[2:6] == ["> do 3", "seen 4", "> do 4", "seen 5"]


def test_context_is_halved_until_it_fits():
    step_counts = []

    class Narrow(ScriptedModel):
        async def complete(self, messages, sampling):
            step_counts.append(messages[-1].content.count("> "))
            if step_counts[-1] > 2:
                raise TooLongError("no room")
            return await super().complete(messages, sampling)

    model = Narrow(lambda *_: "Judgement: Bad")
    judgements = asyncio.run(judge_steps(model, "mine/Garden-v0", "dig.", STEPS[:5], STEPS[5:], "end", CONFIG))
    assert ([each.judgement for each in judgements], step_counts) == (["bad"], [6, 3, 2])
    step_counts.clear()

    class Blind(ScriptedModel):
        async def complete(self, messages, sampling):
            step_counts.append(messages[-1].content.count("> "))
            raise TooLongError("no room")

    judgements = asyncio.run(judge_steps(Blind([""]), "mine/Garden-v0", "dig.", STEPS[:5], STEPS[5:], "end", CONFIG))
    assert ([(each.judgement, each.parsed) for each in judgements], step_counts) == (
        [("uncertain", False)],
        [6, 3, 2, 1],
    )


def test_chat_restarts_with_shorter_context_when_it_exceeds_the_window():
    step_counts = []

    class Narrow(ScriptedModel):
        async def complete(self, messages, sampling):
            step_counts.append([m.content.count("> ") for m in messages if m.role == "user"])
            if sum(step_counts[-1]) > 3:
                raise TooLongError("no room")
            return await super().complete(messages, sampling)

    model = Narrow(lambda *_: "Judgement: Good")
    judgements = asyncio.run(judge_steps(model, "mine/Garden-v0", "dig.", STEPS[:1], STEPS[1:5], "end", CONFIG))
    assert len(judgements) == 4
    assert step_counts == [[2], [2, 1], [2, 1, 1], [4], [2], [2, 1]]
    chats = whole_chats(judgements)
    assert [[m.content.count("> ") for m in chat if m.role == "user"] for chat in chats] == [[2, 1], [2, 1]]
    assert [sum(m.role == "assistant" for m in chat) for chat in chats] == [2, 2]


def test_only_answers_that_parsed_are_trainable():
    texts = iter(["Judgement: Good", "Well.", "Judgement: Bad"])
    judgements = asyncio.run(
        judge_steps(ScriptedModel(lambda *_: next(texts)), "mine/Garden-v0", "dig.", [], STEPS[:4], "end", CONFIG)
    )
    [chat] = whole_chats(judgements)
    answers = [m for m in chat if m.role == "assistant"]
    assert [(m.content, m.trainable) for m in answers] == [
        ("Judgement: Good", True),
        ("Well.", False),
        ("Judgement: Bad", True),
    ]
    assert all(m.token_ids == tuple(m.content.encode()) for m in answers)
    mute = judge_steps(ScriptedModel(["Well."]), "mine/Garden-v0", "dig.", [], STEPS[:2], "end", CONFIG)
    assert whole_chats(asyncio.run(mute)) == []


def judge_all(script, steps=STEPS[2:], **changes):
    model = ScriptedModel(script)
    judgements = asyncio.run(
        judge_steps(model, "mine/Garden-v0", "dig.", STEPS[:2], steps, "end", replace(CONFIG, **changes))
    )
    return [each.judgement for each in judgements], model


def test_steps_are_judged_in_one_chat_up_to_the_first_bad_one():
    chats = []

    def script(messages, sampling):
        chats.append([m.content for m in messages])
        assert sampling.temperature == 0
        return f"Judgement: {'Bad' if '> do 4' in messages[-1].content else 'Good'}"

    assert judge_all(script)[0] == ["good", "good", "bad"]
    assert chats[2] == [*chats[1], "Judgement: Good", "> do 4\nseen 5"]
    assert chats[1] == [*chats[0], "Judgement: Good", render_step(STEPS[3], "seen 4")]


def test_all_steps_are_judged_if_none_is_bad():
    judgements, model = judge_all(lambda messages, _: "Judgement: Uncertain" if "end" in messages[-1].content else "hm")
    assert (judgements, model.calls) == (["uncertain"] * 4, 4)


def test_earlier_answers_keep_their_sampled_tokens():
    prompts = []

    def script(messages, sampling):
        prompts.append(list(messages))
        return "Judgement: Good"

    judge_all(script)
    answers = [m for m in prompts[-1] if m.role == "assistant"]
    assert all(m.token_ids == tuple(m.content.encode()) for m in answers)
    assert len(answers) == 3
