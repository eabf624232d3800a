"""Tells a program that sleeps from one that waits for a core. It reads what the kernel says of the sandbox's threads.

A thread that waits for a core is runnable (R), and one that waits for a disk or for memory is in state D, however long
that takes on a busy machine. Only time in which no thread is in such a state, and none has used the CPU, is idle.
"""

from __future__ import annotations

import os

CHECK_SECONDS = 1.0
"""Seconds between two checks."""


class IdleTime:
    """Adds up how long programs have been idle."""

    def __init__(self, limit: float, now: float) -> None:
        """Start at the time `now`, in seconds.

        Args:
            limit: Idle seconds after which `check` says so; 0 for no limit.
            now: A time of a monotonic clock, like the further ones that are passed.
        """
        self.limit = limit
        self.idle = 0.0
        self.checked = now
        self.cpu = -1

    def seconds_to_check(self, now: float) -> float:
        """Return how long to wait for the next check."""
        return max(0.0, self.checked + CHECK_SECONDS - now) if self.limit else float("inf")

    def check(self, now: float, awaited: bool, folder: str = "/proc") -> bool:
        """Return whether the programs have been idle for longer than the limit.

        Args:
            now: The time.
            awaited: Whether the tests wait for an answer. If not, the time does not count.
            folder: Where the kernel shows processes.
        """
        if not self.limit or now < self.checked + CHECK_SECONDS:
            return False
        # A long time between two checks means that this process itself had to wait for a core.
        elapsed, self.checked = min(now - self.checked, 2 * CHECK_SECONDS), now
        before = self.cpu
        self.cpu, awake = self._look(folder)
        if not awaited:
            self.idle = 0.0
        elif not awake and self.cpu == before:
            self.idle += elapsed
        return self.idle > self.limit

    @staticmethod
    def _look(folder: str) -> tuple[int, bool]:
        """Return the CPU time of all threads but the worker's, in ticks, and whether one of them is not asleep."""
        cpu, awake = 0, False
        for pid in os.listdir(folder):
            if not pid.isdigit() or pid == "1":
                continue
            try:
                for thread in os.listdir(f"{folder}/{pid}/task"):
                    with open(f"{folder}/{pid}/task/{thread}/stat") as file:
                        # The name, which the program chooses, stands in parentheses before the state.
                        words = file.read().rpartition(")")[2].split()
                    cpu += int(words[11]) + int(words[12])
                    awake = awake or words[0] in ("R", "D")
            except (OSError, ValueError, IndexError):
                # It has just ended.
                awake = True
        return cpu, awake
