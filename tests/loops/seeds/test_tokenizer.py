"""The tokenizer of an environment: any text survives a round trip, and frequent text is one token."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.loops.seeds.tokenizer import END, ROLES, instances_of, learn_tokenizer
from transformers import AutoTokenizer

TEXTS = [
    "You arrive at fridge 1. The fridge 1 is closed.",
    "You open the fridge 1. The fridge 1 is open. In it, you see a mug 2, and an egg 1.",
    "Thought: I see mug 2; I take it.\nAction: take mug 2 from fridge 1",
    "Your task is to: put a hot mug in shelf.",
    "You are Zoë's naïve 機器人.",
] * 10
FIXED = ("Reflection: I should have", ".\nAction: ", "\nAction: ")
TOKENIZER = learn_tokenizer(TEXTS, instance_kinds=("cabinet",), single_tokens=FIXED)

BPE_TOKENIZER = learn_tokenizer(TEXTS, single_tokens=FIXED, phrase_tokens=False, bpe_merges=40)

pieces = st.sampled_from(
    [*FIXED, *ROLES, END, " mug 2", " mug", "mug", " mug 99", " fridge 1", ". The", "You see", "Ġ", " cabinet 3", "\n"]
)
texts = st.one_of(st.text(), st.lists(st.one_of(pieces, st.text(max_size=4))).map("".join))


def split(text: str, tokenizer: Any = TOKENIZER) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BPE_TOKENIZER], ids=["phrases", "pieces"])
@given(text=texts)
def test_any_text_survives_a_round_trip(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


@given(st.text(max_size=6), st.text(max_size=6))
def test_a_tokenizer_of_one_text_encodes_any_other(one, other):
    bare = learn_tokenizer([one])
    assert bare.decode(bare(other)["input_ids"]) == other


def test_an_instance_is_one_token():
    assert split("a mug 2, and an egg 1") == ["a", " mug 2", ", and an", " egg 1"]
    assert split(" mug 99") == list(" mug 99")
    assert split(" mugs") == list(" mugs")
    assert split(" cabinet") == [" cabinet"]
    assert "".join(split(" cabinet 3")) == " cabinet 3"


def test_frequent_phrases_are_one_token():
    assert split("You arrive at fridge 1. The fridge 1 is closed.") == [
        "You arrive at",
        " fridge 1",
        ". The",
        " fridge 1",
        " is closed.",
    ]
    rare = learn_tokenizer([*TEXTS[:5], "You never arrive."], min_count=10)
    assert len(split("You never arrive.", rare)) > 1
    assert split(" never", rare) == [" never"]


def test_single_tokens_are_not_overlapped_by_phrases():
    assert split("I take it.\nAction: take mug 2 from fridge 1") == [
        *split("I take it"),
        ".\nAction: ",
        "take",
        " mug 2",
        " from",
        " fridge 1",
    ]
    assert split("Reflection: I should have looked.")[0] == "Reflection: I should have"
    often = learn_tokenizer(["I wait\nAction: wait"] * 20, single_tokens=FIXED)
    assert split("I wait\nAction: wait", often) == ["I wait", "\nAction: ", "wait"]


def test_the_same_texts_in_any_order_give_the_same_tokenizer():
    shuffled = list(TEXTS)
    random.Random(1).shuffle(shuffled)
    again = learn_tokenizer(iter(shuffled), instance_kinds=("cabinet",), single_tokens=FIXED)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_it_is_a_hugging_face_tokenizer(tmp_path: Path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, " mug 99 🙂\u2028"]:
        assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    chat = [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": TEXTS[2]}]
    found = loaded.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    ids = [token for token, mine in zip(found["input_ids"], found["assistant_masks"], strict=True) if mine]
    assert loaded.decode(ids) == TEXTS[2] + END
    assert loaded.eos_token == END
    assert len({loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id}) == 3


def test_special_tokens_are_one_token_each():
    for special in (*ROLES, END):
        assert len(TOKENIZER(special)["input_ids"]) == 1


def test_instances_of_maps_to_kind_and_number():
    found = {
        TOKENIZER.decode([token]): (TOKENIZER.decode([kind]), number)
        for token, (kind, number) in instances_of(TOKENIZER).items()
    }
    assert found == {" mug 2": (" mug", 2), " fridge 1": (" fridge", 1), " egg 1": (" egg", 1)}


@pytest.mark.parametrize("instance_kinds", [(), ("mug",)])
def test_texts_without_instances(instance_kinds):
    bare = learn_tokenizer(["look around"] * 20, instance_kinds=instance_kinds)
    assert split("look around", bare) == ["look around"]
    assert instances_of(bare) == {}


CODE = ["write f(x): x = [v // 2 for v in x if v == 3]; return x", "f([1, -12]) gave [], expected 'Zoë'"] * 10
WORDS = learn_tokenizer(CODE, single_tokens=("; return x",), phrase_tokens=False)


def test_without_phrases_tokens_are_words_numbers_and_operators():
    assert split(CODE[0], WORDS) == [
        *("write", " f", "(", "x", ")", ":", " x", " =", " [", "v", " //", " 2", " for", " v", " in", " x", " if"),
        *(" v", " ==", " 3", "]", "; return x"),
    ]
    assert split("f([1, -12])", WORDS) == ["f", "(", "[", "1", ",", " -", "12", "]", ")"]
    assert split("x = y", WORDS) == ["x", " =", " ", "y"]
    assert instances_of(WORDS) == {}


@given(texts)
def test_any_text_survives_a_round_trip_without_phrases(text):
    assert WORDS.decode(WORDS(text)["input_ids"]) == text
    bare = learn_tokenizer([text], phrase_tokens=False, min_count=1)
    assert bare.decode(bare(text)["input_ids"]) == text


def test_unseen_words_are_spelled_in_bpe_pieces():
    assert split(" fridge", BPE_TOKENIZER) == [" fridge"]
    assert "idg" in split(" bridges", BPE_TOKENIZER)
    bare = learn_tokenizer(TEXTS, single_tokens=FIXED, phrase_tokens=False)
    assert split(" bridges", bare) == list(" bridges")
    assert (
        learn_tokenizer(TEXTS, single_tokens=FIXED, phrase_tokens=False, bpe_merges=40).get_vocab()
        == BPE_TOKENIZER.get_vocab()
    )
