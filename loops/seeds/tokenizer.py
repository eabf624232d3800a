"""A tokenizer made for one text world: whole phrases and instances such as ` mug 2` are single tokens.

Byte-level BPE: what is in the vocabulary is one token, all other text falls apart into bytes, or into pieces of words
where these are asked for, so every text survives the round trip. Few tokens an episode are what lets a small model
learn on a CPU in minutes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, BOS, END = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}<|assistant|>"
    "{% generation %}{{ message.content + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|' + message.role + '|>' + message.content }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_INSTANCE = re.compile(r" ([a-z]+) (\d+)\b")
_LETTERS = r" ?[^\W\d_]+"
_WORD = r" ?[^\W\d_]+| ?\d+|[^\s\w]+|\s+|\w"
_PIECE = r" ?[^\W\d_]+| ?\d+| ?([^\s\w])\1*|\s+|\w"
"""A word, a number, or an operator (one character, or the same several times), each with the space before it."""


def learn_tokenizer(
    texts: Iterable[str],
    *,
    names: Iterable[str] = (),
    units: Sequence[str] = (),
    phrases: bool = True,
    pieces: int = 0,
    min_count: int = 10,
) -> Any:
    """A `PreTrainedTokenizerFast` for `texts`. Deterministic.

    `units` are tokens that no other token may run across: text that turns are made to start with, or after which
    decoding is constrained. With `phrases`, `names` are words that number their instances (` mug 2`); those seen in
    `texts` are added. The text between names is a phrase; phrases seen `min_count` times, and all words, become tokens.
    Without, a token is a word, a number or an operator that is seen `min_count` times: for texts such as code, which
    are put together from these; `pieces` is the number of merges, learnt from all words, that spell the other words.
    """
    texts = list(texts)
    fixed = "|".join(map(re.escape, sorted(units, key=len, reverse=True))) or r"(?!)"
    if phrases:
        return _of_phrases(texts, names, units, fixed, min_count)
    parts = (part for text in texts for part in re.split(fixed, text))
    counts = Counter(piece.group() for part in parts for piece in re.finditer(_PIECE, part))
    often = sorted(piece for piece, n in counts.items() if n >= min_count)
    return _build(f"{fixed}|{_PIECE}", [*units, *often], _merges(counts, pieces) if pieces else [])


def _merges(words: Iterable[str], n: int) -> list[tuple[str, str]]:
    """The first `n` merges of byte-pair encoding, each word counted once: how words are put together, not which."""
    learnt, spell = Tokenizer(models.BPE()), _spelling()
    learnt.pre_tokenizer = spell
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + n, initial_alphabet=alphabet, show_progress=False)
    learnt.train_from_iterator((word for word in words if re.fullmatch(_LETTERS, word)), trainer)
    return [(first, second) for first, second in json.loads(learnt.to_str())["model"]["merges"]]


def _of_phrases(texts: Sequence[str], names: Iterable[str], units: Sequence[str], fixed: str, min_count: int) -> Any:
    seen = Counter(match.group() for text in texts for match in _INSTANCE.finditer(text))
    kinds = sorted({*names, *(instance.split()[0] for instance in seen)}, key=lambda kind: (-len(kind), kind))
    name = rf" (?:{'|'.join(kinds)})(?: \d+)?(?![a-z])" if kinds else r"(?!)"
    fixed = f"{fixed}|{name}"
    between = re.compile(fixed)
    counts = Counter(part for text in texts for part in between.split(text) if part)
    often = sorted((p for p, n in counts.items() if n >= min_count), key=lambda phrase: (-len(phrase), phrase))
    words = sorted({word for text in counts for word in re.findall(_WORD, text)})
    instances = sorted({*seen, *(f" {kind}" for kind in kinds)})
    pattern = "|".join(
        [fixed, *(re.escape(phrase) + (r"(?![a-z])" if phrase[-1].isalpha() else "") for phrase in often), _WORD]
    )
    return _build(pattern, [*units, *instances, *often, *words])


def _spelling() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _build(pattern: str, pieces: list[str], merges: Sequence[tuple[str, str]] = ()) -> Any:
    spell = _spelling()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelled = (spell.pre_tokenize_str(piece)[0][0] for piece in pieces)
    merged = (first + second for first, second in merges)
    every = dict.fromkeys([PAD, BOS, END, *ROLES, *alphabet, *spelled, *merged])
    vocabulary = {token: number for number, token in enumerate(every)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), spell])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def instances_of(tokenizer: Any) -> dict[int, tuple[int, int]]:
    """Token id of each instance to (id of its kind, its number): ` mug 2` to (` mug`, 2)."""
    found = {}
    vocabulary = tokenizer.get_vocab()
    for token, number in vocabulary.items():
        match = re.fullmatch(r"(Ġ[a-z]+)Ġ(\d+)", token)
        if match and match[1] in vocabulary:
            found[number] = (vocabulary[match[1]], int(match[2]))
    return found
