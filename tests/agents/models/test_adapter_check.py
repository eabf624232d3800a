"""The configuration of an adapter holds only what a trained adapter needs, and its weights do not overflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models.adapter_check import MAX_ADAPTER_BYTES
from kintsugi.agents.models.core import Message
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.models.weights import model_version
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from safetensors.torch import load_file, save_file

EXAMPLE = Example([Message("user", "a"), Message("assistant", "b")])
CONFIG = FitConfig(LoraShape(rank=4), epochs=1)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "agent@1"
    LocalLearner(tiny_model).fit([EXAMPLE], out, name="agent@1", config=CONFIG)
    return out


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "agent@1"))


def change(adapter: Path, **values: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    "values",
    [
        {"init_lora_weights": "pissa_niter_1000000000"},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "evil"},
        {"layer_replication": [[0, 10**7]]},
        {"trainable_token_indices": [10**12]},
        {"loftq_config": {"loftq_bits": 4}},
        {"eva_config": {"a": 1}},
        {"corda_config": {"x": 1}},
        {"arrow_config": {"top_k": 1}},
        {"alora_invocation_tokens": [1, 2]},
        {"runtime_config": {"ephemeral_gpu_offload": True}},
        {"use_qalora": True},
        {"unknown_key": 5},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.llama", "more": 1}},
        {"auto_mapping": "evil"},
        {"task_type": "SEQ_2_SEQ_LM"},
        {"bias": "evil"},
        {"use_rslora": "x"},
        {"fan_in_fan_out": [1]},
        {"lora_dropout": -1e9},
        {"lora_dropout": float("nan")},
        {"layers_to_transform": 10**9},
        {"layers_to_transform": ["x"]},
    ],
)
def test_settings_that_no_trained_adapter_needs_are_refused(
    tiny_model: Path, adapter: Path, values: dict[str, Any]
) -> None:
    change(adapter, **values)
    with pytest.raises(UsageError, match=f"is damaged or does not fit the model: .*{next(iter(values))}") as error:
        model_version(tiny_model, adapter)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"init_lora_weights": "gaussian"},
        {"peft_version": "999"},
        {"revision": "x"},
        {"new_key": None},
        {
            "task_type": None,
            "auto_mapping": {
                "base_model_class": "LlamaForCausalLM",
                "parent_library": "transformers.models.llama.modeling_llama",
            },
        },
    ],
)
def test_what_other_trainers_write_changes_nothing(tiny_model: Path, adapter: Path, values: dict[str, Any]) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    wanted = LocalModel.load(tiny_model, adapter, device="cpu").network.state_dict()[name]
    change(adapter, **values)
    assert torch.equal(LocalModel.load(tiny_model, adapter, device="cpu").network.state_dict()[name], wanted)


def test_a_module_without_its_weights_is_named(tiny_model: Path, adapter: Path) -> None:
    change(adapter, modules_to_save=["lm_head"])
    with pytest.raises(UsageError, match=r"has no weight 'base_model.model.lm_head.weight', which adapter_config.json"):
        LocalModel.load(tiny_model, adapter, device="cpu")


def test_a_rank_that_does_not_fit_the_weights_is_named(tiny_model: Path, adapter: Path) -> None:
    change(adapter, r=8)
    with pytest.raises(UsageError, match="has rank 4; adapter_config.json says 8"):
        LocalModel.load(tiny_model, adapter, device="cpu")


@pytest.mark.parametrize("value", [1e38, 3e19, -1e30])
def test_finite_weights_that_overflow_are_refused(tiny_model: Path, adapter: Path, value: float) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({name: torch.full_like(weight, value) for name, weight in load_file(file).items()}, file)
    with pytest.raises(UsageError, match=f"{adapter}: its outputs are not finite numbers"):
        LocalModel.load(tiny_model, adapter, device="cpu")
    with pytest.raises(UsageError, match=f"{adapter}: its outputs are not finite numbers"):
        LocalLearner(tiny_model).fit([EXAMPLE], adapter.parent / "out", name="agent@2", config=CONFIG, start=adapter)


@pytest.mark.parametrize("size", [1 << 40, MAX_ADAPTER_BYTES, 3])
def test_weights_of_absurd_size_are_refused_unread(tiny_model: Path, adapter: Path, size: int) -> None:
    with (adapter / "adapter_model.safetensors").open("ab") as stream:
        stream.truncate(size)
    with pytest.raises(UsageError, match="is damaged or does not fit the model: .*adapter_model.safetensors"):
        model_version(tiny_model, adapter)
