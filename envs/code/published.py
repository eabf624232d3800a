"""HumanEval and MBPP, from the JSONL files that their authors publish."""

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
"""Task numbers of each split, as the paper divides them (Austin et al., 2021)."""


@dataclass(frozen=True)
class Read:
    """What a file held."""

    tasks: tuple[Task, ...]
    problems: tuple[str, ...]
    """Lines that are no tasks: file, line, and what is wrong."""


def read(source: str, path: Path, split: str) -> Read:
    """The tasks of a split. Raises `UsageError` for a file that cannot be read or an unknown split.

    HumanEval has one split, `test`; MBPP has `train`, `valid`, `test` and `prompt`.
    """
    splits = ["test"] if source == "humaneval" else list(MBPP_SPLITS)
    if split not in splits:
        raise unknown(f"split of {source}", split, splits)
    make = _humaneval if source == "humaneval" else _mbpp
    tasks: dict[str, Task] = {}
    problems = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            name, of, problem = make(_row(line))
            if name in tasks:
                raise ValueError(f"the task {name!r} is there twice")
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if of == split:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            tasks[name] = Task(name, ENV_ID, split, seed, problem.params(family=source))
    return Read(tuple(tasks.values()), tuple(problems))


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            for line in file:
                if line.strip():
                    yield line
    except (OSError, EOFError) as error:
        raise UsageError(f"cannot read code tasks from {path} ({error}); name the published JSONL file") from None


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the line is no JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"the line is {type(row).__name__}, expected a JSON object")
    return row


def _text(row: dict[str, Any], *names: str) -> str:
    """The first of these fields that there is."""
    for name in names:
        if name in row:
            if not isinstance(row[name], str):
                raise ValueError(f"the field {name!r} is {type(row[name]).__name__}, expected a string")
            return str(row[name])
    raise ValueError(f"the field {names[0]!r} is missing")


def _texts(row: dict[str, Any], name: str) -> list[str]:
    value = row.get(name, [])
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError(f"the field {name!r} is {str(value)[:40]!r}, expected a list of strings")
    return value


def _tree(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is no Python ({error})") from None


def _humaneval(row: dict[str, Any]) -> tuple[str, str, Problem]:
    name, prompt, entry = _text(row, "task_id"), _text(row, "prompt"), _text(row, "entry_point")
    solution, tests = prompt + _text(row, "canonical_solution"), _text(row, "test")
    _tree(tests, "the field 'test'")
    function = _function(_tree(prompt, "the field 'prompt'"), entry)
    lines = prompt.splitlines(keepends=True)
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    problem = Problem(
        type="humaneval",
        prompt=f"Complete this Python code.\n{prompt.rstrip()}",
        goal=f"complete the Python function {entry}",
        entry=entry,
        solution=solution,
        visible_code="\n".join(_examples(ast.get_docstring(function) or "", entry)),
        hidden_code=tests,
        setup=prompt,
        given="".join(lines[: first - 1]),
    )
    return name, "test", problem


def _function(tree: ast.Module, entry: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return node
    raise ValueError(f"the field 'prompt' has no function {entry!r}, which 'entry_point' names")


def _examples(text: str, entry: str) -> Iterator[str]:
    """The examples of a docstring as assertions, where they call the function and show a plain value."""
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


def _mbpp(row: dict[str, Any]) -> tuple[str, str, Problem]:
    number = row.get("task_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("the field 'task_id' is missing" if number is None else f"the field 'task_id' is {number!r}")
    split = next((name for name, numbers in MBPP_SPLITS.items() if number in numbers), "")
    if not split:
        raise ValueError(f"the field 'task_id' is {number}, expected 1 to 974")
    text, code = _text(row, "text", "prompt"), _text(row, "code")
    if "test_list" not in row:
        raise ValueError("the field 'test_list' is missing")
    tests = [*_texts(row, "test_list"), *_texts(row, "challenge_test_list")]
    if not tests:
        raise ValueError("the field 'test_list' is empty")
    setup = _text(row, "test_setup_code") if "test_setup_code" in row else "\n".join(_texts(row, "test_imports"))
    entry = _entry(_tree(code, "the field 'code'"), _tree("\n".join(tests), "the field 'test_list'"))
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


def _entry(code: ast.Module, tests: ast.Module) -> str:
    """The function of the solution that the tests call."""
    defined = {node.name for node in code.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tests):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
            return node.func.id
    raise ValueError("the tests call no function that the field 'code' defines")
