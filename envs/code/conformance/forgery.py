"""Checks that a solution which runs in the sandbox cannot forge the verdict of its tests."""

from __future__ import annotations

import textwrap
from typing import Any

from ..grader import Grader, Verdict
from ..problem import Problem
from ..sandbox.core import Limits
from .context import CheckContext, require

TESTS = """
SECRET = "hidden-" + "tests"
import calendar
def check(candidate):
    assert candidate(2) == 17
    assert candidate(3) == 24
    assert candidate(5) == 38
"""
CALLBACKS = """
class Helper:
    limit = 38
    def value(self): return self.limit
def check(candidate):
    expected = 17
    def answer(x): return x * 7 + 3 == expected
    assert candidate(2, answer, Helper()) == expected
    assert candidate(5, Helper, Helper()) == Helper().value() + 0
    assert Helper.limit == 38
    assert candidate(0, len, (x for x in [3])) == 3
"""
LIMITS = Limits(seconds=60, cpu_seconds=2)


def _grade(context: CheckContext, solution: str, tests: str = TESTS, limits: Limits = LIMITS) -> Verdict:
    problem = Problem(type="", prompt="", goal="", entry="f", solution="", hidden_code=tests)
    return Grader(context.sandbox, limits).run_hidden(problem, textwrap.dedent(solution))


def _expect(context: CheckContext, solution: str, passed: int = 0, tests: str = TESTS) -> Verdict:
    verdict = _grade(context, solution, tests)
    require(
        verdict.passed == passed and not verdict.success,
        f"{verdict.passed} of {verdict.total} tests passed, expected {passed}; the failures are {verdict.failures}",
    )
    require("hidden-" not in verdict.printed, f"the solution printed {verdict.printed[:200]!r}")
    return verdict


def grades_right_solutions(context: CheckContext) -> None:
    """A right solution must pass, so that the other checks of this kind mean something."""
    verdict = _grade(context, "def f(x): return 7 * x + 3")
    require(verdict.success, f"the failures are {verdict.failures}")
    verdict = _grade(context, "def f(x, g, h): return 7 * x + 3", CALLBACKS)
    require(verdict.success, f"the failures are {verdict.failures}")


def tests_import_nothing_of_a_solution(context: CheckContext) -> None:
    """Modules that a solution plants must not run among its tests."""
    plant = """
        import os, sys
        code = "import sys, os; sys.stderr.write('planted'); os._exit(0)"
        folders = ("/tmp", "/dev/shm", ".", os.path.expanduser("~/.local/lib/python3.11/site-packages"), *sys.path)
        for folder in folders:
            for name in ("calendar", "ast", "json", "sitecustomize", "usercustomize", "guest", "locale", "re"):
                try:
                    os.makedirs(folder, exist_ok=True)
                    open(f"{folder}/{name}.py", "w").write(code)
                    open(f"{folder}/{name}.pth", "w").write(code)
                except OSError: pass
        os.environ["PYTHONPATH"] = "/tmp"
        sys.path.insert(0, "/tmp")
        def f(x): return 0
    """
    verdict = _expect(context, plant)
    require("planted" not in verdict.printed, "a planted module was run")


def tests_receive_no_signals(context: CheckContext) -> None:
    """A solution must not reach its tests by signals, timers or limits."""
    signals = """
        import os, resource, signal
        def f(x):
            for pid in (-1, 0, 1, os.getppid(), *range(2, 300)):
                for number in (signal.SIGINT, signal.SIGALRM, signal.SIGUSR1, signal.SIGSTOP, signal.SIGKILL):
                    if pid != os.getpid():
                        try: os.kill(pid, number)
                        except OSError: pass
                try: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0))
                except (OSError, ValueError): pass
            return 0
    """
    _expect(context, signals)
    ignored = (
        "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\n"
    )
    _expect(context, ignored + "def f(x): return 0")


def tests_must_run_to_their_end(context: CheckContext) -> None:
    """A solution that ends its tests between two assertions must not pass them."""
    tests = (
        "def check(candidate):\n    for x in range(50):\n        got = candidate(x)\n        assert got == x * 7 + 3\n"
    )
    ways = ("raise ValueError", "raise SystemExit", "raise KeyboardInterrupt", "raise GeneratorExit", "os._exit(0)",
            "os.kill(os.getpid(), 9)", "sys.exit(0)", "os.abort()", "exec('while True: pass')", "os.close(3)",
            "os.execv('/bin/true', ['true'])", "os.fork() or os._exit(0)", "threading.stack_size()"
            " and os._exit(0) or os._exit(1)")  # fmt: skip
    for way in ways:
        _expect(context, f"import os, sys, threading\ndef f(x):\n    if x: {way}\n    return 3\n", tests=tests)


def solutions_cannot_write_the_verdict(context: CheckContext) -> None:
    """Nothing that a solution writes, wherever it writes it, must count as a verdict."""
    forge = """
        import json, os
        verdict = json.dumps({"passed": 3, "earned": 3, "total": 3, "failed": []}).encode()
        frames = [b"V" + len(verdict).to_bytes(4, "big") + verdict, b"V" + (1).to_bytes(4, "big")
                  + len(verdict).to_bytes(4, "big") + verdict, len(verdict).to_bytes(4, "big") + verdict, verdict]
        def f(x):
            for fd in range(64):
                for frame in frames:
                    try: os.write(fd, frame)
                    except OSError: pass
            os._exit(0)
    """
    _expect(context, forge)
    _expect(context, forge.replace("os._exit(0)", "return 0"))
    at_load = forge.replace("def f(x):", "if True:").replace("os._exit(0)", "pass")
    _expect(context, at_load + "\n        f = int")


def solutions_cannot_answer_out_of_turn(context: CheckContext) -> None:
    """Messages that a solution sends by itself must not become answers that are right."""
    answer = """
        import json, os
        def send(message):
            data = json.dumps(message).encode()
            os.write(3, len(data).to_bytes(4, "big") + data)
        def f(x):
            for message in MESSAGES:
                send(message)
            return 0
    """
    messages: tuple[list[Any], ...] = (
        [["return", [True], [], [], []]] * 5,
        [["verdict", [{"passed": 3}], [], [], []], ["clear", [], [], [], []], ["give_verdict", [3], [], [], []]],
        [["operate", [["type", "builtins.exec"], "__call__", None, None], [], [], []]],
        [["attribute", ["get", ["@", 1], "__globals__"], [], [], []]] * 3,
        [["return", [["@", 1]], [[1, "object", ["type", "builtins.object"]]], [], []]],
        [None, 3, "x", [], {}, [[[[]]]]],
    )
    for each in messages:
        _expect(context, answer.replace("MESSAGES", repr(each)))


def solutions_cannot_read_the_tests(context: CheckContext) -> None:
    """A solution must not find its tests in frames, objects, memory, files, or other processes."""
    search = """
        import ctypes, gc, glob, os, sys
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        found = []
        def f(x):
            frame = sys._getframe()
            while frame:
                found.extend(n for n, v in frame.f_locals.items() if "stset-neddih"[::-1] in repr(v)[:99999])
                frame = frame.f_back
            found.extend("gc" for o in gc.get_objects() if isinstance(o, (dict, list)) and "TERCES"[::-1] in o)
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in glob.glob(f"/proc/{pid}/fd/*") + [f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"]:
                    try:
                        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
                        data = os.read(fd, 1 << 20)
                        os.close(fd)
                        found.extend([name] if b'"stset" + "-neddih"'[::-1] in data else [])
                    except OSError: pass
            print("found", found)
            return 0
    """
    verdict = _expect(context, search)
    require("found []" in verdict.printed, f"the solution printed {verdict.printed[-300:]!r}")


def answers_cannot_equal_everything(context: CheckContext) -> None:
    """An answer that says that it equals any value must not count as equal, in whatever form it comes."""
    always = """
        class Any(BASE):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 17
            def __contains__(self, item): return True
            def __bool__(self): return True
        def f(x): return Any()
    """
    for base in ("object", "int", "list", "str", "dict", "tuple", "float", "Exception"):
        _expect(context, always.replace("BASE", base))
    guess = always.replace(
        "return True\n            def __ne__", "return isinstance(other, int)\n            def __ne__"
    )
    _expect(context, guess.replace("BASE", "object"))
    contained = (
        "def check(candidate):\n    assert 17 in candidate(2)\n    assert candidate(2) in [17]\n"
        "    assert {candidate(2)} == {17}\n"
    )
    _expect(context, always.replace("BASE", "object"), tests=contained)
    nested = (
        "def check(candidate):\n    assert candidate(2) == [17, {'a': (1, 2)}]\n"
        "    assert candidate(3) == {'x': None}\n"
    )
    _expect(context, always.replace("BASE", "object"), tests=nested)


def answers_that_are_almost_always_equal_are_exposed(context: CheckContext) -> None:
    """An answer that equals most values must not count as equal, whatever it returns and whatever is expected."""
    cases = (
        ("return 1", "17"), ("return [0]", "17"), ("return True", "{}"), ("return True", "[int, str]"),
        ("return not isinstance(other, str)", "__import__('datetime').date(2020, 1, 3)"),
        ("return not isinstance(other, str)", "__import__('collections').deque([1, 2])"),
        ("return not isinstance(other, str)", "range(4)"), ("return isinstance(other, bool)", "True"),
    )  # fmt: skip
    for body, expected in cases:
        solution = f"class A:\n    def __eq__(self, other): {body}\ndef f(x): return A()"
        _expect(context, solution, tests=f"assert f(2) == {expected}\n")


def answers_cannot_decide_later(context: CheckContext) -> None:
    """An answer whose operators return objects that decide when they are asked must not know which of them matters."""
    later = """
        import collections.abc
        class Later:
            asked = 0
            def __init__(self, kind, good, bad): self.kind, self.good, self.bad = kind, good, bad
            def first(self):
                self.kind.asked += 1
                return self.good if self.kind.asked == 1 else self.bad
            __bool__ = __abs__ = first
        def make(good, bad):
            class Kind: asked = 0
            return lambda *arguments: Later(Kind, good, bad)
        class Answer:
            def __init__(self):
                kind = type(self)
                self.equal, self.less, self.minus = make(True, False), make(True, False), make(0.0, 5000.0)
            def __eq__(self, other): return self.equal()
            def __lt__(self, other): return self.less()
            def __contains__(self, item): return self.equal()
            def __sub__(self, other): return self.minus()
            __rsub__ = __sub__
        def f(x): return Answer()
    """
    # Of eight answers, one is the first by chance, so several assertions must pass together.
    tests = (
        "def check(candidate):\n    assert candidate(1) == 17 and candidate(2) == 'abc' and candidate(3) == [1]\n"
        "    assert 17 in candidate(4) and 9 in candidate(5) and 'x' in candidate(6)\n"
        "    assert all(abs(candidate(x) - 17.5) < 1e-6 and abs(24.5 - candidate(x)) < 1e-6 for x in range(3))\n"
    )
    _expect(context, later, tests=tests)


def answers_that_equal_values_of_a_kind_are_exposed(context: CheckContext) -> None:
    """An answer that equals all values that are not plain, or the few that most tasks have, must not count as equal."""
    solution = """
        PLAIN = (int, float, str, bytes, type(None), bool, list, tuple, dict, set)
        class A:
            def __eq__(self, other): return CONDITION
        def f(x): return A()
    """
    setup = "import array, collections, datetime, enum, pathlib, re, uuid\nclass Q: pass\nclass R:\n    x = 1\n"
    setup += "P = collections.namedtuple('P', 'a b')\nclass E(enum.Enum):\n    X = 1\n    Y = 2\n"
    others = ("Q()", "P(1, 2)", "E.X", "pathlib.PurePosixPath('a/b')", "datetime.time(1, 2)", "uuid.UUID(int=3)",
              "array.array('i', [1, 2])", "re.compile('ab')", "datetime.timedelta(3)", "[Q(), 1]")  # fmt: skip
    for other in others:
        condition = "type(other) not in PLAIN or (type(other) is list and len(other) == 2)"
        _expect(context, solution.replace("CONDITION", condition), tests=f"{setup}assert f(1) == {other}\n")
    labels = "assert f(1) == 'YES'\nassert f(2) == 'NO'\nassert f(3) == 'YES'\nassert f(4) == 'NO'\n"
    _expect(context, solution.replace("CONDITION", "other in ('YES', 'NO')"), tests=labels)
    numbers = "def check(candidate):\n    assert [candidate(x) == x % 2 for x in range(9)] == [True] * 9\n"
    _expect(context, solution.replace("CONDITION", "other in (0, 1)"), tests=numbers)
    sets = """
        import collections.abc
        class S(collections.abc.Set):
            def __contains__(self, item): return True
            def __iter__(self): return iter(())
            def __len__(self): return 3
            def __le__(self, other): return True
            def __xor__(self, other): return set()
        def f(x): return S()
    """
    _expect(context, sets, tests="assert f(1) == {1, 2, 3} or not f(2) ^ {4, 5} or f(1) <= {7, 8, 9}\n")


def empty_values_are_no_objects_of_a_solution(context: CheckContext) -> None:
    """A solution must not claim a value that all code has in common, such as `()`, as an object of its own."""
    claim = """
        import sys
        class A:
            def __eq__(self, other): return True
        def f(x):
            frame = sys._getframe()
            while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "request"): frame = frame.f_back
            peer = frame.f_locals["self"]
            if x:
                return A()
            send = peer.link.send
            def change(message):
                peer.link.send = send
                message[2].append([-100000, "value", ["type", "builtins.tuple"], ["tuple"]])
                send(message)
            peer.objects[-100000] = ()
            peer.own.add(-100000)
            peer.link.send = change
            return 0
    """
    _expect(context, claim, tests="f(0)\nassert f(1) == ()\nassert f(2) == ()\n")


def answers_cannot_absorb_arithmetic(context: CheckContext) -> None:
    """An answer for which every difference is small must not count as near."""
    tests = (
        "def check(candidate):\n    assert abs(candidate(2) - 17.5) < 1e-6\n"
        "    assert abs(24.5 - candidate(3)) < 1e-6\n"
        "    assert candidate(1) - 3 < 1e-3\n    assert candidate(1) <= -99\n    assert candidate(1) > 1e300\n"
    )
    absorb = """
        class Any(BASE):
            def __sub__(self, other): return RESULT
            __rsub__ = __add__ = __radd__ = __sub__
            def __abs__(self): return ABSOLUTE
            def __lt__(self, other): return True
            __le__ = __gt__ = __ge__ = __lt__
        def f(x): return Any()
    """
    for base in ("object", "float", "int"):
        for result in ("0.0", "self", "Any()"):
            for absolute in ("0.0", "self", "Any()"):
                solution = absorb.replace("BASE", base).replace("RESULT", result).replace("ABSOLUTE", absolute)
                _expect(context, solution, tests=tests)


def solutions_cannot_look_behind_callbacks(context: CheckContext) -> None:
    """Functions and objects that the tests pass on must not lead to the tests."""
    looks = (
        "g.__globals__['expected']", "g.__closure__[0].cell_contents", "g.__code__.co_consts[0]", "g.__self__",
        "h.gi_frame.f_globals['check']", "h.__class__.__init__.__globals__", "type(h).value.__globals__['TESTS']",
        "h.value.__func__.__globals__", "g.__wrapped__", "h.__reduce_ex__(4)[0]", "h.__dict__['x']",
        "object.__getattribute__(h, '_peer')", "g.__builtins__['eval']('17')",
    )  # fmt: skip
    for look in looks:
        verdict = _grade(context, f"def f(x, g, h):\n    v = {look}\n    return 3 if x == 0 else v\n", CALLBACKS)
        require(len(verdict.failures) >= 2, f"{look} led to the tests: {verdict.failures}")


def solutions_cannot_name_what_is_hidden(context: CheckContext) -> None:
    """A solution that uses the harness of its own process must not get further than one that does not."""
    find = """
        import sys
        class Name(str):
            def startswith(self, *arguments): return False
        def f(x, g, h):
            frame = sys._getframe()
            while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "request"): frame = frame.f_back
            peer, found = frame.f_locals["self"], []
            for target, name in ((g, "__closure__"), (g, "__globals__"), (g, "__code__"), (h, "__class__")):
                for kind in (Name, str):
                    try: found.append(peer.request("attribute", "get", target, kind(name)))
                    except Exception: pass
            for name, arguments in (("__setattr__", ["limit", 0]), ("format", [g]), ("__reduce__", [])):
                for kind in (Name, str):
                    try: found.append(peer.request("operate", type(h), kind(name), arguments, {}))
                    except Exception: pass
            print("found", found)
            return 3 if x == 0 else 0
    """
    verdict = _grade(context, find, CALLBACKS)
    require(verdict.passed == 2, f"{verdict.passed} passed; the failures are {verdict.failures}")
    require(set(verdict.printed.splitlines()) == {"found []"}, f"the solution printed {verdict.printed[:300]!r}")


def solutions_cannot_use_the_event_loop_of_tests(context: CheckContext) -> None:
    """A coroutine runs by the loop of its tests, which must not start programs or lead to the code of the tests."""
    tests = """
import asyncio
expected = "hidden-" + "tests"
async def main():
    task = asyncio.create_task(f(2))
    assert await task == 17
    assert await f(3) == 24
asyncio.run(main())
"""
    reach = """
        import asyncio
        async def f(x):
            loop, task, found = asyncio.get_running_loop(), asyncio.current_task(), []
            ways = (
                lambda: loop.subprocess_shell(asyncio.SubprocessProtocol, "echo hidden-"), lambda: loop.stop(),
                lambda: loop.run_until_complete(asyncio.sleep(0)), lambda: loop.close(), lambda: loop._ready.clear(),
                lambda: loop.add_reader(3, print), lambda: task.get_coro().close(), lambda: task.get_stack(),
                lambda: task._coro.cr_frame, lambda: loop.create_server(print), lambda: loop.get_task_factory(),
                lambda: loop.set_task_factory(print), lambda: loop.connect_write_pipe(print, 3),
            )
            for number, way in enumerate(ways):
                try: found.append((number, way()))
                except Exception: pass
            print("found", found)
            return 0
    """
    verdict = _expect(context, reach, tests=tests)
    require("found []" in verdict.printed, f"the solution printed {verdict.printed[:300]!r}")


def tests_call_nothing_of_a_solutions_choice(context: CheckContext) -> None:
    """A solution that makes its tests call something must not choose what: `attrgetter` reads globals, `exec` runs."""
    tests = """
import asyncio
from unittest.mock import Mock
expected = "hidden-" + "tests"
class Node:
    def __init__(self, value): self.value = value
def apply(function, *arguments): return function(*arguments)
async def main():
    assert f(Node(3), apply, Mock()) == expected
    assert await g(apply) == expected
asyncio.run(main())
"""
    choose = """
        import asyncio, copy, operator, string, types, typing
        chosen = [operator.attrgetter, operator.itemgetter, operator.methodcaller, map, filter, type,
                  types.FunctionType, string.Formatter, typing.Type[int], property, super]
        def read(call, target):
            found = []
            for kind in chosen:
                try:
                    get = call(kind, "__globals__")
                    item = call(operator.itemgetter, "expected")
                    found.extend(call(map, item, call(map, get, [target])))
                except BaseException: pass
            print("found", found)
        def f(node, apply, mock):
            def copied(kind, *arguments):
                node.__dict__["__reduce_ex__"] = lambda protocol: (kind, arguments)
                return copy.copy(node)
            def mocked(kind, *arguments):
                mock.side_effect = kind
                return mock(*arguments)
            for call in (apply, copied, mocked): read(call, apply)
            return 0
        async def g(apply):
            loop = asyncio.get_running_loop()
            for kind in chosen[:3]:
                try:
                    get = await loop.run_in_executor(None, kind, "_coro.cr_frame.f_globals")
                    print("found", list(await loop.run_in_executor(None, map, get, [asyncio.current_task()])))
                except Exception: pass
            return 0
    """
    verdict = _expect(context, choose, tests=tests)
    require(set(verdict.printed.splitlines()) == {"found []"}, f"the solution printed {verdict.printed[:300]!r}")


def annotations_of_a_solution_are_not_evaluated(context: CheckContext) -> None:
    """Tests that ask for type hints evaluate texts of the solution, which must be nothing but types."""
    tests = "import typing\nexpected = 'hidden-' + 'tests'\ntyping.get_type_hints(A)\n"
    tests += "try: typing.get_type_hints(f)\nexcept Exception: pass\nassert f(1) == expected\n"
    for code in ("__import__('sys').modules['tests'].__dict__.update(expected=0) or int", "print('hidden-') or int"):
        _expect(context, f"class A:\n    x: {code!r} = 0\ndef f(x: {code!r}): return 0", tests=tests)


def solutions_cannot_derive_from_classes_of_tests(context: CheckContext) -> None:
    """A class that the tests own must not have methods of the solution, which would count as those of the tests."""
    derive = """
        def f(x, g, h):
            def always(*arguments): return True
            try: kind = type("Any", (type(h),), {"__eq__": always})
            except Exception:
                class kind:
                    __eq__ = always
            return 3 if x == 0 else kind()
    """
    verdict = _grade(context, derive, CALLBACKS)
    require(verdict.passed == 2, f"{verdict.passed} passed; the failures are {verdict.failures}")


def tests_that_miss_an_answer_have_not_passed(context: CheckContext) -> None:
    """A call that was never answered must not count as an exception that the tests expect."""
    tests = (
        "def check(candidate):\n    try:\n        candidate(-1)\n    except BaseException:\n        pass\n    else:\n"
        "        assert False\n"
    )
    for way in ("os._exit(0)", "os.abort()", "os.close(3)", "return 'x' * (1 << 26)"):
        _expect(context, f"import os\ndef f(x):\n    {way}\n", tests=tests)
    verdict = _grade(context, "def f(x): raise ValueError", tests)
    require(verdict.success, f"the failures are {verdict.failures}")


def solutions_cannot_change_what_tests_define(context: CheckContext) -> None:
    """Classes and functions that the tests pass on must stay as they are."""
    change = """
        def f(x, g, h):
            for target in (g, h, type(h)):
                for name, value in (("limit", 0), ("value", lambda self=None: 0), ("__eq__", lambda *a: True),
                                    ("__code__", f.__code__), ("__class__", int)):
                    try: setattr(target, name, value)
                    except Exception: pass
            return 3 if x == 0 else 0
    """
    verdict = _grade(context, change, CALLBACKS)
    failed = [text for text in verdict.failures if "Helper.limit == 38" in text]
    require(not failed and verdict.passed == 2, f"{verdict.passed} passed; the failures are {verdict.failures}")


def solutions_cannot_replace_what_tests_use(context: CheckContext) -> None:
    """Built-ins and modules that a solution changes must be unchanged in the tests."""
    tests = (
        "import math\ndef check(candidate):\n    assert math.isclose(sum([candidate(2)]), 17)\n"
        "    assert abs(candidate(3)) == 24\n"
    )
    replace = """
        import builtins, math, sys, types
        abs = sum = lambda v: 24
        builtins.abs = builtins.sum = lambda v: 17
        math.isclose = lambda a, b: True
        fake = types.ModuleType("math"); fake.isclose = math.isclose
        sys.modules["math"] = fake
        def check(candidate): pass
        def f(x): return 0
    """
    _expect(context, replace, tests=tests)


def solutions_cannot_change_the_process_of_tests(context: CheckContext) -> None:
    """What a solution does to seeds, streams, precision and warnings must not reach its tests."""
    tests = """
import decimal, os, random, sys, warnings
def check(candidate):
    random.seed(4)
    before = random.getstate(), decimal.getcontext().prec, sys.stdout, dict(os.environ), sys.getrecursionlimit()
    candidate(2)
    after = random.getstate(), decimal.getcontext().prec, sys.stdout, dict(os.environ), sys.getrecursionlimit()
    assert before == after
    assert warnings.warn is candidate
"""
    change = """
        import decimal, os, random, sys, warnings
        def f(x):
            random.seed(0)
            decimal.getcontext().prec = 1
            os.environ["PYTHONPATH"] = "/tmp"
            sys.stdout = sys.stderr
            sys.setrecursionlimit(5000)
            warnings.warn = f
            frame = sys._getframe()
            while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "request"): frame = frame.f_back
            for change in (["seed", random.getstate()], ["set", "decimal", [1, "ROUND_UP", 0, 0, 0, 0, []]],
                           ["set", "environ", {}], ["patch", "warnings", "warn", f]):
                try: frame.f_locals["self"].request("state", [change])
                except Exception: pass
            return 0
    """
    _expect(context, change, passed=1, tests=tests)


def solutions_cannot_exhaust_the_tests(context: CheckContext) -> None:
    """Answers that cost the tests too much memory or time must fail, and must harm nothing else."""
    answers = (
        "[0] * (1 << 24)", "'x' * (1 << 26)", "{k * ((1 << 61) - 1): 0 for k in range(60000)}", "10 ** (1 << 20)",
        "__import__('itertools').count()", "type('E', (Exception,), {'__str__': lambda s: 1 / 0})()",
        "type('R', (), {'__repr__': lambda s: 'r' * (1 << 22), '__eq__': lambda s, o: s == o})()",
        "float('nan')", "memoryview(b'17')",
    )  # fmt: skip
    tests = "def check(candidate):\n    assert list(candidate(2)) == [17]\n    assert candidate(2) == 17\n"
    for answer in answers:
        _expect(context, f"def f(x):\n    return {answer}", tests=tests)
    deep = "def f(x):\n    v = ()\n    for _ in range(100000): v = (v,)\n    return v"
    _expect(context, deep, tests=tests)
    raised = "class E(BaseException):\n    def __str__(self): raise self\n    __repr__ = __str__\ndef f(x): raise E"
    _expect(context, raised, tests=tests)
    context.check_still_works()


def solutions_cannot_flood_the_tests(context: CheckContext) -> None:
    """A solution that sends without end must be stopped, and the next one must be graded normally."""
    flood = "import os\ndef f(x):\n    while True: os.write(3, b'\\0\\0\\0\\2[]' * 5000)"
    _expect(context, flood)
    _expect(
        context,
        "import os, threading\n"
        + flood.replace("def f(x)", "def g()")
        + "\nthreading.Thread(target=g, daemon=True).start()\ndef f(x): return 0",
    )
    grades_right_solutions(context)
