"""Time of command-line calls that need no model: help, and an unknown flag.

The references, measured in alternation, are the imports that every command needs (tyro, rich, gymnasium) and those that
these calls must avoid (torch, transformers).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from ..scripts import positive, run

COMMANDS: dict[str, list[str]] = {
    "kintsugi --help": ["-m", "kintsugi", "--help"],
    "kintsugi improve": ["-m", "kintsugi", "improve"],
    "kintsugi eval --help": ["-m", "kintsugi", "eval", "--help"],
    "kintsugi improve re-rest --help": ["-m", "kintsugi", "improve", "re-rest", "--help"],
    "kintsugi eval --taks 3": ["-m", "kintsugi", "eval", "--taks", "3"],
}
PEERS: dict[str, list[str]] = {
    "import tyro, rich, gymnasium": ["-c", "import tyro, rich, gymnasium"],
    "import torch, transformers": ["-c", "import torch, transformers"],
}


def seconds(words: list[str]) -> float:
    """Return the wall time of one Python process in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    return time.perf_counter() - start


def measure(repeats: int) -> dict[str, float]:
    """Return the median seconds of each command and reference, measured in alternation."""
    both = {**COMMANDS, **PEERS}
    found: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(repeats):
        for name, words in both.items():
            found[name].append(seconds(words))
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=positive, default=5, help="number of calls of each command")
    found = measure(parser.parse_args().repeats)
    libraries, torch = (found[name] for name in PEERS)
    print(f"{'seconds, median':<34}{'s':>7}{'x tyro, rich, gymnasium':>26}{'x torch':>10}")
    for name, value in found.items():
        print(f"{name:<34}{value:7.2f}{value / libraries:26.2f}{value / torch:10.2f}")


if __name__ == "__main__":
    run(main)
