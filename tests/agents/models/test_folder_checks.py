"""Model and adapter folders of strangers: nothing in them runs, and each problem is one line."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models.adapter_check import MAX_RANK
from kintsugi.agents.models.core import Message
from kintsugi.agents.models.folder_checks import MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES
from kintsugi.agents.models.local import LocalBackend, LocalModel
from kintsugi.cli.main import main
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from safetensors.torch import load_file, save_file


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "agent@1"
    example = Example([Message("user", "a"), Message("assistant", "b")])
    LocalLearner(tiny_model).fit([example], out, name="agent@1", config=FitConfig(LoraShape(rank=4), epochs=1))
    return out


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "agent@1"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(model: Path, capsys: pytest.CaptureFixture[str], adapter: Path | None = None) -> str:
    """Return what library and command line say about a model; both refuse it in one line, and soon."""
    start = time.monotonic()
    with pytest.raises(UsageError) as error:
        LocalModel.load(model, adapter, device="cpu")
    command = ["eval", "--model", str(model), "--run", str(model.parent / "run"), "--tasks", "1", "--max-tokens", "4"]
    assert main([*command, *(["--adapter", str(adapter)] if adapter else [])]) == 2
    err = capsys.readouterr().err
    assert err.strip().count("\n") == 0, err
    assert str(error.value).count("\n") == 0
    assert time.monotonic() - start < 60
    return str(error.value)


# -- Code of the folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_model_folder_is_never_run(model, capsys, monkeypatch, tmp_path, file):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    evil = "open('OWNED', 'w')\nfrom transformers import LlamaConfig as Config, LlamaForCausalLM as Model\n"
    (model / "evil.py").write_text(evil.replace("OWNED", str(tmp_path / "OWNED")))
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    if file == "config.json":
        change(model / file, model_type="evil", auto_map=auto_map)
    else:
        change(model / file, tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Config", None]})
    assert "it needs code of the folder (auto_map), which is never run" in refused(model, capsys)
    assert not (tmp_path / "OWNED").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_of_a_model_are_refused(model, capsys, name):
    (model / "model.safetensors").unlink()
    torch.save({}, model / name)
    with pytest.raises(UsageError, match="has only pickled weights .*save the weights as safetensors"):
        LocalBackend(model).model()
    assert refused(model, capsys)


def test_pickled_weights_of_an_adapter_are_refused(model, adapter, capsys):
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({}, adapter / "adapter_model.bin")
    assert "has only pickled weights (adapter_model.bin)" in refused(model, capsys, adapter)


# -- Configuration of an adapter --------------------------------------------------------------------------------------

SLOW = "(a*)*" * 12 + "$"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"target_modules": f".*{SLOW}"}, "target_modules is '.*(a*)*"),
        ({"target_modules": "q_proj"}, "target_modules is 'q_proj', a pattern"),
        ({"target_modules": ["q_proj", SLOW]}, "target_modules names '(a*)*"),
        ({"target_modules": [["q_proj"]]}, "target_modules names"),
        ({"target_modules": {"q_proj": 1}}, "target_modules is"),
        ({"exclude_modules": SLOW}, "exclude_modules is"),
        ({"modules_to_save": [SLOW]}, "modules_to_save names"),
        ({"layers_pattern": SLOW, "layers_to_transform": [0]}, "layers_pattern names"),
        ({"rank_pattern": {SLOW: 4}}, "rank_pattern names"),
        ({"alpha_pattern": {SLOW: 4}}, "alpha_pattern names"),
        ({"rank_pattern": [4]}, "rank_pattern is"),
        ({"r": 10**9}, f"its LoRA rank is '1000000000'; expected an integer from 1 to {MAX_RANK}"),
        ({"r": 0}, "its LoRA rank is '0'"),
        ({"r": -3}, "its LoRA rank is '-3'"),
        ({"r": "4"}, "its LoRA rank is '4'"),
        ({"r": True}, "its LoRA rank is 'True'"),
        ({"r": 5}, "has rank 4; adapter_config.json says 5"),
        ({"lora_alpha": 1e30}, "its lora_alpha is '1e+30'"),
        ({"lora_alpha": float("nan")}, "its lora_alpha is 'nan'"),
        ({"lora_alpha": None}, "its lora_alpha is 'None'"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "names a module to import"),
        ({"peft_type": "IA3"}, "its peft_type is 'IA3'; expected 'LORA'"),
        ({"target_modules": ["no_such_layer"]}, "no_such_layer"),
        ({"lora_dropout": "much"}, "is damaged or does not fit the model"),
    ],
)
def test_a_configuration_of_patterns_or_absurd_numbers_is_refused(model, adapter, capsys, values, said):
    change(adapter / "adapter_config.json", **values)
    wrong = refused(model, capsys, adapter)
    assert said in wrong
    assert len(wrong) < 700


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "7", "[]", "\ud800", '{"peft_type": "LORA", "r": ' + "9" * 5000 + "}"]
)
def test_a_configuration_that_is_no_json_object_is_refused(model, adapter, capsys, text):
    (adapter / "adapter_config.json").write_text(text, errors="surrogatepass")
    assert "is damaged or does not fit the model" in refused(model, capsys, adapter)


# -- Weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(model, adapter, capsys, value):
    for file in (adapter / "adapter_model.safetensors", model / "model.safetensors"):
        weights = load_file(file)
        name = sorted(weights)[0]
        weights[name].view(-1)[0] = value
        save_file(weights, file, metadata={"format": "pt"})
    assert "holds values that are not finite" in refused(model, capsys)


def test_an_adapter_that_is_not_finite_is_refused(model, adapter, capsys):
    weights = load_file(adapter / "adapter_model.safetensors")
    weights[sorted(weights)[-1]].view(-1)[-1] = float("nan")
    save_file(weights, adapter / "adapter_model.safetensors")
    assert "holds values that are not finite" in refused(model, capsys, adapter)


def header(content: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


LIES = {
    "length": struct.pack("<Q", 1 << 62) + b"{}",
    "offsets": header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 40]}}),
    "shape": header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}, b"\0" * 8),
    "overlap": header({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, b"\0" * 8),
    "dtype": header({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "names": header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "nothing": b"",
    "no tensors": header({}),
}


@pytest.mark.parametrize("lie", LIES)
def test_safetensors_that_lie_are_refused(model, adapter, capsys, lie):
    (adapter / "adapter_model.safetensors").write_bytes(LIES[lie])
    assert "is damaged or does not fit the model" in refused(model, capsys, adapter)
    (model / "model.safetensors").write_bytes(LIES[lie])
    assert "the weights cannot be loaded" in refused(model, capsys)


def test_weights_of_another_shape_or_of_fewer_layers_are_refused(model, capsys):
    weights = load_file(model / "model.safetensors")
    name = next(name for name in sorted(weights) if "q_proj" in name)
    save_file({**weights, name: weights[name][:-1].contiguous()}, model / "model.safetensors", {"format": "pt"})
    assert "the weights cannot be loaded" in refused(model, capsys)
    del weights[name]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    assert f"1 weights are missing, such as {name}" in refused(model, capsys)


# -- Files that are no files ------------------------------------------------------------------------------------------

MODEL_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"]


@pytest.mark.parametrize("file", [*MODEL_FILES, "generation_config.json", "additional_chat_templates/b.jinja"])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_devices_and_pipes_in_a_model_folder_are_refused(model, capsys, file, kind):
    (model / "additional_chat_templates").mkdir()
    (model / file).unlink(missing_ok=True)
    if kind == "device":
        (model / file).symlink_to("/dev/zero")
    else:
        os.mkfifo(model / file)
    assert f"{model / file} is a device, pipe or socket" in refused(model, capsys)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "kintsugi.json"])
def test_devices_in_an_adapter_folder_are_refused(model, adapter, capsys, file):
    (adapter / file).unlink()
    (adapter / file).symlink_to("/dev/zero")
    assert f"{adapter / file} is a device, pipe or socket" in refused(model, capsys, adapter)


@pytest.mark.parametrize(
    ("file", "limit"),
    [
        ("chat_template.jinja", MAX_CONFIG_BYTES),
        ("tokenizer.json", MAX_TOKENIZER_BYTES),
        ("config.json", MAX_CONFIG_BYTES),
    ],
)
def test_files_of_absurd_size_are_refused(model, capsys, file, limit):
    with (model / file).open("r+b") as stream:
        stream.truncate(1 << 30)
    assert f"{model / file} has 1,073,741,824 bytes; expected at most {limit:,}" in refused(model, capsys)


def test_a_huge_template_within_a_configuration_is_refused(model, capsys):
    (model / "chat_template.jinja").unlink()
    change(model / "tokenizer_config.json", chat_template="{# " + "x" * (2 << 20) + " #}")
    assert "a chat template of 2097158 characters" in refused(model, capsys)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, "[]", "7", "null", '{"a": \ud800}', '{"model": {"type": "BPE"}}']
)
def test_broken_json_is_refused(model, capsys, file, text):
    (model / file).write_text(text, errors="surrogatepass")
    if file == "tokenizer_config.json":
        # The tokenizer may be complete without its configuration, and then lacks the end of a turn.
        (model / "tokenizer.json").write_text("{}")
    assert refused(model, capsys)


# -- Templates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**11 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ 'x'.ljust(10**11) }}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch OWNED') }}",
    ],
)
def test_a_template_that_takes_too_long_or_leaves_its_sandbox_is_refused(model, capsys, template, tmp_path):
    (model / "chat_template.jinja").write_text(template.replace("OWNED", str(tmp_path / "OWNED")))
    wrong = refused(model, capsys)
    assert "template" in wrong
    assert not (tmp_path / "OWNED").exists()


def test_ordinary_templates_pass(model, adapter):
    assert LocalModel.load(model, adapter, device="cpu").chat.eos
