"""Byte tokenizers with chat templates like those of well-known model families, and tiny random networks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.models.weights import quiet_transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" + CHATML
)
TRIMMED = (
    "{{ bos_token }}{% for m in messages %}{{ '<|head|>' + m.role + '<|/head|>\n\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim + '<|eot|>' }}{% endgeneration %}"
    "{% else %}{{ m.content | trim + '<|eot|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
OWN_END = (
    "{{ bos_token }}{% for m in messages %}{{ '<turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim + '<end>' }}{% endgeneration %}"
    "{% else %}{{ m.content | trim + '<end>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
LAST_TURN_THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + ' </s>' }}"
    "{% else %}{{ '<s>[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}"
)
SEED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|assistant|>' }}{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|' + m.role + '|>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
FAMILIES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "chatml": (CHATML, "<|im_end|>", "<|im_end|>", ("<|im_start|>",)),
    "default system": (DEFAULT_SYSTEM, "<|im_end|>", "<|im_end|>", ("<|im_start|>",)),
    "trimmed": (TRIMMED, "<|eot|>", "<|eot|>", ("<|head|>", "<|/head|>")),
    "own end of turn": (OWN_END, "<eos>", "<end>", ("<turn>", "<end>")),
    "last turn thinks": (LAST_TURN_THINKS, "<|im_end|>", "<|im_end|>", ("<|im_start|>",)),
    "spaced": (SPACED, "</s>", "</s>", ()),
    "seed": (SEED, "<|end|>", "<|end|>", ("<|system|>", "<|user|>", "<|assistant|>")),
}
"""Template, `eos_token`, end-of-turn token of the assistant, and other special tokens, by name."""
MASKED = tuple(name for name, family in FAMILIES.items() if "{% generation %}" in family[0])
"""Families whose template marks assistant tokens with `{% generation %}`."""


def byte_tokenizer(template: str | None, eos: str | None, special: tuple[str, ...] = ()) -> Any:
    """Return a tokenizer with one token for each byte, and special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token=eos,
        pad_token="<pad>",
        additional_special_tokens=list(special),
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


@functools.cache
def encoder_of(name: str) -> ChatEncoder:
    """Return the encoder for one of `FAMILIES`."""
    template, eos, _, special = FAMILIES[name]
    return ChatEncoder(byte_tokenizer(template, eos, special))


LLAMA_SHAPE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
}
SHAPE_WITH_HEAD_DIM = {**LLAMA_SHAPE, "head_dim": 8}
GPT2_SHAPE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.3}
NETWORKS: dict[str, dict[str, Any]] = {
    "llama": LLAMA_SHAPE,
    "qwen2": LLAMA_SHAPE,
    "qwen3": SHAPE_WITH_HEAD_DIM,
    "gemma": SHAPE_WITH_HEAD_DIM,
    "gemma2": {**SHAPE_WITH_HEAD_DIM, "sliding_window": 7, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8},
    "mistral": {**LLAMA_SHAPE, "sliding_window": 7},
    "cohere": LLAMA_SHAPE,
    "granite": {**LLAMA_SHAPE, "logits_scaling": 3.0},
    "gpt2": {**GPT2_SHAPE, "vocab_size": 300, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258},
    "mamba": {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "eos_token_id": 257},
    "rwkv": {"vocab_size": 300, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2},
}
"""Configurations by architecture. Initial weights are large, so that greedy choices are far from ties."""


def network(name: str = "llama", seed: int = 0, **changes: Any) -> Any:
    """Return one of `NETWORKS` with random weights."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**NETWORKS[name], **changes})).eval()


def save_tiny_model(folder: Path, name: str = "llama", seed: int = 0) -> Path:
    """Save a random network and a byte tokenizer with a chat template to a folder, and return the folder."""
    with quiet_transformers():
        network(name, seed).save_pretrained(folder)
    template, eos, _, special = FAMILIES["seed"]
    byte_tokenizer(template, eos, special).save_pretrained(folder)
    return folder
