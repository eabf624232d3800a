"""Weights, indices and configurations that do not fit each other are refused before a network is built."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models.core import Message, Sampling
from kintsugi.agents.models.local import LocalBackend, LocalModel
from kintsugi.errors import UsageError
from safetensors.torch import load_file, save_file
from tiny_models import SEED


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(model: Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    with pytest.raises(UsageError) as error:
        LocalModel.load(model, device="cpu")
    out, err = capfd.readouterr()
    assert out + err == ""
    assert "\n" not in str(error.value)
    return str(error.value)


# -- Configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"num_hidden_layers": 10**9},
            "num_hidden_layers in config.json is 1000000000, but the weights have 21 tensors",
        ),
        ({"num_hidden_layers": 1e9}, "num_hidden_layers in config.json is 1000000000.0"),
        ({"hidden_size": 10**12}, "hidden_size in config.json is 1000000000000"),
        ({"vocab_size": 10**11}, "vocab_size in config.json is 100000000000"),
        ({"head_dim": 10**12}, "head_dim in config.json is"),
        ({"num_attention_heads": 10**9}, "num_attention_heads in config.json is"),
        ({"model_type": "mixtral", "num_local_experts": 10**9}, "num_local_experts in config.json is"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers in config.json is"),
        ({"attn_implementation": "evil/kernel"}, "names code to download"),
        ({"_attn_implementation": {"": "evil/kernel"}}, "names code to download"),
        ({"hidden_size": 33}, ""),
        ({"vocab_size": 301}, "lm_head.weight has shape [300, 32], but config.json gives it [301, 32]"),
        ({"intermediate_size": 16}, "down_proj.weight has shape [32, 48], but config.json gives it [32, 16]"),
        ({"head_dim": 4}, "k_proj.weight has shape [16, 32], but config.json gives it [8, 32]"),
        *(
            ({"num_hidden_layers": layers}, f"they hold model.layers.{max(0, layers)}.input_layernorm.weight")
            for layers in (1, 0, -1)
        ),
        ({"num_hidden_layers": 3}, "weights are missing, such as model.layers.2.input_layernorm.weight"),
        ({"num_key_value_heads": -1}, "the weights cannot be loaded"),
        ({"model_type": "bert"}, "the weights cannot be loaded"),
        ({"model_type": "mamba"}, "the weights cannot be loaded"),
    ],
)
def test_a_configuration_that_the_weights_cannot_fill_is_refused(
    model: Path, capfd: pytest.CaptureFixture[str], values: dict[str, Any], said: str
) -> None:
    change(model / "config.json", **values)
    assert said in refused(model, capfd)


@pytest.mark.parametrize("name", ["layers.0.self_attn.q_proj.bias", "model.layers.0.mlp.extra.weight"])
def test_a_weight_of_a_layer_that_the_network_has_no_place_for_is_refused(
    model: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    file = model / "model.safetensors"
    save_file({**load_file(file), name: torch.zeros(32)}, file, {"format": "pt"})
    assert "and no place for it" in refused(model, capfd)


@pytest.mark.parametrize("name", ["v_head.summary.weight", "visual.blocks.0.norm.weight"])
def test_parts_that_other_programs_add_to_a_model_are_left_out(model: Path, name: str) -> None:
    file = model / "model.safetensors"
    save_file({**load_file(file), name: torch.zeros(32)}, file, {"format": "pt"})
    assert LocalModel.load(model, device="cpu").network


@pytest.mark.parametrize("name", ["rms_norm_eps", "rope_parameters"])
def test_settings_that_make_outputs_not_finite_are_refused(
    model: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    nan = float("nan")
    change(
        model / "config.json", **{name: nan if name == "rms_norm_eps" else {"rope_type": "default", "rope_theta": nan}}
    )
    assert "its outputs are not finite numbers" in refused(model, capfd)


def test_outputs_that_stop_being_finite_end_in_an_error(model: Path) -> None:
    """The check at loading reads a few tokens only."""
    loaded = LocalModel.load(model, device="cpu")
    with torch.no_grad():
        loaded.network.get_input_embeddings().weight[loaded.chat.tokens("a")] = float("nan")
    chat, wanted = [Message("user", "a" * 9)], f"{model}: its outputs are not finite numbers"
    with pytest.raises(UsageError, match=wanted):
        asyncio.run(loaded.complete(chat, Sampling()))
    with pytest.raises(UsageError, match=wanted):
        asyncio.run(loaded.score(chat, ["b"]))


def test_a_token_without_a_row_in_the_embedding_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    # The library numbers added tokens itself.
    texts = [*(f"<|{number}|>" for number in range(50)), "<|late|>"]
    tokenizer["added_tokens"] += [{"id": 50_000, "content": text, "special": True, **flags} for text in texts]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    change(model / "tokenizer_config.json", eos_token="<|late|>")
    (model / "chat_template.jinja").write_text(SEED.replace("<|end|>", "<|late|>"))
    said = refused(model, capfd)
    assert "gives the token '<|late|>' the id 3" in said
    assert "but the network has ids from 0 to 299" in said


# -- Files of weights -------------------------------------------------------------------------------------------------


def index(model: Path, weight_map: Any) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize(
    "name", ["evil.bin", "../out.safetensors", "/etc/passwd", "sub/x.safetensors", "absent.safetensors", "", 5, None]
)
def test_an_index_that_names_other_files_is_refused(model: Path, capfd: pytest.CaptureFixture[str], name: Any) -> None:
    names = list(load_file(model / "model.safetensors"))
    os.rename(model / "model.safetensors", model / "other.safetensors")
    shutil.copy(model / "other.safetensors", model.parent / "out.safetensors")
    torch.save({}, model / "evil.bin")
    index(model, {**dict.fromkeys(names, "other.safetensors"), names[0]: name})
    assert "expected the names of safetensors files in the same folder" in refused(model, capfd)


@pytest.mark.parametrize("weight_map", [[1], 5, None, "x"])
def test_an_index_of_another_kind_is_refused(model: Path, capfd: pytest.CaptureFixture[str], weight_map: Any) -> None:
    index(model, weight_map)
    assert "expected a weight_map" in refused(model, capfd)


def test_weights_in_several_files_load(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    files = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(weights)}
    for part in set(files.values()):
        save_file({name: weights[name] for name in files if files[name] == part}, model / part, {"format": "pt"})
    index(model, files)
    assert LocalModel.load(model, device="cpu").network


@pytest.mark.parametrize("file", ["model.safetensors", "x.safetensors"])
@pytest.mark.parametrize("size", [1 << 40, 3])
def test_files_of_another_size_than_their_header_says_are_refused(model: Path, file: str, size: int) -> None:
    shutil.copy(model / "model.safetensors", model / "y.safetensors")
    with (model / file).open("ab") as stream:
        stream.truncate(size)
    for load in (LocalModel.load, LocalBackend):
        with pytest.raises(UsageError, match="the weights cannot be loaded") as error:
            load(model)
        assert "\n" not in str(error.value)


def test_an_adapter_within_a_model_folder_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "target_modules": "(.*)*"}))
    assert "pass that as --adapter" in refused(model, capfd)
