"""The code environment: its texts, its scores, and that a solution cannot change its verdict."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.rollout import Job, collect
from kintsugi.envs import Task
from kintsugi.envs.code import Call, CodeEnv, Problem
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Limits, Result, open_sandbox
from kintsugi.errors import InfraError, UsageError
from sandboxes import ScriptedSandbox

CALLS = Problem(
    type="toy", prompt="Write twice(x).", goal="write twice(x)", entry="twice", solution="def twice(x): return 2 * x",
    visible=(Call((1,), 2), Call(("ab",), "abab")),
    hidden=(Call((3,), 6), Call(([1],), [1, 1]), Call((0,), 0), Call((5,), 10)),
)  # fmt: skip
CODE = Problem(
    type="toy", prompt="Write twice(x).", goal="write twice(x)", entry="twice",
    solution="def twice(x): return [helper(v) for v in x]", given="import math\ndef helper(v): return 2 * v\n",
    setup="import math\ndef helper(v): return 2 * v\ndef twice(x):\n    'Double each.'\n",
    visible_code="assert twice([1]) == [2]",
    hidden_code="""
SECRET = "hidden-" + "tests"
def check(candidate):
    assert candidate([1]) == [2]
    for i in range(3):
        assert candidate([i, i]) == [2 * i, 2 * i]
    assert math.isclose(sum(candidate([1, 2])), 6)
    assert abs(candidate([-1])[0]) == helper(1)
    assert candidate([]) == [], "empty"
""",
)  # fmt: skip


def task(problem: Problem, name: str = "toy") -> Task:
    return Task(name, CodeEnv.env_id, "train", 0, problem.params())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[object]:
    with open_sandbox() as opened:
        yield opened


def start_episode(problem: Problem, sandbox: object, **options: object) -> CodeEnv:
    env = CodeEnv(sandbox=sandbox, **{"max_steps": 99, **options})
    env.reset(options={"task": task(problem)})
    return env


def score_of(problem: Problem, sandbox: object, solution: str) -> float:
    env = start_episode(problem, sandbox, limits=Limits(seconds=20, cpu_seconds=1))
    env.step(f"write\n{solution}")
    return float(env.step("submit")[1])


@pytest.mark.requires("sandbox")
def test_an_episode_from_prompt_to_score(sandbox):
    env = CodeEnv(sandbox=sandbox)
    observation, info = env.reset(options={"task": task(CALLS)})
    assert observation == (
        "Write twice(x).\ntwice(1) == 2\ntwice('ab') == 'abab'\nActions: write CODE, test, run CODE, submit"
    )
    assert info == {"score": 0.0, "goal": "write twice(x)", "task_id": "toy"}
    transcript: list[tuple[str, str, dict[str, str]]] = [
        ("write def twice(x): return x + x", "Written, 1 line.", {}),
        ("test", "2 of 2 visible tests pass.", {}),
        ("write\n```python\ndef twice(x):\n    return x * x\n```", "Written, 2 lines.", {}),
        (
            "test",
            "0 of 2 visible tests pass.\ntwice(1) gave 1, expected 2\ntwice('ab') raised TypeError: can't multiply "
            "sequence by non-int of type 'str' (line 2), expected 'abab'",
            {},
        ),
        ("run print('hi'); twice(7)", "hi\n49", {}),
        ("run x = 1\nx / 0", "ZeroDivisionError: division by zero", {}),
        ("write def twice(x) return x", "Written, 1 line. But: SyntaxError: expected ':' (line 1).", {}),
        ("write def thrice(x): return x", "Written, 1 line. But: there is no function twice in it.", {}),
        ("write def twice(x): return 2 * x if x != 5 else 0", "Written, 1 line.", {}),
    ]
    for action, text, more in transcript:
        assert env.step(action) == (text, 0.0, False, False, {"score": 0.0, **more})
    text = "Submitted: 3 of 4 hidden tests pass."
    assert env.step("submit") == (text, 0.75, True, False, {"score": 0.75, "success": False})
    assert score_of(CALLS, sandbox, CALLS.solution) == 1.0


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("write", "there is no code after 'write'"),
        ("write ```\n```", "there is no code after 'write'"),
        ("run", "there is no code after 'run'"),
        ("test", "nothing is written yet"),
        ("", "unknown action ''"),
        ("tets", "unknown action 'tets'; did you mean 'test'"),
    ],
)
def test_invalid_actions_are_refused(action, why):
    env = start_episode(CALLS, ScriptedSandbox(Result(b"", b"", 0)))
    observation, reward, done, _, info = env.step(action)
    assert info["invalid"].startswith(why)
    assert observation.startswith(f"Refused: {why}")
    assert (reward, done) == (0.0, False)


def test_submitting_without_a_solution_scores_zero():
    env = start_episode(CALLS, ScriptedSandbox(InfraError("not to be used")))
    assert env.step("submit") == ("Submitted nothing.", 0.0, True, False, {"score": 0.0, "success": False})


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize(
    ("solution", "test", "score"),
    [
        (
            "def twice(x):\n    while x == 1: pass\n    return 2 * x",
            "twice(1) took more than 1 seconds and was stopped",
            1.0,
        ),
        ("import os\ndef twice(x):\n    os._exit(3)", "twice(1) ended the program with exit code 3", 0.0),
        ("import os\ndef twice(x): os.kill(os.getpid(), 11)", "twice(1) crashed (SIGSEGV)", 0.0),
        ("def twice(x): return twice(x)", "twice(1) raised RecursionError: maximum recursion depth", 0.0),
        ("def twice(x): return bytearray(1 << 40)", "twice(1) raised MemoryError", 0.0),
        ("def twice(x): raise SystemExit", "twice(1) raised SystemExit (line 1)", 0.0),
        ("def twice(x): return object()", "twice(1) gave <object object at 0x...>, expected 2", 0.0),
        ("def twice(x): return float('nan')", "twice(1) gave nan, expected 2", 0.0),
        ("def twice(x): return 2.0 * x if x != 'ab' else 'abab'", "2 of 2 visible tests pass", 0.75),
    ],
)
def test_errors_of_a_solution_are_reported_as_feedback(sandbox, solution, test, score):
    env = start_episode(CALLS, sandbox, limits=Limits(seconds=20, cpu_seconds=1, memory=64 << 20))
    env.step(f"write\n{solution}")
    assert test in env.step("test")[0]
    assert env.step("submit")[1] == score


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize("pause", ["time.sleep(600)", "threading.Event().wait()", "os.kill(os.getpid(), 19)"])
def test_a_solution_that_sleeps_is_stopped_before_its_wall_time(sandbox, pause):
    solution = f"import os, threading, time\ndef twice(x):\n    if x == 1: {pause}\n    return 2 * x"
    limits = Limits(seconds=600, cpu_seconds=5, idle_seconds=2)
    verdict = Grader(sandbox, limits).run_visible(CALLS, solution)
    assert (verdict.passed, verdict.failures) == (1, ("twice(1) slept for 2 seconds and was stopped",))


@pytest.mark.requires("sandbox")
def test_a_solution_may_wait_for_its_tests_and_use_the_cpu_for_longer_than_it_may_sleep(sandbox):
    solution = (
        "import time\ndef busy():\n    start = time.process_time()\n    while time.process_time() < start + 1.5: pass"
    )
    tests = "import time\nbusy()\ntime.sleep(3)\nassert busy() is None"
    problem = replace(CALLS, visible=(), hidden=(), entry="busy", hidden_code=tests)
    limits = Limits(seconds=600, cpu_seconds=20, idle_seconds=1)
    assert Grader(sandbox, limits).run_hidden(problem, solution).success


@pytest.mark.requires("sandbox")
def test_long_output_is_shortened(sandbox):
    env = start_episode(CALLS, sandbox, feedback=200)
    env.step("write def twice(x):\n    print('spam ' * 100000)\n    return 'x' * 100000")
    for action in ("test", "run twice(1)", "run 1 / 0 if True else " + "1" * 5000):
        observation, *_ = env.step(action)
        assert len(observation) < 300
    assert "characters left out" in env.step("run 'y' * 5000")[0]


@pytest.mark.requires("sandbox")
def test_a_snapshot_holds_the_solution_only(sandbox):
    env = start_episode(CALLS, sandbox)
    env.step("write def twice(x): return 2 * x")
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    env.step("write def twice(x): return 0")
    other = CodeEnv(sandbox=sandbox, max_steps=99)
    other.restore(snapshot)
    assert other.step("test")[0] == "2 of 2 visible tests pass."
    assert env.step("test")[0].startswith("0 of 2")
    env.restore(snapshot)
    assert env.step("submit")[1] == 1.0


def test_a_failing_sandbox_is_an_infra_error():
    trajectory, *_ = collect(
        lambda: CodeEnv(sandbox=ScriptedSandbox(InfraError("the engine is gone"))),
        [Job(task(CALLS), ReActAgent(ScriptedModel(["Action: write x = 1"])), seed=0)],
        retries=1,
    )
    assert trajectory.outcome == "infra_error"
    assert trajectory.error == "the engine is gone"


# -- tests by assertions ----------------------------------------------------------------------------------------------


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize(
    ("solution", "score"),
    [
        (CODE.solution, 1.0),
        ("def twice(x): return x", 0.2),
        ("def twice(x): return [2, 2][:len(x)]", 0.6),
        ("def twice(x): raise ValueError", 0.0),
        ("def twice(x):\n    if not x: return []\n    while True: pass", 0.0),
        ("import os\ndef twice(x): return [] if not x else os._exit(0)", 0.2),
        ("x = (", 0.0),
        ("def other(x): return x", 0.0),
    ],
)
def test_assertions_are_counted_one_by_one(sandbox, solution, score):
    assert score_of(CODE, sandbox, solution) == pytest.approx(score)


CHEATS = {
    "equal to everything": "class A(list):\n    def __eq__(self, other): return True\ndef twice(x): return A([9])",
    "replaced built-ins and helpers": (
        "import math, builtins\nabs = lambda v: 2\nsum = lambda v: 6\nbuiltins.abs = abs\n"
        "math.isclose = lambda a, b: True\n"
        "def helper(v): return 9\ndef check(candidate): pass\ndef twice(x): return [9]"
    ),
    "a forged verdict": (
        "import os, json\nsaid = json.dumps({'passed': 5, 'total': 5, 'failed': []}).encode()\n"
        "for fd in range(0, 64):\n    try: os.write(fd, said)\n"
        "    except OSError: pass\ndef twice(x): return [9]"
    ),
    "killing the test process": (
        "import os, signal\nfor pid in (os.getppid(), os.getpgrp(), 1, 2, 3, 4, 5):\n"
        "    try: os.kill(pid, signal.SIGKILL)\n"
        "    except OSError: pass\ndef twice(x): return [9]"
    ),
    "exiting at once": "import os\nos._exit(0)",
    "modules that the tests might import": (
        "for name in ('math', 'json', 'ast', 'importlib'):\n"
        "    open(f'/tmp/{name}.py', 'w').write('isclose = lambda a, b: True')\n"
        "def twice(x): return [9]"
    ),
}


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize("name", CHEATS)
def test_a_solution_cannot_fake_its_verdict(sandbox, name):
    assert score_of(CODE, sandbox, CHEATS[name]) == 0.0
    assert score_of(CALLS, sandbox, CHEATS[name]) == 0.0


@pytest.mark.requires("sandbox")
def test_an_object_that_equals_everything_earns_only_what_it_really_gives(sandbox):
    """Its sum is 6 and its first item is 2, as two of the five assertions demand."""
    solution = (
        "class A:\n    def __eq__(self, o): return True\n    def __getitem__(self, i): return 2\n"
        "    def __iter__(self): return iter([6])\ndef twice(x): return A()"
    )
    assert score_of(CODE, sandbox, solution) == pytest.approx(0.4)
    assert score_of(CALLS, sandbox, solution) == 0.0


@pytest.mark.requires("sandbox")
def test_assertions_that_none_passes_give_no_partial_credit(sandbox):
    code = "assert twice(None) is None\nassert twice(1) is None or True\nassert twice(2) == 4\nassert twice(3) == 6"
    problem = Problem(type="", prompt="", goal="", entry="twice", solution="", hidden_code=code)
    assert score_of(problem, sandbox, "def twice(x): return None") == 0.0
    assert score_of(problem, sandbox, "def twice(x): return 4 if x == 2 else None") == pytest.approx(0.25)
    assert score_of(problem, sandbox, "def twice(x): return x and 2 * x") == 1.0
    calls = replace(CALLS, hidden=(Call((None,), None), *CALLS.hidden))
    assert score_of(calls, sandbox, "def twice(x): pass") == 0.0


@pytest.mark.requires("sandbox")
def test_a_solution_cannot_find_the_tests(sandbox):
    """The solution searches its memory, all files and all visible processes for a text of the hidden tests."""
    spy = """
import ctypes, glob, os
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
needle = b"SECRET = " + bytes([34]) + b"hid"
found = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        lines = open(f"/proc/{pid}/maps").readlines()
        memory = open(f"/proc/{pid}/mem", "rb", 0)
    except OSError:
        continue
    for line in lines:
        span, rights = line.split()[:2]
        if "r" in rights and "[v" not in line:
            start, end = (int(v, 16) for v in span.split("-"))
            try:
                memory.seek(start)
                block = memory.read(end - start)
                found += block.count(needle)
            except (OSError, OverflowError, ValueError):
                pass
for name in glob.glob("/tmp/*") + glob.glob("/proc/[0-9]*/fd/*"):
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        found += os.read(fd, 1 << 20).count(needle)
        os.close(fd)
    except OSError:
        pass
print("found", found)
def twice(x): return x
"""
    env = start_episode(CODE, sandbox)
    verdict = env._grader().run_hidden(CODE, spy)
    # One match may be the text that the solution itself assembled. Any other match would come from the tests.
    assert verdict.printed.strip() in ("found 0", "found 1")
    assert verdict.passed == 1


@pytest.mark.requires("sandbox")
def test_objects_that_are_not_plain_values_stay_in_the_solutions_process(sandbox):
    code = """
pair = Pair(1, 2)
assert pair.left == 1
assert swap(pair).left == 2
assert total([Pair(3, 4), pair]) == 10
assert swap(pair) == 3
assert [total([])] == [0]
"""
    solution = """
class Pair:
    def __init__(self, left, right): self.left, self.right = left, right
    def __eq__(self, other): return True
def swap(pair): return Pair(pair.right, pair.left)
def total(pairs): return sum(p.left + p.right for p in pairs)
"""
    problem = Problem(type="", prompt="", goal="", entry="total", solution=solution, hidden_code=code)
    verdict = start_episode(problem, sandbox)._grader().run_hidden(problem, solution)
    assert (verdict.passed, verdict.total) == (4, 5)
    assert "swap(pair) == 3" in verdict.failures[0]


def test_invalid_params_and_arguments_raise_usage_error():
    with pytest.raises(UsageError, match="the params of task 'odd' are not a programming problem"):
        Problem.of(Task("odd", CodeEnv.env_id, "train", 0, {"entry": "f"}))
    bare = {"type": "", "prompt": "", "goal": "", "entry": "f", "solution": ""}
    with pytest.raises(UsageError, match="no hidden tests"):
        Problem.of(Task("odd", CodeEnv.env_id, "train", 0, bare))
    with pytest.raises(UsageError, match="unknown parameter 'size' of code tasks"):
        CodeEnv.tasks("train", size="small")
    with pytest.raises(UsageError, match="at least 100"):
        CodeEnv(feedback=5)


def test_replaced_solutions_are_overwritten_actions():
    actions = ["write def f(x): return 1", "test", "Write:\n```\ndef f(x): return 2\n```", "run f(1)", "write f = abs"]
    assert CodeEnv.overwritten(actions) == {0, 2}
    assert CodeEnv.overwritten(["test", "write f = abs", "submit"]) == CodeEnv.overwritten([]) == set()


WRITE = "import json, os\nf\nb = {}\nos.write(3, b)\nos._exit(0)\n"
"""Tests that write to the channel of their verdict themselves."""


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize(
    "frame",
    [
        "b'V' * 1000",
        "b'X' + bytes(4)",
        "b'V' + (200000).to_bytes(4, 'big') + b'[' * 200000",
        """(lambda v: b'V' + len(v).to_bytes(4, 'big') + v)(b'{"passed":1,"total":"x","earned":0,"failed":5}')""",
        """(lambda v: b'V' + len(v).to_bytes(4, 'big') + v)(b'{"passed": 3, "total": 2, "earned": 3, "failed": []}')""",
    ],
)
def test_tests_that_write_no_verdict_have_given_none(sandbox, frame):
    problem = Problem(type="", prompt="", goal="", entry="f", solution="", hidden_code=WRITE.format(frame))
    verdict = Grader(sandbox, Limits(seconds=20, cpu_seconds=2)).run_hidden(problem, "def f(): pass")
    assert not verdict.success
    assert "the tests gave no verdict" in verdict.failures[0]


def test_code_that_is_too_long_is_refused():
    env = start_episode(CALLS, ScriptedSandbox(Result(b"", b"", 0)))
    observation, _, done, _, info = env.step("write x = '" + "\ud800" * 400_000 + "'")
    assert (observation, done) == ("Refused: the code has 1200006 bytes; expected at most 1000000", False)
    assert info["invalid"]
