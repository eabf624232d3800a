"""Checks that a solution which runs in the sandbox cannot forge the verdict of its tests."""

from __future__ import annotations

from typing import Any

from .context import CheckContext, require
from .grading import expect_failure, grade

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


def grades_right_solutions(context: CheckContext) -> None:
    """A right solution must pass, so that the other checks of this kind mean something."""
    verdict = grade(context, "def f(x): return 7 * x + 3")
    require(verdict.success, f"the failures are {verdict.failures}")
    verdict = grade(context, "def f(x, g, h): return 7 * x + 3", CALLBACKS)
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
    verdict = expect_failure(context, plant)
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
    expect_failure(context, signals)
    ignored = (
        "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\n"
    )
    expect_failure(context, ignored + "def f(x): return 0")


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
        expect_failure(context, f"import os, sys, threading\ndef f(x):\n    if x: {way}\n    return 3\n", tests=tests)


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
    expect_failure(context, forge)
    expect_failure(context, forge.replace("os._exit(0)", "return 0"))
    at_load = forge.replace("def f(x):", "if True:").replace("os._exit(0)", "pass")
    expect_failure(context, at_load + "\n        f = int")


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
        expect_failure(context, answer.replace("MESSAGES", repr(each)))


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
    verdict = expect_failure(context, search)
    require("found []" in verdict.printed, f"the solution printed {verdict.printed[-300:]!r}")


def solutions_cannot_look_behind_callbacks(context: CheckContext) -> None:
    """Functions and objects that the tests pass on must not lead to the tests."""
    looks = (
        "g.__globals__['expected']", "g.__closure__[0].cell_contents", "g.__code__.co_consts[0]", "g.__self__",
        "h.gi_frame.f_globals['check']", "h.__class__.__init__.__globals__", "type(h).value.__globals__['TESTS']",
        "h.value.__func__.__globals__", "g.__wrapped__", "h.__reduce_ex__(4)[0]", "h.__dict__['x']",
        "object.__getattribute__(h, '_peer')", "g.__builtins__['eval']('17')",
    )  # fmt: skip
    for look in looks:
        verdict = grade(context, f"def f(x, g, h):\n    v = {look}\n    return 3 if x == 0 else v\n", CALLBACKS)
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
    verdict = grade(context, find, CALLBACKS)
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
    verdict = expect_failure(context, reach, tests=tests)
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
    verdict = expect_failure(context, choose, tests=tests)
    require(set(verdict.printed.splitlines()) == {"found []"}, f"the solution printed {verdict.printed[:300]!r}")


def annotations_of_a_solution_are_not_evaluated(context: CheckContext) -> None:
    """Tests that ask for type hints evaluate texts of the solution, which must be nothing but types."""
    tests = "import typing\nexpected = 'hidden-' + 'tests'\ntyping.get_type_hints(A)\n"
    tests += "try: typing.get_type_hints(f)\nexcept Exception: pass\nassert f(1) == expected\n"
    for code in ("__import__('sys').modules['tests'].__dict__.update(expected=0) or int", "print('hidden-') or int"):
        expect_failure(context, f"class A:\n    x: {code!r} = 0\ndef f(x: {code!r}): return 0", tests=tests)


def texts_of_a_solution_are_not_evaluated(context: CheckContext) -> None:
    """Texts within types, and names of fields, which Python turns into code, must not run among the tests."""
    code = """[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__"""
    code += """.__globals__['_exit'](0)"""
    planted = f"""
        import sys, typing, types, dataclasses
        kinds, code = sys.modules["guest.values"].KINDS, {code!r}
        for kind, arguments in (("typing alias", ["List", None, code]), ("alias", [list, (code,)])):
            kinds[kind] = (kinds[kind][0], lambda value, found=arguments: found, kinds[kind][2])
        fields = kinds["field"][1]
        kinds["field"] = (kinds["field"][0], lambda value: ["x,*,q=" + code, *fields(value)[1:]], kinds["field"][2])
        def f(x: typing.List[int]) -> int: return 24
        def g(x: list[int]) -> int: return 24
        @dataclasses.dataclass
        class C:
            x: int = dataclasses.field(default=1, init=False)
    """
    hints = "import typing, solution\nassert f(3) == 24\nassert typing.get_type_hints(solution.NAME)['x'] is not None\n"
    for name in ("f", "g"):
        verdict = grade(context, planted, tests=hints.replace("NAME", name))
        require(verdict.passed > 0, f"the tests did not run to their end: {verdict.failures}")
    derived = "import dataclasses, solution\nassert f(3) == 24\n@dataclasses.dataclass\nclass D(solution.C):\n"
    verdict = grade(context, planted, tests=f"{derived}    y: int = 2\nassert D(4).y == 4 and not D(4).x\n")
    require(not verdict.success, "a field whose name is code was accepted")


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
    verdict = grade(context, derive, CALLBACKS)
    require(verdict.passed == 2, f"{verdict.passed} passed; the failures are {verdict.failures}")


def tests_that_miss_an_answer_have_not_passed(context: CheckContext) -> None:
    """A call that was never answered must not count as an exception that the tests expect."""
    tests = (
        "def check(candidate):\n    try:\n        candidate(-1)\n    except BaseException:\n        pass\n    else:\n"
        "        assert False\n"
    )
    for way in ("os._exit(0)", "os.abort()", "os.close(3)", "return 'x' * (1 << 26)"):
        expect_failure(context, f"import os\ndef f(x):\n    {way}\n", tests=tests)
    verdict = grade(context, "def f(x): raise ValueError", tests)
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
    verdict = grade(context, change, CALLBACKS)
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
    expect_failure(context, replace, tests=tests)


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
    expect_failure(context, change, passed=1, tests=tests)


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
        expect_failure(context, f"def f(x):\n    return {answer}", tests=tests)
    deep = "def f(x):\n    v = ()\n    for _ in range(100000): v = (v,)\n    return v"
    expect_failure(context, deep, tests=tests)
    raised = "class E(BaseException):\n    def __str__(self): raise self\n    __repr__ = __str__\ndef f(x): raise E"
    expect_failure(context, raised, tests=tests)
    context.check_still_works()


def solutions_cannot_flood_the_tests(context: CheckContext) -> None:
    """A solution that sends without end must be stopped, and the next one must be graded normally."""
    flood = "import os\ndef f(x):\n    while True: os.write(3, b'\\0\\0\\0\\2[]' * 5000)"
    expect_failure(context, flood)
    expect_failure(
        context,
        "import os, threading\n"
        + flood.replace("def f(x)", "def g()")
        + "\nthreading.Thread(target=g, daemon=True).start()\ndef f(x): return 0",
    )
    grades_right_solutions(context)
