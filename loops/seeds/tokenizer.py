"""A tokenizer for one environment: whole phrases and instances such as ` mug 2` are single tokens.

It is a byte-level BPE tokenizer. Strings in the vocabulary are one token; other text is spelled in bytes or word
pieces, so every text survives a round trip. Episodes have few tokens, so a small model learns in minutes on a CPU.
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
"""A word, a number or an operator (one character, possibly repeated), each with a preceding space if there is one;
or whitespace or `_`."""


def learn_tokenizer(
    texts: Iterable[str],
    *,
    instance_kinds: Iterable[str] = (),
    single_tokens: Sequence[str] = (),
    phrase_tokens: bool = True,
    bpe_merges: int = 0,
    min_count: int = 10,
) -> Any:
    """Learn a tokenizer from texts.

    With `phrase_tokens`, the tokens are instances (` mug 2`), frequent text between instances (phrases), and all words,
    numbers and punctuation. Otherwise the tokens are frequent words, numbers and operators; this suits texts such as
    code. All other text is spelled in bytes, or in word pieces with `bpe_merges`. Deterministic.

    Args:
        texts: The training texts.
        instance_kinds: Words that occur with a number, such as `mug`. Those that occur in `texts` are added.
        single_tokens: Strings that are always one token and that no other token overlaps, for text that turns are
            forced to start with, or after which decoding is constrained.
        phrase_tokens: Whether frequent text between instances is one token.
        bpe_merges: Number of BPE merges that spell rare words, learned from all words. Ignored with `phrase_tokens`.
        min_count: How often a phrase must occur to become a token. Without `phrase_tokens`: a word, number or operator.

    Returns:
        A `PreTrainedTokenizerFast` with a chat template.
    """
    texts = list(texts)
    single_token_pattern = "|".join(map(re.escape, sorted(single_tokens, key=len, reverse=True))) or r"(?!)"
    if phrase_tokens:
        return _phrase_tokenizer(texts, instance_kinds, single_tokens, single_token_pattern, min_count)
    parts = (part for text in texts for part in re.split(single_token_pattern, text))
    counts = Counter(match.group() for part in parts for match in re.finditer(_PIECE, part))
    frequent = sorted(piece for piece, n in counts.items() if n >= min_count)
    return _build(
        f"{single_token_pattern}|{_PIECE}",
        [*single_tokens, *frequent],
        _learn_merges(counts, bpe_merges) if bpe_merges else [],
    )


def _learn_merges(words: Iterable[str], n: int) -> list[tuple[str, str]]:
    """Return the first `n` BPE merges. Each distinct word counts once, so that frequent words do not dominate."""
    trained, byte_level = Tokenizer(models.BPE()), _byte_level()
    trained.pre_tokenizer = byte_level
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + n, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator((word for word in words if re.fullmatch(_LETTERS, word)), trainer)
    return [(first, second) for first, second in json.loads(trained.to_str())["model"]["merges"]]


def _phrase_tokenizer(
    texts: Sequence[str],
    instance_kinds: Iterable[str],
    single_tokens: Sequence[str],
    single_token_pattern: str,
    min_count: int,
) -> Any:
    seen = Counter(match.group() for text in texts for match in _INSTANCE.finditer(text))
    kinds = sorted({*instance_kinds, *(instance.split()[0] for instance in seen)}, key=lambda kind: (-len(kind), kind))
    instance_pattern = rf" (?:{'|'.join(kinds)})(?: \d+)?(?![a-z])" if kinds else r"(?!)"
    single_token_pattern = f"{single_token_pattern}|{instance_pattern}"
    splitter = re.compile(single_token_pattern)
    counts = Counter(part for text in texts for part in splitter.split(text) if part)
    frequent = sorted((p for p, n in counts.items() if n >= min_count), key=lambda phrase: (-len(phrase), phrase))
    words = sorted({word for text in counts for word in re.findall(_WORD, text)})
    instances = sorted({*seen, *(f" {kind}" for kind in kinds)})
    split_pattern = "|".join(
        [
            single_token_pattern,
            *(re.escape(phrase) + (r"(?![a-z])" if phrase[-1].isalpha() else "") for phrase in frequent),
            _WORD,
        ]
    )
    return _build(split_pattern, [*single_tokens, *instances, *frequent, *words])


def _byte_level() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _build(split_pattern: str, entries: list[str], merges: Sequence[tuple[str, str]] = ()) -> Any:
    byte_level = _byte_level()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    encoded = (byte_level.pre_tokenize_str(entry)[0][0] for entry in entries)
    merged = (first + second for first, second in merges)
    tokens = dict.fromkeys([PAD, BOS, END, *ROLES, *alphabet, *encoded, *merged])
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split_pattern), "isolated"), byte_level]
    )
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
    """Map the token id of each instance to (token id of its kind, number): ` mug 2` to (` mug`, 2)."""
    found = {}
    vocabulary = tokenizer.get_vocab()
    # A space in a byte-level token is written as `Ġ`.
    for token, token_id in vocabulary.items():
        match = re.fullmatch(r"(Ġ[a-z]+)Ġ(\d+)", token)
        if match and match[1] in vocabulary:
            found[token_id] = (vocabulary[match[1]], int(match[2]))
    return found
