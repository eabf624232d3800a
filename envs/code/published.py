"""Reads HumanEval and MBPP from the JSONL files that their authors publish."""

from __future__ import annotations

import ast
import doctest
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError, unknown
from ..core import Task
from .problem import Problem

ENV_ID = "kintsugi/Code-v0"
MBPP_SPLITS = {"prompt": range(1, 11), "test": range(11, 511), "valid": range(511, 601), "train": range(601, 975)}
"""Task numbers of each split of MBPP, as in Austin et al. (2021)."""


@dataclass(frozen=True)
class PublishedTasks:
    """The content of a published file."""

    tasks: tuple[Task, ...]
    """Tasks of the requested split."""
    bad_lines: tuple[str, ...]
    """One message per line that is not a task: file, line number and error."""


def read(source: str, path: Path, split: str) -> PublishedTasks:
    """Read the tasks of a split from a published file.

    Args:
        source: `humaneval` or `mbpp`.
        path: JSONL file, gzipped if its name ends in `.gz`.
        split: `test` for HumanEval; `train`, `valid`, `test` or `prompt` for MBPP.

    Raises:
        UsageError: If the file cannot be read or the split is unknown.
    """
    splits = ["test"] if source == "humaneval" else list(MBPP_SPLITS)
    if split not in splits:
        raise unknown("split", split, splits, source)
    make = _parse_humaneval if source == "humaneval" else _parse_mbpp
    tasks: dict[str, Task] = {}
    bad_lines = []
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            name, row_split, problem = make(_parse_row(line))
            if name in tasks:
                raise ValueError(f"the task id {name!r} occurs twice")
        except ValueError as error:
            bad_lines.append(f"{path}:{number}: {error}")
            continue
        if row_split == split:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            tasks[name] = Task(name, ENV_ID, split, seed, problem.params(family=source))
    return PublishedTasks(tuple(tasks.values()), tuple(bad_lines))


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            for line in file:
                if line.strip():
                    yield line
    except (OSError, EOFError) as error:
        raise UsageError(f"cannot read code tasks from {path} ({error}); pass the published JSONL file") from None


def _parse_row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the line is not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"the line is of type {type(row).__name__}; expected a JSON object")
    return row


def _string_field(row: dict[str, Any], *names: str) -> str:
    """Return the first of these fields that the row has."""
    for name in names:
        if name in row:
            if not isinstance(row[name], str):
                raise ValueError(f"the field {name!r} is of type {type(row[name]).__name__}; expected a string")
            return str(row[name])
    raise ValueError(f"the field {names[0]!r} is missing")


def _string_list_field(row: dict[str, Any], name: str) -> list[str]:
    value = row.get(name, [])
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError(f"the field {name!r} is {str(value)[:40]!r}; expected a list of strings")
    return value


def _parse_python(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is not valid Python ({error})") from None


def _parse_humaneval(row: dict[str, Any]) -> tuple[str, str, Problem]:
    name, prompt, entry = _string_field(row, "task_id"), _string_field(row, "prompt"), _string_field(row, "entry_point")
    solution, tests = prompt + _string_field(row, "canonical_solution"), _string_field(row, "test")
    _parse_python(tests, "the field 'test'")
    function = _find_function(_parse_python(prompt, "the field 'prompt'"), entry)
    lines = prompt.splitlines(keepends=True)
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    problem = Problem(
        type="humaneval",
        prompt=f"Complete this Python code.\n{prompt.rstrip()}",
        goal=f"complete the Python function {entry}",
        entry=entry,
        solution=solution,
        visible_code="\n".join(_doctest_asserts(ast.get_docstring(function) or "", entry)),
        hidden_code=tests,
        setup=prompt,
        given="".join(lines[: first - 1]),
    )
    return name, "test", problem


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
            tree = ast.parse(example.source.strip(), mode="eval")
            ast.literal_eval(example.want.strip())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        called = tree.body.func if isinstance(tree.body, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == entry:
            yield f"assert {example.source.strip()} == {example.want.strip()}"


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
    )
    return f"mbpp/{number}", split, problem


def _tested_function(code: ast.Module, tests: ast.Module) -> str:
    """Return the name of the function of the solution that the tests call."""
    defined = {node.name for node in code.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tests):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
            return node.func.id
    raise ValueError("the tests call no function that the field 'code' defines")
