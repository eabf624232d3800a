"""The scripted model is deterministic, counts its calls, and keeps to the limits of a real one."""

from __future__ import annotations

import asyncio

from kintsugi.agents.models import LanguageModel, Message, Sampling, ScriptedModel, Usage

CHAT = [Message("user", "one"), Message("assistant", "1"), Message("user", "two")]


def complete(model: ScriptedModel, chat: list[Message], **sampling):
    return asyncio.run(model.complete(chat, Sampling(**sampling)))


def test_lines_are_said_by_turn():
    model = ScriptedModel(["a", "b"])
    assert isinstance(model, LanguageModel)
    assert [complete(model, chat).text for chat in (CHAT[:1], CHAT, CHAT, [*CHAT, *CHAT])] == ["a", "b", "b", "a"]
    assert model.calls == 4


def test_a_function_sees_chat_and_sampling():
    model = ScriptedModel(lambda chat, sampling: f"{chat[-1].content} {sampling.seed}", version="v7")
    said = complete(model, CHAT, seed=3)
    assert (said.text, said.finish, said.prompt_tokens, model.version) == ("two 3", "stop", 7, "v7")
    assert bytes(said.token_ids).decode() == "two 3"
    assert said.logprobs == (0.0,) * 5


def test_long_texts_are_cut_between_characters():
    said = complete(ScriptedModel(["héllo"]), CHAT[:1], max_tokens=2)
    assert (said.text, len(said.token_ids), said.finish) == ("h", 2, "length")
    assert complete(ScriptedModel(["hello"]), CHAT[:1], max_tokens=5).finish == "stop"


def test_scores_prefer_what_would_be_said():
    model = ScriptedModel(["yes"])
    scores = asyncio.run(model.score(CHAT[:1], ["no", "yes", "maybe"]))
    assert scores[1] == 0.0
    assert all(-11 <= score <= -1 for score in (scores[0], scores[2]))
    assert scores == asyncio.run(model.score(CHAT[:1], ["no", "yes", "maybe"]))
    assert scores[::-1] == asyncio.run(model.score(CHAT[:1], ["maybe", "yes", "no"]))
    assert model.calls == 3


def test_with_choices_what_is_named_is_said_or_one_by_seed():
    model = ScriptedModel(["Thought: hm\nAction: b"])
    bound = {"choices": ("a", "b", "c"), "choices_after": "Action: "}
    assert complete(model, CHAT[:1], **bound).text == "Thought: hm\nAction: b"
    bound["choices"] = ("a", "c")
    assert [complete(model, CHAT[:1], **bound, seed=seed).text[-1] for seed in range(4)] == ["a", "c", "a", "c"]
    assert complete(ScriptedModel(["b"]), CHAT[:1], choices=("a", "b")).text == "b"
    # What does not come to the mark is free.
    assert complete(ScriptedModel(["I think"]), CHAT[:1], **bound).text == "I think"


def test_it_tells_what_it_did():
    model = ScriptedModel(["h\u00e9llo"])
    assert model.usage() == Usage()
    complete(model, CHAT, max_tokens=4)
    complete(model, CHAT[:1])
    asyncio.run(model.score(CHAT, ["a"]))
    assert model.usage() == Usage(calls=3, read_tokens=7 + 3, sampled_tokens=4 + 6)
    model.start_wave()
    assert (model.waves, model.script(CHAT, Sampling())) == (1, "h\u00e9llo")
