"""Small changes of a program, each of which makes another program: wrong solutions, made from right ones."""

from __future__ import annotations

import ast
import copy
import random
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.Div: (ast.FloorDiv, ast.Mult),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
NAMES = {
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "sum": "len",
    "len": "id",
    "set": "list",
    "list": "tuple",
    "tuple": "list",
    "int": "float",
    "str": "repr",
    "abs": "float",
    "reversed": "list",
    "enumerate": "list",
}
METHODS = {
    "upper": "lower",
    "lower": "upper",
    "append": "extend",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "strip": "lstrip",
    "isupper": "islower",
    "islower": "isupper",
    "startswith": "endswith",
    "endswith": "startswith",
    "find": "rfind",
    "keys": "values",
    "values": "keys",
    "add": "discard",
    "isdigit": "isalpha",
    "isalpha": "isdigit",
    "pop": "copy",
    "union": "intersection",
    "intersection": "union",
}
STARTS = (
    "return None",
    "return NotImplemented",
    "raise ValueError('wrong')",
    "raise SystemExit(0)",
    "raise KeyboardInterrupt",
    "raise AssertionError('wrong')",
    "raise StopIteration",
    "raise GeneratorExit",
    "import os; os._exit(0)",
    "return ''",
    "return []",
    "return 0",
    "return True",
    "return False",
)
"""Statements that a function is made to start with."""


@dataclass(frozen=True)
class Mutant:
    """A changed program."""

    change: str
    """What was changed, and on which line."""
    source: str
    """Source of the changed program."""


def mutants(source: str, count: int | None = None, seed: int = 0, *, spare: Collection[str] = ()) -> list[Mutant]:
    """Return the programs that one change makes of this one, without repetitions.

    Args:
        source: Python source.
        count: Number of mutants, drawn at random. None means all of them.
        seed: Seed of the draw. The same arguments give the same mutants.
        spare: Names of functions and classes that are left as they are.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Such as comparisons with a literal by `is`.
        found = list(_all_mutants(ast.parse(source), spare))
    if count is not None and count < len(found):
        found = random.Random(f"{seed} {source}").sample(found, count)
    return found


def _all_mutants(tree: ast.Module, spare: Collection[str]) -> Iterator[Mutant]:
    seen = {ast.unparse(tree)}
    spared = {id(node) for top in tree.body if getattr(top, "name", "") in spare for node in ast.walk(top)}
    for number, node in enumerate(ast.walk(tree)):
        for change, edit in _edits(node) if id(node) not in spared else ():
            changed = copy.deepcopy(tree)
            edit(next(each for at, each in enumerate(ast.walk(changed)) if at == number))
            try:
                text = ast.unparse(ast.fix_missing_locations(changed))
                compile(text, "mutant.py", "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            if text not in seen:
                seen.add(text)
                yield Mutant(f"line {getattr(node, 'lineno', 0)}: {change}", text)


Edit = tuple[str, Callable[..., None]]


def _edits(node: ast.AST) -> Iterator[Edit]:
    """Yield the changes of one node: a description, and a function that changes a copy of the node in place."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield f"{type(op).__name__} becomes {other.__name__}", _setter_at("ops", at, other())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        for operator in OPERATORS.get(type(node.op), ()):
            yield f"{type(node.op).__name__} becomes {operator.__name__}", _setter("op", operator())
        if isinstance(node, ast.BinOp):
            yield "operands swapped", _swap_operands
    elif isinstance(node, ast.BoolOp):
        yield "and/or swapped", _setter("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        yield "first condition dropped", _drop_first("values")
    elif isinstance(node, ast.UnaryOp):
        yield "sign or not dropped", _setter("op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub())
    elif isinstance(node, ast.Constant):
        yield from _constant_edits(node)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield "condition negated", _negate
        yield "condition is False", _setter("test", ast.Constant(False))
        if not isinstance(node, ast.While):
            yield "condition is True", _setter("test", ast.Constant(True))
    elif isinstance(node, ast.Call):
        yield from _call_edits(node)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "returns None", _setter("value", ast.Constant(None))
        yield "returns a tuple of the result", _wrap_result("({},)")
        yield "returns the text of the result", _wrap_result("str({})")
        yield "returns the negation of the result", _wrap_result("not {}")
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield "filter dropped", _drop_first("ifs")
    elif isinstance(node, ast.Slice):
        for name in ("lower", "upper", "step"):
            if getattr(node, name) is not None:
                yield f"{name} dropped", _setter(name, None)
    elif isinstance(node, ast.FunctionDef):
        yield from _function_edits(node)
    for name in ("body", "orelse", "finalbody"):
        statements = getattr(node, name, None)
        if isinstance(statements, list) and not isinstance(node, ast.Module):
            for at, statement in enumerate(statements):
                if not _is_docstring(statement) and not isinstance(statement, ast.Pass):
                    yield f"statement on line {statement.lineno} removed", _setter_at(name, at, ast.Pass())
                if isinstance(statement, (ast.Break, ast.Continue)):
                    swapped = ast.Continue() if isinstance(statement, ast.Break) else ast.Break()
                    yield "break/continue swapped", _setter_at(name, at, swapped)


def _constant_edits(node: ast.Constant) -> Iterator[Edit]:
    value = node.value
    if isinstance(value, bool):
        others: list[object] = [not value]
    elif isinstance(value, (int, float)):
        others = [value + 1, value - 1, -value]
    elif isinstance(value, str):
        others = ["", value + "x", value[::-1]] if "\n" not in value else []
    else:
        others = [0] if value is None else []
    for other in others:
        yield f"{value!r} becomes {other!r}"[:60], _setter("value", other)


def _call_edits(node: ast.Call) -> Iterator[Edit]:
    if len(node.args) >= 2:
        yield "arguments swapped", _swap_arguments
    if node.args:
        yield "first argument dropped", _drop_first("args")
    if node.keywords:
        yield "keyword dropped", _drop_first("keywords")
    if isinstance(node.func, ast.Name) and node.func.id in NAMES:
        other = NAMES[node.func.id]
        yield f"{node.func.id} becomes {other}", _setter("func", ast.Name(other, ast.Load()))
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        other = METHODS[node.func.attr]
        yield f"{node.func.attr} becomes {other}", _setter_in("func", "attr", other)


def _function_edits(node: ast.FunctionDef) -> Iterator[Edit]:
    for text in STARTS:
        yield f"{node.name} starts with {text}", _insert_start(text)
    if len(node.args.args) >= 2:
        yield f"parameters of {node.name} swapped", _swap_parameters
    yield f"{node.name} is a generator", _insert_start("yield")
    yield f"{node.name} is renamed", _setter("name", f"{node.name}_")


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _setter(name: str, value: object) -> Callable[..., None]:
    return lambda node: setattr(node, name, value)


def _setter_at(name: str, at: int, value: object) -> Callable[..., None]:
    return lambda node: getattr(node, name).__setitem__(at, value)


def _setter_in(name: str, attribute: str, value: object) -> Callable[..., None]:
    return lambda node: setattr(getattr(node, name), attribute, value)


def _drop_first(name: str) -> Callable[..., None]:
    return lambda node: getattr(node, name).pop(0)


def _negate(node: ast.If) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _swap_operands(node: ast.BinOp) -> None:
    node.left, node.right = node.right, node.left


def _swap_arguments(node: ast.Call) -> None:
    node.args[0], node.args[1] = node.args[1], node.args[0]


def _swap_parameters(node: ast.FunctionDef) -> None:
    arguments = node.args.args
    arguments[0], arguments[1] = arguments[1], arguments[0]


def _wrap_result(form: str) -> Callable[..., None]:
    def edit(node: ast.Return) -> None:
        assert node.value is not None
        node.value = ast.parse(form.format(f"({ast.unparse(node.value)})"), mode="eval").body

    return edit


def _insert_start(text: str) -> Callable[..., None]:
    def edit(node: ast.FunctionDef) -> None:
        node.body = [*ast.parse(f"def f():\n    {text}").body[0].body, *node.body]  # type: ignore[attr-defined]

    return edit
