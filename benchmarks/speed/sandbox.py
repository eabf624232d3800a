"""Speed of the sandboxes: `python -m kintsugi.benchmarks.speed.sandbox`.

What is timed is a whole `run` of a one-line program, seen from the caller. The peers run the same program in the same
image and are timed in the same rounds, so that a busy machine slows all of them.
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
SAID = b"42\n"
AT_ONCE = 8
PER_ROUND = 10
"""How often the sandboxes run in each round; the peers run once, since they are so much slower."""


def timed(act: Callable[[], bytes]) -> float:
    """Milliseconds that one call takes; raises `RuntimeError` when the program did not say what it should."""
    start = time.perf_counter()
    said = act()
    elapsed = 1000 * (time.perf_counter() - start)
    if said != SAID:
        raise RuntimeError(f"the program said {said!r}, expected {SAID!r}")
    return elapsed


def command(*words: str) -> bytes:
    """What a command prints."""
    return subprocess.run(words, check=True, capture_output=True).stdout


@contextlib.contextmanager
def idle_container() -> Iterator[str]:
    """A container of the same image that waits, for `docker exec`."""
    name = f"kintsugi-speed-{uuid.uuid4().hex[:8]}"
    command("docker", "run", "-d", "--rm", "--network", "none", "--name", name, IMAGE, "sleep", "900")
    try:
        yield name
    finally:
        command("docker", "rm", "-f", name)


def exec_by_sdk(client: Any, container: str) -> bytes:
    """`docker exec` without the command line client: two requests to the engine."""
    said: bytes = client.exec_start(client.exec_create(container, COMMAND)["Id"])
    return said


def one_by_one(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of single programs, by who ran them."""
    client = connect()
    with idle_container() as idle, DockerSandbox() as docker, BubblewrapSandbox() as bubblewrap:
        for sandbox in (docker, bubblewrap):
            sandbox.run(PROGRAM)
        ways: dict[str, tuple[int, Callable[[], bytes]]] = {
            "ours, docker": (PER_ROUND, lambda: docker.run(PROGRAM).stdout),
            "ours, bubblewrap": (PER_ROUND, lambda: bubblewrap.run(PROGRAM).stdout),
            "docker exec python3 -c": (1, lambda: command("docker", "exec", idle, *COMMAND)),
            "the same by the SDK": (1, lambda: exec_by_sdk(client, idle)),
            "docker run": (1, lambda: command("docker", "run", "--rm", "--network", "none", IMAGE, *COMMAND)),
            "bwrap python3 -c": (1, lambda: command("bwrap", "--ro-bind", "/", "/", "--unshare-all", *COMMAND)),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (count, act) in ways.items():
                times[name] += [timed(act) for _ in range(count)]
    return times


def at_once(sandbox: Sandbox, programs: int) -> float:
    """Programs per second when `AT_ONCE` threads ask for them."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda _: sandbox.run(PROGRAM), range(2 * AT_ONCE)))
        start = time.perf_counter()
        list(threads.map(lambda _: sandbox.run(PROGRAM), range(programs)))
    return programs / (time.perf_counter() - start)


def cold(open_: Callable[[], Sandbox], times: int = 5) -> float:
    """Median milliseconds from nothing to the answer of the first program."""
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        with open_() as sandbox:
            sandbox.run(PROGRAM)
            measured.append(1000 * (time.perf_counter() - start))
    return statistics.median(measured)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=positive, default=30, help="how often each peer is run")
    parser.add_argument("--programs", type=positive, default=400, help=f"how many programs are run {AT_ONCE} at once")
    config = parser.parse_args()
    times = one_by_one(config.rounds)
    base = statistics.median(times["docker exec python3 -c"])
    print(f"{'one-line Python program':26}{'median':>10}{'10 %':>9}{'90 %':>9}{'against docker exec':>22}")
    for name, each in times.items():
        low, *_, high = statistics.quantiles(each, n=10)
        median = statistics.median(each)
        print(f"{name:26}{median:7.2f} ms{low:9.2f}{high:9.2f}{base / median:20.1f} x")
    for make in (DockerSandbox, BubblewrapSandbox):
        with make(size=AT_ONCE, warm=AT_ONCE) as sandbox:
            rate = at_once(sandbox, config.programs)
        print(f"{make.name}: {rate:.0f} programs per second with {AT_ONCE} at once; cold start {cold(make):.0f} ms")


if __name__ == "__main__":
    run(main)
