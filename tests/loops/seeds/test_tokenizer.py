"""The tokenizer made for one world: any text survives, and what occurs often is one token."""

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
UNITS = ("Reflection: I should have", ".\nAction: ", "\nAction: ")
MADE = learn_tokenizer(TEXTS, names=("cabinet",), units=UNITS)

PIECED = learn_tokenizer(TEXTS, units=UNITS, phrases=False, pieces=40)

pieces = st.sampled_from(
    [*UNITS, *ROLES, END, " mug 2", " mug", "mug", " mug 99", " fridge 1", ". The", "You see", "Ġ", " cabinet 3", "\n"]
)
texts = st.one_of(st.text(), st.lists(st.one_of(pieces, st.text(max_size=4))).map("".join))


def split(text: str, tokenizer: Any = MADE) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]


@pytest.mark.parametrize("tokenizer", [MADE, PIECED], ids=["phrases", "pieces"])
@given(text=texts)
def test_any_text_survives(tokenizer, text):
    said = tokenizer(text)["input_ids"]
    assert tokenizer.decode(said) == text
    assert tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


@given(st.text(max_size=6), st.text(max_size=6))
def test_an_unused_tokenizer_survives_too(one, other):
    bare = learn_tokenizer([one])
    assert bare.decode(bare(other)["input_ids"]) == other


def test_an_instance_is_one_token():
    assert split("a mug 2, and an egg 1") == ["a", " mug 2", ", and an", " egg 1"]
    assert split(" mug 99") == list(" mug 99")
    assert split(" mugs") == list(" mugs")
    assert split(" cabinet") == [" cabinet"]
    assert "".join(split(" cabinet 3")) == " cabinet 3"


def test_what_occurs_often_is_one_token():
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


def test_units_are_tokens_and_no_phrase_runs_across_them():
    assert split("I take it.\nAction: take mug 2 from fridge 1") == [
        *split("I take it"),
        ".\nAction: ",
        "take",
        " mug 2",
        " from",
        " fridge 1",
    ]
    assert split("Reflection: I should have looked.")[0] == "Reflection: I should have"
    often = learn_tokenizer(["I wait\nAction: wait"] * 20, units=UNITS)
    assert split("I wait\nAction: wait", often) == ["I wait", "\nAction: ", "wait"]


def test_the_same_texts_in_any_order_give_the_same_tokenizer():
    shuffled = list(TEXTS)
    random.Random(1).shuffle(shuffled)
    again = learn_tokenizer(iter(shuffled), names=("cabinet",), units=UNITS)
    assert again.backend_tokenizer.to_str() == MADE.backend_tokenizer.to_str()


def test_it_is_an_ordinary_tokenizer(tmp_path: Path):
    MADE.save_pretrained(tmp_path)
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, " mug 99 🙂\u2028"]:
        assert loaded(text)["input_ids"] == MADE(text)["input_ids"]
    chat = [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": TEXTS[2]}]
    found = loaded.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    said = [token for token, mine in zip(found["input_ids"], found["assistant_masks"], strict=True) if mine]
    assert loaded.decode(said) == TEXTS[2] + END
    assert loaded.eos_token == END
    assert len({loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id}) == 3


def test_special_tokens_are_one_token_each():
    for special in (*ROLES, END):
        assert len(MADE(special)["input_ids"]) == 1


def test_instances_know_their_kind_and_number():
    found = {
        MADE.decode([token]): (MADE.decode([kind]), number) for token, (kind, number) in instances_of(MADE).items()
    }
    assert found == {" mug 2": (" mug", 2), " fridge 1": (" fridge", 1), " egg 1": (" egg", 1)}


@pytest.mark.parametrize("names", [(), ("mug",)])
def test_a_world_without_instances_has_a_tokenizer(names):
    bare = learn_tokenizer(["look around"] * 20, names=names)
    assert split("look around", bare) == ["look around"]
    assert instances_of(bare) == {}


CODE = ["write f(x): x = [v // 2 for v in x if v == 3]; return x", "f([1, -12]) gave [], expected 'Zoë'"] * 10
WORDS = learn_tokenizer(CODE, units=("; return x",), phrases=False)


def test_without_phrases_tokens_are_words_numbers_and_operators():
    assert split(CODE[0], WORDS) == [
        *("write", " f", "(", "x", ")", ":", " x", " =", " [", "v", " //", " 2", " for", " v", " in", " x", " if"),
        *(" v", " ==", " 3", "]", "; return x"),
    ]
    assert split("f([1, -12])", WORDS) == ["f", "(", "[", "1", ",", " -", "12", "]", ")"]
    assert split("x = y", WORDS) == ["x", " =", " ", "y"]
    assert instances_of(WORDS) == {}


@given(texts)
def test_any_text_survives_without_phrases(text):
    assert WORDS.decode(WORDS(text)["input_ids"]) == text
    bare = learn_tokenizer([text], phrases=False, min_count=1)
    assert bare.decode(bare(text)["input_ids"]) == text


def test_words_that_were_never_seen_are_put_together_from_pieces():
    assert split(" fridge", PIECED) == [" fridge"]
    assert "idg" in split(" bridges", PIECED)
    bare = learn_tokenizer(TEXTS, units=UNITS, phrases=False)
    assert split(" bridges", bare) == list(" bridges")
    assert learn_tokenizer(TEXTS, units=UNITS, phrases=False, pieces=40).get_vocab() == PIECED.get_vocab()
