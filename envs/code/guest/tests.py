"""Runs the tests of a solution that runs in another sandbox, and sends the verdict to the host."""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from .guard import REASON, Inconsistent
from .link import ConnectionLost
from .namespace import MODULE, Namespace, SolutionModule, TestsModule
from .process_state import ProcessState
from .tests_peer import RAISED, SolutionLink, TestsPeer, short_repr


class AssertRecorder(ast.NodeTransformer):
    """Rewrites tests so that the outcome of each assertion is recorded and the tests continue after a failure.

    A call of `__done__` follows each outer statement of the tests and of their function `check`.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Turn `assert x` into `with __note__(number): assert x`."""
        self.texts.append(ast.unparse(ast.Assert(node.test, None)))
        recording = ast.parse(f"with __note__({len(self.texts) - 1}):\n    pass").body[0]
        assert isinstance(recording, ast.With)
        recording.body = [node]
        return ast.copy_location(recording, node)

    def rewrite(self, tree: ast.Module) -> ast.Module:
        """Return the rewritten tests."""
        tree = self.visit(tree)
        for owner in [tree, *(each for each in tree.body if _is_check(each))]:
            assert isinstance(owner, (ast.Module, ast.FunctionDef))
            body: list[ast.stmt] = []
            for statement in owner.body:
                # Only docstrings may stand before imports from `__future__`.
                done = ast.parse("" if isinstance(statement, (ast.ImportFrom, ast.Expr)) else "__done__()").body
                body += [statement, *done]
            owner.body = body
        return ast.fix_missing_locations(tree)


def _is_check(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "check"


def may_catch(tree: ast.Module) -> bool:
    """Return whether tests contain code that could catch the error of a failed assertion."""
    catching = (ast.Try, ast.With, ast.AsyncWith, ast.Lambda, ast.ClassDef, getattr(ast, "TryStar", ast.Try))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = [node for node in functions if not _is_check(node) or node not in tree.body]
    return bool(inner) or any(isinstance(node, catching) for node in ast.walk(tree))


class Recording:
    """One run of the tests that continues after a failed assertion."""

    def __init__(self, restart: Callable[[], str], reply: Callable[[], str]) -> None:
        self.restart = restart
        self.reply = reply
        self.failed: dict[int, str] = {}
        self.reached: set[int] = set()
        self.done: set[int] = set()
        """Assertions in statements that have ended."""
        self.end = ""
        """Why the tests did not run to their end, or an empty string."""

    @contextlib.contextmanager
    def note(self, number: int) -> Iterator[None]:
        """Record the outcome of one assertion and suppress its exception."""
        self.reached.add(number)
        self.reply()
        try:
            yield
        except ConnectionLost as lost:
            self.failed.setdefault(number, str(lost))
            self.restart()
        except (Exception, SystemExit) as error:
            self.failed.setdefault(number, self._reason(error))

    def finish_statement(self) -> None:
        """Record that a statement of the tests has ended."""
        self.done |= self.reached

    def passed(self) -> set[int]:
        """Return the assertions that passed. If the tests ended early, those in the last statement did not."""
        return (self.done if self.end else self.reached) - self.failed.keys()

    def _reason(self, error: BaseException) -> str:
        said = self.reply()
        if isinstance(error, Inconsistent):
            return REASON
        return said if said and (isinstance(error, AssertionError) or said.startswith(RAISED)) else describe(error)


def describe(error: BaseException) -> str:
    """Return an exception as one line."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:
        return type(error).__name__


def fetch_names_in_classes(names: Namespace, code: str) -> None:
    """Look up the names that classes use in their bodies, which do not look for a missing name as functions do."""
    classes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef)]
    nodes = [node for each in classes for statement in each.body for node in ast.walk(statement)]
    for name in {node.id for node in nodes if isinstance(node, ast.Name)}:
        with contextlib.suppress(KeyError):
            names[name] = names[name]


def run_tests(names: Namespace, job: dict[str, Any], code: types.CodeType) -> None:
    """Run tests to their end. Raises what they raise."""
    entry = job["entry"]
    fetch_names_in_classes(names, job["setup"])
    exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), names)
    # The setup may define a stub of the function to write.
    names.pop(entry, None)
    fetch_names_in_classes(names, job["tests"])
    if entry:
        try:
            names[entry]
        except KeyError:
            raise LookupError(f"there is no function {entry} in it") from None
    exec(code, names)
    if callable(names.get("check")) and entry:
        names["check"](names[entry])


def own_names(peer: TestsPeer, job: dict[str, Any]) -> Namespace:
    """Return the names of tests before they run, in a process as it was before any tests ran."""
    if peer.state:
        peer.state.reset()
    names = Namespace(peer.value, job["entry"])
    names.update(__builtins__=builtins, __name__=MODULE)
    sys.modules.update({MODULE: TestsModule(names), "solution": SolutionModule(peer)})
    return names


def record(names: Namespace, job: dict[str, Any], tree: ast.Module, recording: Recording) -> Recording:
    """Run rewritten tests and return the recording."""
    names.update(__note__=recording.note, __done__=recording.finish_statement)
    try:
        run_tests(names, job, compile(tree, "tests.py", "exec", dont_inherit=True))
    except BaseException as error:
        plain = isinstance(error, (LookupError, ConnectionLost)) and not isinstance(error, (KeyError, IndexError))
        recording.end = (str(error) if plain else describe(error)) or "the tests did not run to their end"
    return recording


def run_assertions(peer: TestsPeer, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run tests that consist of assertions.

    Yields:
        A verdict: `passed` and `total` (numbers of assertions), `earned` (those of them that give partial credit), and
        `failed` (pairs of an assertion's text and the reason). A later verdict replaces an earlier one.
    """
    recorder = AssertRecorder()
    tree = recorder.rewrite(ast.parse(job["tests"]))
    error = peer.start()
    total = max(1, len(recorder.texts))
    if error:
        yield {"passed": 0, "earned": 0, "total": total, "failed": [["", error]]}
        return

    def reply() -> str:
        said, peer.reply = peer.reply, ""
        return said

    peer.state = ProcessState(job["setup"] + job["tests"])
    run = record(own_names(peer, job), job, tree, Recording(peer.start, reply))
    if not run.end and not run.failed and not peer.connection.losses:
        count = max(1, len(run.reached))
        yield {"passed": count, "earned": count, "total": count, "failed": []}
        return
    if not run.end and not run.failed:
        run.end = "the tests went on although an answer was missing"
    passed = run.passed()
    if not run.end:
        total = len(run.reached)
    elif len(passed) == total:
        # All assertions passed, but the tests did not end. That counts as one more test.
        total += 1
    missed = {number: run.end for number in range(len(recorder.texts)) if run.end and number not in passed}
    failed = {**missed, **run.failed}
    texts = [[recorder.texts[number][:300], failed[number]] for number in sorted(failed)] or [["", run.end]]
    verdict = {"passed": len(passed), "earned": len(passed), "total": total, "failed": texts}
    if may_catch(ast.parse(job["tests"])) and not peer.start():
        # Tests may pass although an assertion failed, if they catch the error.
        yield {**verdict, "passed": 0, "earned": 0}
        if _passes(peer, job):
            yield {"passed": total, "earned": total, "total": total, "failed": []}
            return
    yield {**verdict, "earned": 0}
    stub = own_names(peer, job)
    stub.lookup = {job["entry"]: lambda *arguments, **keywords: None}.__getitem__
    yield {**verdict, "earned": len(passed - record(stub, job, tree, Recording(str, str)).passed())}


def _passes(peer: TestsPeer, job: dict[str, Any]) -> bool:
    """Return whether the unchanged tests run to their end."""
    names = own_names(peer, job)
    peer.connection.losses = 0
    try:
        run_tests(names, job, compile(job["tests"], "tests.py", "exec", dont_inherit=True))
    except BaseException:
        return False
    return not peer.connection.losses


def run_calls(peer: TestsPeer, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run tests that are calls with expected values. Yields a verdict, as `run_assertions` does."""
    calls, failed, earned = job["calls"], [], 0
    error = peer.start()
    if not error and job["entry"] not in peer.names:
        error = f"there is no function {job['entry']} in it"
    if error:
        yield {"passed": 0, "earned": 0, "total": len(calls), "failed": [["", error]]}
        return
    lost = False
    for index, (head, arguments, expected) in enumerate(calls):
        if lost and peer.start():
            failed += [[head, "was not run"] for head, *_ in calls[index:]]
            break
        lost = False
        try:
            value = peer.value(job["entry"])(*arguments)
            reason = "" if bool(value == expected) else f"gave {short_repr(value)}, expected {expected!r}"
        except ConnectionLost as error_:
            lost, reason = True, str(error_)
        except BaseException as error_:
            said = peer.reply.removeprefix(RAISED) if peer.reply.startswith(RAISED) else describe(error_)
            reason = f"raised {said}, expected {expected!r}"
        if reason:
            failed.append([head, reason])
        else:
            earned += expected is not None
    passed = len(calls) - len(failed)
    earned = len(calls) if not failed else earned
    yield {"passed": passed, "earned": earned, "total": len(calls), "failed": failed}


def main() -> None:
    """Read the tests, run them and send the verdict to the host."""
    job = json.loads(sys.stdin.buffer.read())
    link = SolutionLink()
    peer = TestsPeer(link)
    for verdict in (run_calls if "calls" in job else run_assertions)(peer, job):
        link.give_verdict(verdict)
    os._exit(0)
