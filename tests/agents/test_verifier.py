"""The verifier: how steps are shown, how answers are read, and where it stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.trajectory import Step
from kintsugi.agents.verifier import (
    VerifierConfig,
    judge,
    opening,
    parse_judgement,
    step_shown,
    verifier_prompt,
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
def test_answers_that_can_be_read(answer, judgement):
    found = parse_judgement(answer)
    assert (found.judgement, found.parsed, found.text) == (judgement, True, answer)


@pytest.mark.parametrize(
    "answer", ["", "Good", "Judgement:", "Judgement: Goodish", "My Judgement: Bad", "Judgment: Bad"]
)
def test_answers_that_cannot_are_uncertain_and_say_so(answer):
    found = parse_judgement(answer)
    assert (found.judgement, found.parsed, found.text) == ("uncertain", False, answer)


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
def test_each_environment_has_its_prompt_and_a_configured_one_goes_first(env_id, verifier_instructions):
    prompt = verifier_prompt(env_id, CONFIG)
    assert prompt.startswith(verifier_instructions)
    assert (verifier_instructions == AgentEnv.verifier_instructions) == (env_id == "mine/Garden-v0")
    for word in ("Good", "Bad", "Uncertain"):
        assert f"'Judgement: {word}'" in prompt
    assert verifier_prompt(env_id, replace(CONFIG, prompt="Judge.")) == "Judge."


def test_the_opening_shows_task_log_and_step_and_no_thoughts():
    system, user = opening("mine/Garden-v0", "dig.", STEPS[:3], STEPS[3], "seen 4", CONFIG)
    assert system.content == verifier_prompt("mine/Garden-v0", CONFIG)
    assert user.content == (
        "seen 0\nYour task is to: dig.\n> do 0\nseen 1\n> do 1\nseen 2\n> do 2\nseen 3\n"
        "Judge from here on.\n> do 3\nseen 4"
    )
    _, said = opening("mine/Garden-v0", "dig.", [], replace(STEPS[0], observation="Please dig."), "seen 1", CONFIG)
    assert said.content == "Please dig.\nJudge from here on.\n> do 0\nseen 1"


def test_of_a_long_log_the_last_turns_are_shown():
    _, user = opening("mine/Garden-v0", "dig.", STEPS[:5], STEPS[5], "end", replace(CONFIG, max_turns=2))
    assert user.content.split("\n")[2:6] == ["> do 3", "seen 4", "> do 4", "seen 5"]


def test_a_log_that_does_not_fit_is_halved():
    shown = []

    class Narrow(ScriptedModel):
        async def complete(self, messages, sampling):
            shown.append(messages[-1].content.count("> "))
            if shown[-1] > 2:
                raise TooLongError("no room")
            return await super().complete(messages, sampling)

    model = Narrow(lambda *_: "Judgement: Bad")
    found = asyncio.run(judge(model, "mine/Garden-v0", "dig.", STEPS[:5], STEPS[5:], "end", CONFIG))
    assert ([each.judgement for each in found], shown) == (["bad"], [6, 3, 2])
    shown.clear()

    class Blind(ScriptedModel):
        async def complete(self, messages, sampling):
            shown.append(messages[-1].content.count("> "))
            raise TooLongError("no room")

    found = asyncio.run(judge(Blind([""]), "mine/Garden-v0", "dig.", STEPS[:5], STEPS[5:], "end", CONFIG))
    assert ([(each.judgement, each.parsed) for each in found], shown) == ([("uncertain", False)], [6, 3, 2, 1])


def test_a_chat_that_no_longer_fits_begins_anew_with_what_fits():
    shown = []

    class Narrow(ScriptedModel):
        async def complete(self, messages, sampling):
            shown.append([m.content.count("> ") for m in messages if m.role == "user"])
            if sum(shown[-1]) > 3:
                raise TooLongError("no room")
            return await super().complete(messages, sampling)

    model = Narrow(lambda *_: "Judgement: Good")
    found = asyncio.run(judge(model, "mine/Garden-v0", "dig.", STEPS[:1], STEPS[1:5], "end", CONFIG))
    assert len(found) == 4
    assert shown == [[2], [2, 1], [2, 1, 1], [4], [2], [2, 1]]


def judged(script, steps=STEPS[2:], **changes):
    model = ScriptedModel(script)
    found = asyncio.run(judge(model, "mine/Garden-v0", "dig.", STEPS[:2], steps, "end", replace(CONFIG, **changes)))
    return [each.judgement for each in found], model


def test_steps_are_judged_in_one_growing_chat_up_to_the_first_bad_one():
    chats = []

    def script(messages, sampling):
        chats.append([m.content for m in messages])
        assert sampling.temperature == 0
        return f"Judgement: {'Bad' if '> do 4' in messages[-1].content else 'Good'}"

    assert judged(script)[0] == ["good", "good", "bad"]
    assert chats[2] == [*chats[1], "Judgement: Good", "> do 4\nseen 5"]
    assert chats[1] == [*chats[0], "Judgement: Good", step_shown(STEPS[3], "seen 4")]


def test_without_a_bad_step_all_are_judged_the_last_by_what_it_led_to():
    found, model = judged(lambda messages, _: "Judgement: Uncertain" if "end" in messages[-1].content else "hm")
    assert (found, model.calls) == (["uncertain"] * 4, 4)


def test_the_model_sees_its_answers_as_it_sampled_them():
    seen = []

    def script(messages, sampling):
        seen.append(list(messages))
        return "Judgement: Good"

    judged(script)
    answers = [m for m in seen[-1] if m.role == "assistant"]
    assert all(m.token_ids == tuple(m.content.encode()) for m in answers)
    assert len(answers) == 3
