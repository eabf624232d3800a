"""Measures the speed of the sandboxes: `python -m kintsugi.benchmarks.speed.sandbox`.

It times a whole `Sandbox.run` of a one-line program, as seen by the caller. The baselines run the same program in the
same image and are timed in the same rounds, so that load on the machine affects all of them equally.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...envs.code.sandbox import Sandbox
from ...envs.code.sandbox.bubblewrap import BubblewrapSandbox
from ...envs.code.sandbox.docker_engine import IMAGE, connect
from ...envs.code.sandbox.docker_sandbox import DockerSandbox
from ..scripts import positive, run

PROGRAM = "print(6 * 7)"
COMMAND = ["python3", "-c", PROGRAM]
EXPECTED_OUTPUT = b"42\n"
CONCURRENCY = 8
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
    config = parser.parse_args()
    times = measure_latencies(config.rounds)
    base = statistics.median(times["docker exec python3 -c"])
    print(f"{'one-line Python program':26}{'median':>10}{'10 %':>9}{'90 %':>9}{'speed-up':>22}")
    for name, each in times.items():
        low, *_, high = statistics.quantiles(each, n=10)
        median = statistics.median(each)
        print(f"{name:26}{median:7.2f} ms{low:9.2f}{high:9.2f}{base / median:20.1f} x")
    for make in (DockerSandbox, BubblewrapSandbox):
        with make(size=CONCURRENCY, warm=CONCURRENCY) as sandbox:
            rate = programs_per_second(sandbox, config.programs)
        print(
            f"{make.name}: {rate:.0f} programs per second with {CONCURRENCY} threads; "
            f"cold start {cold_start_ms(make):.0f} ms"
        )


if __name__ == "__main__":
    run(main)
