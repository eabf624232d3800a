"""Whatever a stranger's file holds or is, it is refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.models.adapter_check import ADAPTER_FILES, check_adapter
from kintsugi.agents.models.scripted import TABLE, open_scripted, read_table
from kintsugi.benchmarks.reproduce.seed_results import SeedResult
from kintsugi.cli.main import main
from kintsugi.envs import Task, TaskSet
from kintsugi.envs.code import published
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.alfworld.files import read_file
from kintsugi.envs.household.language.grammar import read_grammar
from kintsugi.envs.reading import parse_json, read_bytes, read_text
from kintsugi.envs.trading.data import load_market, read_items
from kintsugi.envs.web import WebEnv
from kintsugi.errors import UsageError
from kintsugi.loops.seeds.recipe import DEMONSTRATIONS, demonstrations_of


def in_folder(name: str, read: Callable[[Path], Any], *others: str) -> Callable[[Path], Any]:
    """Return a reader of a file that it gets as the file `name` of a folder."""

    def read_folder(path: Path) -> Any:
        folder = path.parent / "folder"
        folder.mkdir(exist_ok=True)
        for other in others:
            (folder / other).touch()
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(path)
        return read(folder)

    return read_folder


READERS: dict[str, Callable[[Path], Any]] = {
    "tasks": TaskSet.load,
    "live": lambda path: WebEnv.tasks("test", world="live", path=str(path)),
    "humaneval": lambda path: published.read("humaneval", path, "test"),
    "mbpp": lambda path: published.read("mbpp", path, "test"),
    "game": read_file,
    "news": read_items,
    "prices": load_market,
    "script": lambda path: open_scripted(str(path)),
    "table": in_folder(TABLE, read_table),
    "adapter": in_folder(ADAPTER_FILES[0], check_adapter, *ADAPTER_FILES[1:]),
    "demonstrations": in_folder(DEMONSTRATIONS, demonstrations_of),
}
EMPTY_IS_EMPTY = ("tasks", "news", "demonstrations")
CONTENTS = {
    "empty": b"",
    "lists": b"[" * 200_000,
    "objects": b'{"a":' * 200_000,
    "whole lists": b"[" * 100_000 + b"]" * 100_000,
    "second line": b'{"id": "a", "ques": "q", "web": "http://a.example/"}\n' + b"[" * 200_000,
    "no text": b"\xff\xfe\x00\xd8",
    "null": b"null",
    "nan": b"NaN",
    "number": b"9" * 10_000,
    "nul": b"\0",
    "surrogate": b'"\\ud800"',
    "numbers": b"[1, 2]",
    "object": b'{"a": 1}',
    "nested value": b'{"turns": {"a": [[]]}, "values": {"a": "x"}, "task_id": {}, "web": [[]], "ques": [[]], "": []}',
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_what_a_file_holds_is_refused_in_one_line(reader, content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[content])
    if content == "empty" and reader in EMPTY_IS_EMPTY:
        assert len(READERS[reader](path)) == 0
        return
    with pytest.raises(UsageError) as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)
    assert "file" in str(caught.value) or "folder" in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "absent", "long", "nul", "loop"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_in_one_line(reader, kind, tmp_path):
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "long":
        path = tmp_path / ("x" * 300)
    elif kind == "nul":
        path = Path("a\0b")
    elif kind == "loop":
        path.symlink_to(path)
    if reader in ("table", "adapter", "demonstrations"):
        if kind in ("long", "nul", "device"):
            path = path / "more"
            read: Any = {"table": read_table, "adapter": check_adapter, "demonstrations": demonstrations_of}[reader]
        else:
            read = READERS[reader]
        if reader == "demonstrations" and kind in ("absent", "device", "nul", "loop"):
            assert read(path) == []
            return
    else:
        read = READERS[reader]
    with pytest.raises(UsageError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "none"])
def test_a_folder_of_games_that_cannot_be_read_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="games"):
        HouseholdEnv.tasks("train", source="alfworld", path=tmp_path / name)


@pytest.mark.parametrize("content", ["lists", "objects", "no text", "null"])
def test_other_readers(content, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[content])
    assert main(["improve", "re-rest", "--config", str(path)]) == 2
    assert "cannot read the configuration" in " ".join(capsys.readouterr().err.split())
    text = CONTENTS[content].decode("latin-1")
    with pytest.raises(UsageError, match="is not the result of a seed"):
        SeedResult.from_json(text, path)
    with pytest.raises(UsageError, match="here: the rules that end in line 1 are not"):
        read_grammar(f'grammar :: """{text[:200_000]}""";', "here")


def test_params_that_are_nested_too_deeply_are_refused():
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(UsageError, match="task 't': params are nested too deeply"):
        Task("t", "tiny/Echo-v0", "train", 0, {"a": nested})


def test_a_line_of_a_live_task_may_hold_any_character(tmp_path):
    rows = [{"id": name, "ques": f"q\u2028\x85{name}", "web": "http://a.example/"} for name in "ab"]
    path = tmp_path / "tasks.jsonl"
    path.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert [task.params["goal"] for task in WebEnv.tasks("test", world="live", path=str(path))] == [
        row["ques"] for row in rows
    ]


def test_files_are_read_as_they_are(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b'{"a": "\xc3\xa9"}\r\n[]\r')
    assert read_bytes(path) == b'{"a": "\xc3\xa9"}\r\n[]\r'
    assert read_text(path) == '{"a": "\u00e9"}\n[]\n'
    assert parse_json('{"a": "\u00e9"}') == parse_json(b'{"a": "\xc3\xa9"}') == {"a": "\u00e9"}
