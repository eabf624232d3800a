"""Times verdicts of the code environment's grader, with this package or with another checkout of it.

Each package runs in a process of its own, and all of them are timed in turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from ...errors import InfraError, UsageError

PROBLEM = {
    "type": "humaneval",
    "prompt": "",
    "goal": "",
    "entry": "longest_run",
    "solution": '''from typing import List


def longest_run(numbers: List[int]) -> List[int]:
    """Return the longest part of a list in which no number is smaller than the one before it.
    Of several such parts, return the first.
    >>> longest_run([3, 1, 2, 2, 0])
    [1, 2, 2]
    """
    best, start = [], 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] < numbers[end - 1]:
            if end - start > len(best):
                best = numbers[start:end]
            start = end
    return best
''',
    "setup": "from typing import List\n\n\ndef longest_run(numbers: List[int]) -> List[int]:\n    pass\n",
    "given": "from typing import List\n\n\n",
    "hidden_code": """

METADATA = {}


def check(candidate):
    assert candidate([]) == []
    assert candidate([5]) == [5]
    assert candidate([3, 1, 2, 2, 0]) == [1, 2, 2]
    assert candidate([1, 2, 3]) == [1, 2, 3]
    assert candidate([3, 2, 1]) == [3]
    assert candidate([1, 5, 0, 6]) == [1, 5]
    assert candidate(list(range(50)) + list(range(60))) == list(range(60))
""",
}
"""A task of the shape of HumanEval: seven assertions about one function."""
_WORKER = """
import json, sys, time
from kintsugi.envs.code import Problem
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Limits, open_sandbox

problem, backend = Problem(**json.loads(sys.argv[1])), sys.argv[2]
with open_sandbox(backend) as sandbox:
    grader = Grader(sandbox, Limits())
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            verdict = grader.run_hidden(problem, problem.solution)
            times.append(1000 * (time.perf_counter() - start))
            if not verdict.passed == verdict.total > 0:
                raise SystemExit(f"the verdict on a right solution is {verdict}")
        print(json.dumps(times), flush=True)
"""


def check_package(package: Path) -> None:
    """Raise `UsageError` if a folder is not the root of a checkout of the package."""
    if not (package / "envs" / "code" / "grader.py").is_file():
        raise UsageError(
            f"{package} is not a checkout of kintsugi: it has no envs/code/grader.py; pass the root of a checkout"
        )


class VerdictTimer:
    """A process that times verdicts with one package and one backend. Use it in a `with` statement."""

    def __init__(self, package: Path, backend: str) -> None:
        """Start the process.

        Args:
            package: Folder of the package: the root of a checkout.
            backend: Name of the sandbox's backend.

        Raises:
            UsageError: If the folder is not a checkout of the package.
        """
        check_package(package)
        self._folder = tempfile.TemporaryDirectory()
        (Path(self._folder.name) / "kintsugi").symlink_to(package.resolve())
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, json.dumps(PROBLEM), backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": self._folder.name},
        )

    def times_ms(self, count: int) -> list[float]:
        """Return the milliseconds of this many verdicts. Raises `InfraError` if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise InfraError(f"the process that times verdicts ended with exit code {self._process.wait()}")
        return [float(each) for each in json.loads(line)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


@contextlib.contextmanager
def verdict_timers(
    packages: Mapping[str, Path], backends: tuple[str, ...]
) -> Iterator[dict[tuple[str, str], VerdictTimer]]:
    """Provide a timer for each backend and each package, by the names of both."""
    with contextlib.ExitStack() as stack:
        yield {
            (backend, name): stack.enter_context(VerdictTimer(package, backend))
            for backend in backends
            for name, package in packages.items()
        }


def measure_verdicts(
    packages: Mapping[str, Path], backends: tuple[str, ...], rounds: int, per_round: int
) -> dict[tuple[str, str], list[float]]:
    """Return the milliseconds of verdicts on a right solution, by backend and package.

    Args:
        packages: Folders of packages, by name.
        backends: Names of the sandbox's backends.
        rounds: Number of rounds. In each, all packages are timed in turn.
        per_round: Number of verdicts of each package per round.
    """
    times: dict[tuple[str, str], list[float]] = {}
    with verdict_timers(packages, backends) as timers:
        for timer in timers.values():
            timer.times_ms(5)  # Starts the pool.
        for _ in range(rounds):
            for key, timer in timers.items():
                times.setdefault(key, []).extend(timer.times_ms(per_round))
    return times
