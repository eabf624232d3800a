"""Tokenizers of strangers that would take for ever, all memory, or fail on texts are refused when they are loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.models.plain_text import PlainText
from kintsugi.agents.models.tokenizer_check import MAX_ADDED_TOKENS
from kintsugi.agents.models.weights import load_tokenizer
from kintsugi.errors import UsageError
from tiny_models import SEED, byte_tokenizer
from tokenizers import Regex, pre_tokenizers

ENDLESS = r"^(([a-zA-Z ,.:'])+.)+[0-9]@$|(.*)*Z"


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(model: Path, file: str = "tokenizer.json", **values: Any) -> None:
    path = model / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(model: Path) -> str:
    with pytest.raises(UsageError) as error:
        load_tokenizer(model)
    assert "\n" not in str(error.value)
    return str(error.value)


def growing(text: str) -> dict[str, Any]:
    replace = {"type": "Replace", "pattern": {"String": text}, "content": text * 50}
    return {"type": "Sequence", "normalizers": [replace] * 7}


@pytest.mark.parametrize("text", ["a", "q", "§§", "the cat"])
def test_replacements_that_grow_without_end_are_refused(model: Path, text: str) -> None:
    change(model, normalizer=growing(text))
    assert "it takes more than 20 s or 4 GB to encode texts of 3,000 characters" in refused(model)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_regular_expression_without_end_is_refused(model: Path, part: str) -> None:
    replace = {"type": "Replace", "pattern": {"Regex": ENDLESS}, "content": "x"}
    split = {"type": "Split", "pattern": {"Regex": ENDLESS}, "behavior": "Isolated", "invert": False}
    # A tokenizer without added tokens is checked too.
    change(model, **{part: replace if part == "normalizer" else split}, added_tokens=[])
    assert "it fails on ordinary text (Onig: Regex search error: retry-limit-in-match over)" in refused(model)


def test_a_tokenizer_file_for_a_version_of_transformers_is_checked_too(model: Path) -> None:
    shutil.copy(model / "tokenizer.json", model / "tokenizer.5.0.json")
    change(model, "tokenizer.5.0.json", normalizer=growing("a"))
    change(model, "tokenizer_config.json", fast_tokenizer_files=["tokenizer.5.0.json"])
    assert "it takes more than" in refused(model)


def added(number: int) -> list[dict[str, Any]]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 300 + i, "content": f"<{i}>", **flags} for i in range(number)]


def test_too_many_added_tokens_are_refused(model: Path) -> None:
    change(model, added_tokens=added(MAX_ADDED_TOKENS + 1))
    assert "it has 20,001 added tokens; expected at most 20,000" in refused(model)


def test_too_many_added_tokens_in_the_configuration_are_refused(model: Path) -> None:
    tokens = {str(token["id"]): {key: token[key] for key in token if key != "id"} for token in added(50_000)}
    change(model, "tokenizer_config.json", added_tokens_decoder=tokens)
    assert "it has 50,000 added tokens" in refused(model)


def test_a_panic_while_a_text_is_encoded_is_one_line() -> None:
    """No check can try all texts."""
    tokenizer = byte_tokenizer(SEED, "<|end|>")
    split = pre_tokenizers.Split(Regex(ENDLESS), "isolated")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(use_regex=False)]
    )
    plain = PlainText(tokenizer, SEED, "some model")
    for text in ("The quick brown fox: it ran, and ran. " * 20, "<|end|>" + "The quick brown fox. " * 20):
        with pytest.raises(UsageError, match="some model: its tokenizer fails on a text .Onig") as error:
            plain.tokens(plain.mark(text))
        assert "\n" not in str(error.value)
