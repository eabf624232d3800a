"""Scripted model: determinism, limits, constrained decoding and usage."""

from __future__ import annotations

import asyncio

from kintsugi.agents.models import LanguageModel, Message, Sampling, ScriptedModel, Usage

CHAT = [Message("user", "one"), Message("assistant", "1"), Message("user", "two")]


def complete(model: ScriptedModel, chat: list[Message], **sampling):
    return asyncio.run(model.complete(chat, Sampling(**sampling)))


def test_texts_are_returned_by_turn():
    model = ScriptedModel(["a", "b"])
    assert isinstance(model, LanguageModel)
    assert [complete(model, chat).text for chat in (CHAT[:1], CHAT, CHAT, [*CHAT, *CHAT])] == ["a", "b", "b", "a"]
    assert model.calls == 4


def test_function_receives_chat_and_sampling():
    model = ScriptedModel(lambda chat, sampling: f"{chat[-1].content} {sampling.seed}", version="v7")
    completion = complete(model, CHAT, seed=3)
    assert (completion.text, completion.finish, completion.prompt_tokens, model.version) == ("two 3", "stop", 7, "v7")
    assert bytes(completion.token_ids).decode() == "two 3"
    assert completion.logprobs == (0.0,) * 5


def test_long_texts_are_cut_between_characters():
    completion = complete(ScriptedModel(["héllo"]), CHAT[:1], max_tokens=2)
    assert (completion.text, len(completion.token_ids), completion.finish) == ("h", 2, "length")
    assert complete(ScriptedModel(["hello"]), CHAT[:1], max_tokens=5).finish == "stop"


def test_scores_prefer_the_scripted_text():
    model = ScriptedModel(["yes"])
    scores = asyncio.run(model.score(CHAT[:1], ["no", "yes", "maybe"]))
    assert scores[1] == 0.0
    assert all(-11 <= score <= -1 for score in (scores[0], scores[2]))
    assert scores == asyncio.run(model.score(CHAT[:1], ["no", "yes", "maybe"]))
    assert scores[::-1] == asyncio.run(model.score(CHAT[:1], ["maybe", "yes", "no"]))
    assert model.calls == 3


def test_choices_constrain_the_text():
    model = ScriptedModel(["Thought: hm\nAction: b"])
    options = {"choices": ("a", "b", "c"), "choices_after": "Action: "}
    assert complete(model, CHAT[:1], **options).text == "Thought: hm\nAction: b"
    options["choices"] = ("a", "c")
    assert [complete(model, CHAT[:1], **options, seed=seed).text[-1] for seed in range(4)] == ["a", "c", "a", "c"]
    assert complete(ScriptedModel(["b"]), CHAT[:1], choices=("a", "b")).text == "b"
    # A text without `choices_after` is unconstrained.
    assert complete(ScriptedModel(["I think"]), CHAT[:1], **options).text == "I think"


def test_usage():
    model = ScriptedModel(["h\u00e9llo"])
    assert model.usage() == Usage()
    complete(model, CHAT, max_tokens=4)
    complete(model, CHAT[:1])
    asyncio.run(model.score(CHAT, ["a"]))
    assert model.usage() == Usage(calls=3, read_tokens=7 + 3, sampled_tokens=4 + 6)
    model.start_wave()
    assert (model.waves, model.script(CHAT, Sampling())) == (1, "h\u00e9llo")
