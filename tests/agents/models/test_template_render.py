"""Templates are rendered as transformers does, and each chat with bounded time and memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.models.core import Message
from kintsugi.agents.models.template_render import render
from kintsugi.agents.models.weights import load_tokenizer
from kintsugi.errors import UsageError
from tiny_models import FAMILIES, SEED, TRIMMED, byte_tokenizer, encoder_of

BOMB = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
GROWTH = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
LONG = "x" * 100
TOO_MUCH = "its chat template takes more than"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("generate", [True, False])
def test_texts_equal_those_of_transformers(name: str, generate: bool) -> None:
    tokenizer = encoder_of(name).tokenizer
    for contents in (["a"], [" a\n", "\ud801b", "é\U0001f600"], ["{{ 7 * 7 }}"] * 5):
        chat = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
        wanted = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generate)
        special = tokenizer.special_tokens_map
        assert render(tokenizer.chat_template, chat, special=special, generate=generate, name="m") == wanted


def encoder(template: str) -> ChatEncoder:
    return ChatEncoder(byte_tokenizer(template, "<|eot|>", ("<|head|>", "<|/head|>")))


@pytest.mark.parametrize(
    "bomb", [BOMB, GROWTH, "{{ messages[0].role * 10**11 }}", "{{ 10 ** (10 ** (9 + messages|length)) }}"]
)
@pytest.mark.parametrize("condition", ["messages[0].content|length > 60", "messages|length > 6"])
def test_a_bomb_that_waits_ends_in_one_line(bomb: str, condition: str) -> None:
    made = encoder("{% if " + condition + " %}" + bomb + "{% endif %}" + TRIMMED)
    short = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert made.encode(short, generate=True).ids
    with pytest.raises(UsageError, match=TOO_MUCH) as error:
        made.encode([Message("user", LONG), *short[1:] * 4], generate=True)
    assert "\n" not in str(error.value)
    # Other templates are rendered as before.
    assert encoder(TRIMMED).encode([Message("user", LONG)], generate=True).ids


def test_a_rejection_of_many_lines_is_one_line() -> None:
    template, chat = "{{ raise_exception('no\\n  more') }}", [{"role": "user", "content": "a"}]
    with pytest.raises(UsageError, match="the chat template rejects the chat: no more") as error:
        render(template, chat, special={}, generate=True, name="m")
    assert "\n" not in str(error.value)


# -- Several templates -------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def set_template(model: Path, template: Any) -> None:
    (model / "chat_template.jinja").unlink(missing_ok=True)
    file = model / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": template}))


def named(**templates: Any) -> list[dict[str, Any]]:
    return [{"name": name, "template": template} for name, template in templates.items()]


def test_a_bomb_in_one_of_several_templates_is_refused(model: Path) -> None:
    set_template(model, named(default=BOMB + SEED, tool_use=SEED))
    with pytest.raises(UsageError, match=TOO_MUCH):
        load_tokenizer(model)


def test_a_bomb_in_a_template_file_among_several_is_refused(model: Path) -> None:
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "b.jinja").write_text(SEED)
    (model / "chat_template.jinja").write_text(GROWTH + SEED)
    with pytest.raises(UsageError, match=TOO_MUCH):
        load_tokenizer(model)


def test_of_several_templates_only_the_default_one_is_used(model: Path) -> None:
    expected = ChatEncoder(load_tokenizer(model)).encode([Message("user", "a")], generate=True)
    set_template(model, named(tool_use=BOMB, default=SEED))
    assert ChatEncoder(load_tokenizer(model)).encode([Message("user", "a")], generate=True) == expected


@pytest.mark.parametrize("template", [named(tool_use=SEED), {"default": 5}, 5, [5], {"a": SEED}])
def test_templates_without_a_default_or_of_another_kind_are_refused(model: Path, template: Any) -> None:
    set_template(model, template)
    with pytest.raises(UsageError) as error:
        load_tokenizer(model)
    assert "\n" not in str(error.value)
