"""Reads HumanEval and MBPP from the files that their authors publish: JSONL, or one JSON array."""

from __future__ import annotations

import ast
import codecs
import contextlib
import doctest
import gzip
import hashlib
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError, unknown
from ..core import Task
from ..reading import parse_json, read_bytes
from .problem import Problem

ENV_ID = "kintsugi/Code-v0"
MBPP_SPLITS = {"prompt": range(1, 11), "test": range(11, 511), "valid": range(511, 601), "train": range(601, 975)}
"""Task numbers of each split of MBPP, as in Austin et al. (2021)."""


CPU_SECONDS = 15
"""CPU time in seconds for the tests of one task: 5 times what the slowest reference solution needs (MBPP 123, 3 s)."""


@dataclass(frozen=True)
class PublishedTasks:
    """The content of a published file."""

    tasks: tuple[Task, ...]
    """Tasks of the requested split."""
    bad_rows: tuple[str, ...]
    """One message per row that is not a task: file, number of the line or entry, and error."""


def read(source: str, path: Path, split: str) -> PublishedTasks:
    """Read the tasks of a split from a published file.

    Args:
        source: `humaneval` or `mbpp`.
        path: JSONL file or JSON array, gzipped if its name ends in `.gz`.
        split: `test` for HumanEval; `train`, `valid`, `test` or `prompt` for MBPP.

    Raises:
        UsageError: If the file cannot be read, or if the split is unknown or has no tasks in it.
    """
    return parse(source, read_content(path), split, path)


def read_content(path: Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in `.gz`. Raises `UsageError` if it cannot be read."""
    try:
        content = read_bytes(path)
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UsageError(
            f"cannot read code tasks from {path} ({error}); pass the published file, JSONL or one JSON array"
        ) from None


def parse(source: str, content: bytes, split: str, path: Path) -> PublishedTasks:
    """Read the tasks of a split from the content of a published file. `path` names the file in messages.

    Raises:
        UsageError: If the split is unknown or the file holds no task of it.
    """
    splits = ["test"] if source == "humaneval" else list(MBPP_SPLITS)
    if split not in splits:
        raise unknown("split", split, splits, source)
    make = _parse_humaneval if source == "humaneval" else _parse_mbpp
    found: dict[str, tuple[str, Problem]] = {}
    bad_rows = []
    for place, row in _rows(content):
        try:
            name, row_split, problem = make(_parse_row(row))
            if name in found:
                raise ValueError(f"the task id {name!r} occurs twice")
        except ValueError as error:
            bad_rows.append(f"{path}{place}: {error}")
            continue
        found[name] = row_split, problem
    tasks = [_task(name, source, split, problem) for name, (row_split, problem) in found.items() if row_split == split]
    if not tasks:
        raise UsageError(_no_tasks(source, split, path, [row_split for row_split, _ in found.values()], bad_rows))
    return PublishedTasks(tuple(tasks), tuple(bad_rows))


def _task(name: str, source: str, split: str, problem: Problem) -> Task:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return Task(name, ENV_ID, split, seed, problem.params(family=source))


def _no_tasks(source: str, split: str, path: Path, splits: list[str], bad_rows: list[str]) -> str:
    if splits:
        return (
            f"{path} holds no {source} task of split {split!r}, but {len(splits)} of {', '.join(sorted(set(splits)))}; "
            "pass one of these splits"
        )
    why = f"none of its {len(bad_rows)} rows is one; the first error is: {bad_rows[0]}" if bad_rows else "it is empty"
    return f"{path} holds no {source} task: {why}; pass the published file, JSONL or one JSON array"


def _rows(content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the place and the content of each row: lines as bytes, or the entries of a JSON array as values."""
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        entries = parse_json(content) if content.lstrip()[:1] == b"[" else None
    except ValueError:
        entries = None  # A JSONL file whose first line is a list. Its lines are reported one by one.
    if isinstance(entries, list):
        yield from ((f", entry {number}", entry) for number, entry in enumerate(entries, start=1))
        return
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield f":{number}", line


def _parse_row(row: Any) -> dict[str, Any]:
    what = "line" if isinstance(row, bytes) else "entry"
    try:
        row = parse_json(row) if isinstance(row, bytes) else row
    except ValueError as error:
        raise ValueError(f"the {what} is not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"the {what} is of type {type(row).__name__}; expected a JSON object")
    return row


def _check_text(text: str, name: str) -> str:
    """Return a text. Raises `ValueError` if it has lone surrogates, which neither files nor models can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the field {name!r} is not valid text ({error})") from None
    return text


def _string_field(row: dict[str, Any], *names: str) -> str:
    """Return the first of these fields that the row has."""
    for name in names:
        if name in row:
            if not isinstance(row[name], str):
                raise ValueError(f"the field {name!r} is of type {type(row[name]).__name__}; expected a string")
            return _check_text(str(row[name]), name)
    raise ValueError(f"the field {names[0]!r} is missing")


def _string_list_field(row: dict[str, Any], name: str) -> list[str]:
    value = row.get(name, [])
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError(f"the field {name!r} is {str(value)[:40]!r}; expected a list of strings")
    return [_check_text(item, name) for item in value]


def _parse_python(code: str, what: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # Doubtful escapes in other people's code are no concern of the reader, and no reason to leave out a task.
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is not valid Python ({error})") from None


def _parse_humaneval(row: dict[str, Any]) -> tuple[str, str, Problem]:
    name, prompt, entry = _string_field(row, "task_id"), _string_field(row, "prompt"), _string_field(row, "entry_point")
    completion, tests = _string_field(row, "canonical_solution"), _string_field(row, "test")
    _parse_python(tests, "the field 'test'")
    setup = _complete(prompt, completion)
    function = _find_function(_parse_python(setup, "the field 'prompt'"), entry)
    lines = prompt.splitlines(keepends=True)
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    problem = Problem(
        type="humaneval",
        prompt=f"Complete this Python code.\n{prompt.rstrip()}",
        goal=f"complete the Python function {entry}",
        entry=entry,
        solution=prompt + completion,
        visible_code="\n".join(_doctest_asserts(ast.get_docstring(function) or "", entry)),
        hidden_code=tests,
        setup=setup,
        given="".join(lines[: first - 1]),
        cpu_seconds=CPU_SECONDS,
    )
    return name, "test", problem


def _complete(prompt: str, completion: str) -> str:
    """Return the prompt as valid Python. Without a docstring, it may end in a function that has no body yet."""
    stub = f"{prompt}{completion[: len(completion) - len(completion.lstrip())]}...\n"
    for code in (prompt, stub):
        with contextlib.suppress(ValueError):
            _parse_python(code, "")
            return code
    return prompt


def _find_function(tree: ast.Module, entry: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return node
    raise ValueError(f"the field 'prompt' does not define the function {entry!r} that 'entry_point' names")


def _doctest_asserts(text: str, entry: str) -> Iterator[str]:
    """Yield the doctest examples of a text as assertions, if they call the function and show a literal value."""
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    for example in examples:
        try:
            [call] = _parse_python(example.source.strip(), "the example").body
            [want] = _parse_python(example.want.strip(), "the example").body
            if not (isinstance(call, ast.Expr) and isinstance(want, ast.Expr)):
                continue
            ast.literal_eval(want.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(call.value, ast.Call) and isinstance(call.value.func, ast.Name) and call.value.func.id == entry:
            # Unparsed, since a comment in the example would hide the comparison.
            yield ast.unparse(ast.Assert(ast.Compare(call.value, [ast.Eq()], [want.value]), None))


def _parse_mbpp(row: dict[str, Any]) -> tuple[str, str, Problem]:
    number = row.get("task_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(
            "the field 'task_id' is missing"
            if number is None
            else f"the field 'task_id' is {number!r}; expected 1 to 974"
        )
    split = next((name for name, numbers in MBPP_SPLITS.items() if number in numbers), "")
    if not split:
        raise ValueError(f"the field 'task_id' is {number}; expected 1 to 974")
    text, code = _string_field(row, "text", "prompt"), _string_field(row, "code")
    if "test_list" not in row:
        raise ValueError("the field 'test_list' is missing")
    tests = [*_string_list_field(row, "test_list"), *_string_list_field(row, "challenge_test_list")]
    if not tests:
        raise ValueError("the field 'test_list' is empty")
    setup = (
        _string_field(row, "test_setup_code")
        if "test_setup_code" in row
        else "\n".join(_string_list_field(row, "test_imports"))
    )
    entry = _tested_function(
        _parse_python(code, "the field 'code'"), _parse_python("\n".join(tests), "the field 'test_list'")
    )
    problem = Problem(
        type="mbpp",
        prompt=f"{text.strip()}\nThe function is tested like this:\n{tests[0]}",
        goal=text.strip(),
        entry=entry,
        solution=code,
        visible_code=tests[0],
        hidden_code="\n".join(tests),
        setup=setup,
        cpu_seconds=CPU_SECONDS,
    )
    return f"mbpp/{number}", split, problem


def _tested_function(code: ast.Module, tests: ast.Module) -> str:
    """Return the name of the function of the solution that the tests call."""
    defined = {node.name for node in code.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tests):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
            return node.func.id
    raise ValueError("the tests call no function that the field 'code' defines")
