"""Measures the speed of the sandboxes: `python -m kintsugi.benchmarks.speed.sandbox`.

It times a whole `Sandbox.run` of a one-line program, as seen by the caller. The baselines run the same program in the
same image and are timed in the same rounds, so that load on the machine affects all of them equally. Verdicts of the
code environment's grader are timed too; with `--baseline`, those of another checkout of the package as well, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...envs.code.sandbox import Sandbox
from ...envs.code.sandbox.bubblewrap import BubblewrapSandbox
from ...envs.code.sandbox.docker_engine import IMAGE, connect
from ...envs.code.sandbox.docker_sandbox import DockerSandbox
from ..scripts import positive, run
from .verdicts import check_package, measure_verdicts

PROGRAM = "print(6 * 7)"
COMMAND = ["python3", "-c", PROGRAM]
EXPECTED_OUTPUT = b"42\n"
CONCURRENCY = 8
BACKENDS = ("docker", "bubblewrap")
RUNS_PER_ROUND = 10
"""Number of runs of each sandbox per round. The baselines run once per round, since they are much slower."""


def timed_ms(act: Callable[[], bytes]) -> float:
    """Return the milliseconds that one call takes. Raises `RuntimeError` if the output is wrong."""
    start = time.perf_counter()
    printed = act()
    elapsed = 1000 * (time.perf_counter() - start)
    if printed != EXPECTED_OUTPUT:
        raise RuntimeError(f"the program printed {printed!r}; expected {EXPECTED_OUTPUT!r}")
    return elapsed


def run_command(*words: str) -> bytes:
    """Return the output of a command."""
    return subprocess.run(words, check=True, capture_output=True).stdout


@contextlib.contextmanager
def idle_container() -> Iterator[str]:
    """Provide an idle container of the same image, for `docker exec`."""
    name = f"kintsugi-speed-{uuid.uuid4().hex[:8]}"
    run_command("docker", "run", "-d", "--rm", "--network", "none", "--name", name, IMAGE, "sleep", "900")
    try:
        yield name
    finally:
        run_command("docker", "rm", "-f", name)


def exec_by_sdk(client: Any, container: str) -> bytes:
    """Run the program like `docker exec`, but with two requests to the engine instead of the command line client."""
    printed: bytes = client.exec_start(client.exec_create(container, COMMAND)["Id"])
    return printed


def measure_latencies(rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of single programs, for each way to run them."""
    client = connect()
    with idle_container() as idle, DockerSandbox() as docker, BubblewrapSandbox() as bubblewrap:
        for sandbox in (docker, bubblewrap):
            sandbox.run(PROGRAM)
        ways: dict[str, tuple[int, Callable[[], bytes]]] = {
            "kintsugi, docker": (RUNS_PER_ROUND, lambda: docker.run(PROGRAM).stdout),
            "kintsugi, bubblewrap": (RUNS_PER_ROUND, lambda: bubblewrap.run(PROGRAM).stdout),
            "docker exec python3 -c": (1, lambda: run_command("docker", "exec", idle, *COMMAND)),
            "docker exec, by the SDK": (1, lambda: exec_by_sdk(client, idle)),
            "docker run": (1, lambda: run_command("docker", "run", "--rm", "--network", "none", IMAGE, *COMMAND)),
            "bwrap python3 -c": (1, lambda: run_command("bwrap", "--ro-bind", "/", "/", "--unshare-all", *COMMAND)),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (count, act) in ways.items():
                times[name] += [timed_ms(act) for _ in range(count)]
    return times


def programs_per_second(sandbox: Sandbox, programs: int) -> float:
    """Return the throughput with `CONCURRENCY` threads."""
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        list(threads.map(lambda _: sandbox.run(PROGRAM), range(2 * CONCURRENCY)))
        start = time.perf_counter()
        list(threads.map(lambda _: sandbox.run(PROGRAM), range(programs)))
    return programs / (time.perf_counter() - start)


def cold_start_ms(open_: Callable[[], Sandbox], times: int = 5) -> float:
    """Return the median milliseconds from opening a sandbox to the result of its first program."""
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        with open_() as sandbox:
            sandbox.run(PROGRAM)
            measured.append(1000 * (time.perf_counter() - start))
    return statistics.median(measured)


def print_times(name: str, times: Sequence[float], comparison: str) -> None:
    """Print one row: median, 10 % and 90 % quantiles, and a comparison."""
    low, *_, high = statistics.quantiles(times, n=10)
    print(f"{name:32}{statistics.median(times):7.2f} ms{low:9.2f}{high:9.2f}{comparison:>22}")


def print_verdicts(baseline: Path | None, rounds: int) -> None:
    """Measure and print the time of a verdict on a task of HumanEval's shape, for each backend."""
    packages = {"this": Path(__file__).parents[2]} | ({"baseline": baseline} if baseline else {})
    times = measure_verdicts(packages, BACKENDS, rounds, RUNS_PER_ROUND)
    print(f"\n{'HumanEval verdict':32}{'median':>10}{'10 %':>9}{'90 %':>9}{'to the baseline':>22}")
    for (backend, package), each in times.items():
        ratio = ""
        if baseline and package == "this":
            ratio = f"{statistics.median(each) / statistics.median(times[backend, 'baseline']):.2f} x"
        print_times(f"{backend}, {package}", each, ratio)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=positive, default=30, help="number of runs of each baseline")
    parser.add_argument(
        "--programs",
        type=positive,
        default=400,
        help=f"number of programs for the throughput with {CONCURRENCY} threads",
    )
    parser.add_argument("--baseline", type=Path, help="root of another checkout, whose verdicts are timed in turn")
    config = parser.parse_args()
    if config.baseline:
        check_package(config.baseline)
    times = measure_latencies(config.rounds)
    base = statistics.median(times["docker exec python3 -c"])
    print(f"{'one-line Python program':32}{'median':>10}{'10 %':>9}{'90 %':>9}{'speed-up':>22}")
    for name, each in times.items():
        print_times(name, each, f"{base / statistics.median(each):.1f} x")
    print_verdicts(config.baseline, config.rounds)
    for make in (DockerSandbox, BubblewrapSandbox):
        with make(size=CONCURRENCY, warm=CONCURRENCY) as sandbox:
            rate = programs_per_second(sandbox, config.programs)
        print(
            f"{make.name}: {rate:.0f} programs per second with {CONCURRENCY} threads; "
            f"cold start {cold_start_ms(make):.0f} ms"
        )


if __name__ == "__main__":
    run(main)
