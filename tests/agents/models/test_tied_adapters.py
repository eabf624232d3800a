"""Adapters on layers that share their weights: merged, they act as they do unmerged in PEFT."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models.core import Message, Sampling
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.models.weights import quiet_transformers, with_adapter
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_models import FAMILIES, byte_tokenizer, network

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft")
IDS = torch.arange(3, 40)[None]
TOGETHER = {"ensure_weight_tying": True}
NAMES = {"llama": ("q_proj", "embed_tokens"), "gemma": ("q_proj", "embed_tokens"), "gpt2": ("c_attn", "wte")}
"""Names of a layer in the middle and of the input embeddings, by architecture."""
CHANGES: dict[str, dict[str, Any]] = {
    "output": {"target_modules": ["lm_head"]},
    "output and middle": {"target_modules": ["lm_head", "MIDDLE"]},
    "input": {"target_modules": ["INPUT"]},
    "both": {"target_modules": ["lm_head", "INPUT"]},
    "output, tied": {"target_modules": ["lm_head"], **TOGETHER},
    "input, tied": {"target_modules": ["INPUT"], **TOGETHER},
    "whole output": {"target_modules": ["MIDDLE"], "modules_to_save": ["lm_head"]},
    "whole input": {"target_modules": ["MIDDLE"], "modules_to_save": ["INPUT"]},
}


def make_adapter(name: str, change: str, folder: Path) -> Path:
    middle, embeddings = NAMES[name]
    settings = {
        key: [{"MIDDLE": middle, "INPUT": embeddings}.get(each, each) for each in value]
        if isinstance(value, list)
        else value
        for key, value in CHANGES[change].items()
    }
    torch.manual_seed(1)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False, **settings)
    model = get_peft_model(network(name, tie_word_embeddings=True), lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    with quiet_transformers():
        model.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_merged_adapter_acts_as_an_unmerged_one(name: str, change: str, tmp_path: Path) -> None:
    adapter = make_adapter(name, change, tmp_path)
    base = network(name, tie_word_embeddings=True)
    plain = base(input_ids=IDS).logits
    expected = PeftModel.from_pretrained(base, str(adapter)).eval()(input_ids=IDS).logits
    merged = with_adapter(network(name, tie_word_embeddings=True), adapter)
    actual = merged(input_ids=IDS).logits
    assert bool(((expected - plain).abs() > 1e-3).any())
    torch.testing.assert_close(actual, expected, atol=1e-4 * float(expected.detach().abs().max()), rtol=0)
    # Saved and loaded again, it is the same network.
    with quiet_transformers():
        merged.save_pretrained(tmp_path / "merged")
        loaded = type(merged).from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(loaded(input_ids=IDS).logits, actual)


def test_the_merged_model_samples_the_tokens_of_the_unmerged_one(tmp_path: Path) -> None:
    adapter, base = make_adapter("llama", "output and middle", tmp_path / "agent@1"), tmp_path / "base"
    template, eos, _, special = FAMILIES["chatml"]
    tokenizer = byte_tokenizer(template, eos, special)
    with quiet_transformers():
        network("llama", tie_word_embeddings=True).save_pretrained(base)
        tokenizer.save_pretrained(base)
    chat = [Message("system", "You act."), Message("user", "Look around, please.")]
    model = LocalModel.load(base, adapter)
    prompt = torch.tensor([model.chat.encode(chat, generate=True).ids])
    unmerged = PeftModel.from_pretrained(network("llama", tie_word_embeddings=True), str(adapter)).eval()
    options = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 258}
    expected = unmerged.generate(input_ids=prompt, max_new_tokens=12, **options)[0, prompt.shape[1] :].tolist()
    sampled = asyncio.run(model.complete(chat, Sampling(temperature=0.0, max_tokens=12))).token_ids
    assert list(sampled) == expected[: len(sampled)]
    assert len(sampled) > 1


def test_weights_that_are_not_shared_are_merged_as_before(tmp_path: Path) -> None:
    torch.manual_seed(1)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False, target_modules=["lm_head"])
    with quiet_transformers():
        get_peft_model(network("llama", tie_word_embeddings=False), lora).save_pretrained(str(tmp_path))
    base = network("llama", tie_word_embeddings=False)
    expected = PeftModel.from_pretrained(base, str(tmp_path)).eval()(input_ids=IDS).logits
    actual = with_adapter(network("llama", tie_word_embeddings=False), tmp_path)(input_ids=IDS).logits
    torch.testing.assert_close(actual, expected, atol=1e-4 * float(expected.detach().abs().max()), rtol=0)
