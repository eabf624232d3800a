"""Writes a tiny random Llama as a GGUF file, as llama.cpp's converter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import torch
from tiny_models import CHATML, network
from tokenizers import pre_tokenizers

CONTROL = ("<s>", "<|im_end|>", "<pad>", "<|im_start|>")
TEMPLATE = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    template: str | None = TEMPLATE,
    pre: str = "smollm",
    layers: int = 2,
    without: str = "",
) -> Any:
    """Write a GGUF file with a network, a byte tokenizer and a chat template, and return the network.

    Args:
        path: The file.
        architecture: Architecture that the file names.
        template: The chat template; None for none.
        pre: The kind of tokenizer that the file names.
        layers: Number of layers that the file names; the network has two.
        without: Tensors whose name contains this are left out; empty for none.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Two tokens of several bytes: two line ends, and a line end and a digit.
    merged = ["ĊĊ", "Ċ1"]
    tokens = [*alphabet, *CONTROL, *merged]
    net = network("llama", vocab_size=len(tokens))
    shape = net.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges([" ".join(token) for token in merged])
    for add, token in (("bos", "<s>"), ("eos", "<|im_end|>"), ("pad", "<pad>")):
        getattr(writer, f"add_{add}_token_id")(tokens.index(token))
    if template is not None:
        writer.add_chat_template(template)
    for name, weight in net.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            heads = shape.num_attention_heads if "q_proj" in name else shape.num_key_value_heads
            weight = _interleave(weight, heads)
        for ours, theirs in _NAMES.items():
            name = name.replace(ours, theirs)
        if not without or without not in name:
            writer.add_tensor(name, weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return net


def _interleave(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Order rows as llama.cpp does, whose rotary embedding pairs neighbours instead of halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
