"""Chat templates that lay out tokens as well-known models do, and tokenizers of the kinds that those models have.

The templates are written for these tests. What they share with the models' own is the layout: which control tokens and
texts stand around contents, which roles there are, what is trimmed, where a date or a thinking block stands.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kintsugi.agents.models.chat import ChatEncoder
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
PART_SYSTEM = (
    "{% if messages[0].role == 'system' %}{% set system, turns = messages[0].content, messages[1:] %}"
    "{% else %}{% set system, turns = '', messages %}{% endif %}"
)


def said(text: str) -> str:
    """Return the part of a template that writes what the assistant says."""
    return "{% generation %}{{ " + text + " }}{% endgeneration %}"


CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}" + said("m.content + '<|im_end|>'") + "{{ '\n' }}"
    "{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    PART_SYSTEM + "{% for m in turns %}" + ALTERNATE + "{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
    "{{ m.content.strip() + ' [/INST]' }}{% else %}" + said("' ' + m.content.strip() + ' ' + eos_token") + "{% endif %}"
    "{% endfor %}"
)
LLAMA32 = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    + PART_SYSTEM
    + "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' + system | trim }}"
    "{{ '<|eot_id|>' }}{% for m in turns %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{% if m.role == 'assistant' %}" + said("m.content | trim + '<|eot_id|>'") + "{% else %}"
    "{{ m.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL01 = (
    "{{ bos_token }}{% for m in messages %}" + ALTERNATE + "{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}" + said("m.content + eos_token") + "{{ ' ' }}{% endif %}"
    "{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}" + PART_SYSTEM + "{{ '[SYSTEM_PROMPT]' }}"
    "{{ system or 'Today is ' + strftime_now('%Y-%m-%d') + '.' }}{{ '[/SYSTEM_PROMPT]' }}"
    "{% for m in turns %}" + ALTERNATE + "{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
    "{% else %}" + said("m.content + eos_token") + "{% endif %}{% endfor %}"
)
_GEMMA_TURNS = (
    "{% if m.role == 'assistant' %}{{ '<start_of_turn>model\n' }}"
    + said("m.content | trim + '<end_of_turn>'")
    + "{% else %}"
    "{{ '<start_of_turn>user\n' + (PREFIX + m.content) | trim + '<end_of_turn>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}" + ALTERNATE + _GEMMA_TURNS.replace("PREFIX", "''")
)
GEMMA3 = ("{{ bos_token }}" + PART_SYSTEM + "{% for m in turns %}" + ALTERNATE) + _GEMMA_TURNS.replace(
    "PREFIX", "(system + '\n\n' if loop.first and system else '')"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}"
    + said("m.content + '<|end|>'")
    + "{% else %}"
    "{{ m.content + '<|end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GRANITE = (
    PART_SYSTEM + "{{ '<|start_of_role|>system<|end_of_role|>Knowledge Cutoff Date: April 2024.\n' }}"
    "{{ \"Today's Date: \" + strftime_now('%B %d, %Y') + '.\n' + (system or 'You help.') + '<|end_of_text|>\n' }}"
    "{% for m in turns %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' }}"
    "{% if m.role == 'assistant' %}"
    + said("m.content + '<|end_of_text|>'")
    + "{% else %}{{ m.content + '<|end_of_text|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)
SMOLLM3 = (
    PART_SYSTEM + "{{ '<|im_start|>system\n## Metadata\n\nToday Date: ' + strftime_now('%d %B %Y') + '\n' }}"
    "{{ 'Reasoning Mode: /think\n\n## Custom Instructions\n\n' + (system.rstrip() or 'You help.') + '\n\n' }}"
    "{{ '<|im_end|>\n' }}"
    "{% for m in turns %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    + said("m.content.lstrip('\n') + '<|im_end|>'")
    + "{% else %}"
    "{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEEPSEEK = (
    PART_SYSTEM + "{{ bos_token + system }}{% for m in turns %}{% if m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% else %}{{ '<｜Assistant｜>' }}"
    + said("m.content.split('</think>')[-1] + eos_token")
    + "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}"
    + said("m.content + eos_token")
    + "{% else %}"
    "{{ m.content + eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A chat template and its tokens."""

    template: str
    bos: str
    eos: str
    end: str
    """The token that ends the assistant's turns."""
    special: tuple[str, ...] = ()
    """Further control tokens."""
    kind: str = "byte-level"
    """Tokenizer that the models of the family have: one of `KINDS`."""
    strips: bool = False
    """Whether control tokens take the whitespace after them."""

    def template_on(self, day: datetime.date) -> str:
        """Return the template with a day written into it."""
        return re.sub(r"strftime_now\('(.*?)'\)", lambda match: repr(day.strftime(match[1])), self.template)


FAMILIES = {
    "chatml": Family(CHATML, "<s>", "<|im_end|>", "<|im_end|>", ("<|im_start|>",)),
    "llama 2": Family(LLAMA2, "<s>", "</s>", "</s>", kind="llama"),
    "llama 3.2": Family(
        LLAMA32, "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>")
    ),
    "mistral 0.1": Family(MISTRAL01, "<s>", "</s>", "</s>", kind="metaspace"),
    "mistral": Family(MISTRAL, "<s>", "</s>", "</s>", ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")),
    "gemma 2": Family(GEMMA2, "<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>", "<end_of_turn>"), "gemma"),
    "gemma 3": Family(GEMMA3, "<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>", "<end_of_turn>"), "gemma"),
    "phi 3": Family(
        PHI3, "<s>", "<|endoftext|>", "<|end|>", ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "llama", True
    ),
    "granite": Family(
        GRANITE, "<|end_of_text|>", "<|end_of_text|>", "<|end_of_text|>", ("<|start_of_role|>", "<|end_of_role|>")
    ),
    "smollm 3": Family(SMOLLM3, "<s>", "<|im_end|>", "<|im_end|>", ("<|im_start|>",)),
    "deepseek": Family(
        DEEPSEEK,
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        ("<｜User｜>", "<｜Assistant｜>"),
    ),
    "zephyr": Family(ZEPHYR, "<s>", "</s>", "</s>", kind="llama"),
}
"""The families, by name."""

TEXT = [
    "Look around, please. You are in the middle of a room with a desk 1, a drawer 2 and a shelf 3.",
    "Thought: I should open the drawer.\nAction: open drawer 2\n\nAction: go to shelf 3\n  def f(x):\n    return x",
    "user assistant system model INST SYS Today Date: 26 Jul 2024. You act in a text world. Über das Café, naïve.",
]
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def byte_level() -> Tokenizer:
    """Like Qwen and Llama 3: BPE on bytes; the tokens of words hold the space before them."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(
        Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"), "isolated"
    )
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges of a BPE whose words begin with `▁`, with a token for each byte."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=160, special_tokens=["<unk>"], show_progress=False)
    )
    data = json.loads(tokenizer.to_str())["model"]
    learnt = [piece for piece in sorted(data["vocab"], key=data["vocab"].get) if piece != "\n"]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(["<unk>", *BYTES, *learnt, "▁▁"]))}
    merges = [(a, b) for a, b in data["merges"] if {a, b, a + b} <= vocab.keys()]
    return vocab, [*merges, ("▁", "▁")]


def _sentencepiece(prefix: bool = True) -> Tokenizer:
    vocab, merges = _pieces()
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*parts, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    return tokenizer


def llama() -> Tokenizer:
    """Like Llama 2 and Phi-3: BPE with a token for each byte; a space is added at the beginning of each text."""
    tokenizer = _sentencepiece()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def metaspace() -> Tokenizer:
    """Like Mistral 0.3: the same; the space is added at the beginning of the whole text alone."""
    tokenizer = _sentencepiece()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def gemma() -> Tokenizer:
    """Like Gemma: no space is added."""
    tokenizer = _sentencepiece(prefix=False)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return tokenizer


def unigram() -> Tokenizer:
    """Like T5 and XLM: the most likely split of each word; a space is added after each control token too."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    alphabet = [chr(code) for code in range(33, 127)] + ["\n", "▁"]
    trainer = trainers.UnigramTrainer(
        vocab_size=220, unk_token="<unk>", special_tokens=["<unk>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


KINDS = {"byte-level": byte_level, "llama": llama, "metaspace": metaspace, "gemma": gemma, "unigram": unigram}
"""Makers of tokenizers without control tokens, by name."""


@functools.cache
def tokenizer_of(name: str, kind: str | None = None) -> Any:
    """Return a tokenizer with the template and the control tokens of a family.

    Args:
        name: One of `FAMILIES`.
        kind: One of `KINDS`; by default that of the family.
    """
    family = FAMILIES[name]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=KINDS[kind or family.kind](),
        bos_token=family.bos,
        eos_token=family.eos,
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )
    names = dict.fromkeys([family.bos, family.eos, *family.special])
    rstrip = [token for token in names if family.strips and token != family.bos]
    tokens: Sequence[AddedToken] = [
        AddedToken(token, special=True, normalized=False, rstrip=token in rstrip) for token in names
    ]
    tokenizer.add_tokens(tokens, special_tokens=True)
    return tokenizer


@functools.cache
def family_encoder(name: str, kind: str | None = None) -> ChatEncoder:
    """Return the encoder for `tokenizer_of`."""
    return ChatEncoder(tokenizer_of(name, kind), name)
