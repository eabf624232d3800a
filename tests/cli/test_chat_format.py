"""`--chat-template` and `--date`: a base without a chat template, a fixed date in the record, and one-line errors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from command_line import refused, run_command
from kintsugi.agents.models.weights import quiet_transformers
from tiny_models import byte_tokenizer, network

TEMPLATE = (
    "{{ 'Today is ' + strftime_now('%d %B %Y') + '\n' }}{% for m in messages %}{{ m.role + ': ' + m.content }}"
    "{{ eos_token if m.role == 'assistant' else '' }}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
SMALL = ("--env", "door_env:Doors", "--max-tokens", "4", "--tasks", "2")

pytestmark = pytest.mark.usefixtures("working_folder")


@pytest.fixture
def bare(working_folder: Path) -> str:
    """A base model without a chat template, and a file with one."""
    with quiet_transformers():
        network("gpt2", n_positions=1024).save_pretrained("bare")
        byte_tokenizer(None, "<|endoftext|>").save_pretrained("bare")
    Path("chat.jinja").write_text(TEMPLATE)
    return "bare"


def test_a_base_without_a_template_is_measured_with_that_of_a_file(
    bare: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("eval", "--model", bare, *SMALL, "--run", "run")
    assert "'bare' has no chat template; pass one with --chat-template FILE" in refused(capsys, *command)
    code, out, _ = run_command(capsys, *command, "--chat-template", "chat.jinja")
    assert (code, "bare" in out) == (0, True)
    record = tomllib.loads(Path("run/config.toml").read_text())
    assert record["date"] == "2024-07-26"
    # Another template makes another model of it, and another date another run.
    Path("other.jinja").write_text(TEMPLATE + " ")
    assert "use a new run folder, or another name" in refused(capsys, *command, "--chat-template", "other.jinja")
    dated = refused(capsys, *command, "--chat-template", "chat.jinja", "--date", "2026-03-01")
    assert 'date: "2024-07-26" -> "2026-03-01"' in dated


def test_the_record_of_a_loop_holds_template_and_date(bare: str, capsys: pytest.CaptureFixture[str]) -> None:
    loop, model = ("improve", "self-training"), ("--model", bare, "--chat-template", "chat.jinja")
    more: tuple[str, ...] = (
        "--env",
        "door_env:Doors",
        "--gate",
        "off",
        "--loop.practice.tasks",
        "2",
        "--loop.attempts.k",
        "1",
    )
    more = (*more, "--held-out.tasks", "2", "--held-out.max-tokens", "4", "--loop.attempts.max-tokens", "4")
    # A random model passes no task.
    nothing = refused(capsys, *loop, *model, *more, "--date", "2026-03-01", "--run", "run")
    record = tomllib.loads(Path("run/config.toml").read_text())
    assert record["date"] == "2026-03-01"
    assert "~chat:" in record["model"]
    # Another run begins from the record.
    assert refused(capsys, *loop, *model, "--config", "run/config.toml", "--run", "again") == nothing
    assert tomllib.loads(Path("again/config.toml").read_text()) == record


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--chat-template", "none.jinja"), "cannot read the chat template 'none.jinja': "),
        (("--chat-template", "."), "cannot read the chat template '.': it is not a regular file"),
        (("--chat-template", "empty.jinja"), "the chat template 'empty.jinja' is empty; expected a Jinja template"),
        (("--chat-template", "bytes.jinja"), "cannot read the chat template 'bytes.jinja': 'utf-8' codec"),
        (("--chat-template", "broken.jinja"), "the chat template rejects the chat: "),
        (
            ("--chat-template", "chat.jinja", "--date", "tomorrow"),
            "the date of chats is 'tomorrow'; expected YYYY-MM-DD",
        ),
        (
            ("--chat-template", "chat.jinja", "--max-tokens", "1020"),
            "bare allows 4 tokens here, but the first and last",
        ),
        (("--model", "scripted:x", "--date", "2026-03-01"), "backend 'scripted' (answers from a file, for tests"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    flags: tuple[str, ...], expected: str, bare: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.jinja").write_text(" \n")
    Path("bytes.jinja").write_bytes(b"\xff\xfe")
    Path("broken.jinja").write_text("{% for m in %}")
    assert expected in refused(capsys, "eval", "--model", bare, *SMALL, "--run", "run", *flags)
    assert not Path("run").exists()
