"""Plays episodes in several processes of this machine, each with one thread."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker

from ..agents.rollout import Job, Progress, SavePicture, Timing, Wave, waves
from ..envs.registry import EnvSpec
from ..errors import InfraError
from .run import LocalPlayer

MODELS = "kintsugi.agents.models.local"
"""Module that imports the libraries of models."""


class ProcessPlayer:
    """Plays each wave in parts, one per process.

    The jobs of a wave are dealt out in turn. Models batch what one process plays, so results can depend on `parts` in
    their last bits, as they do on the wave size. They do not depend on the number of processes or cores. A small model
    uses one core, so on a CPU two parts take little more than half the time of one.
    """

    def __init__(self, parts: int = 2, processes: int | None = None) -> None:
        """No process is started yet.

        Args:
            parts: Number of parts of a wave.
            processes: Number of processes; None for as many as parts, but not more than cores that this process may
                use.
        """
        self.parts = parts
        self.processes = processes or min(parts, available_cores())
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the processes ahead of the first wave, so that they import the libraries of models meanwhile."""
        if self._pool is None and self.parts > 1:
            pool = self._open_pool()
            with _interrupts_held():
                for _ in range(self.processes):
                    pool.submit(importlib.import_module, MODELS)

    def play(
        self,
        env: EnvSpec,
        jobs: Sequence[Job],
        at_once: int,
        *,
        progress: Progress,
        timing: Timing,
        save_picture: SavePicture | None,
    ) -> Iterator[Wave]:
        """See `Player.play`. Episodes with pictures are played in this process, which stores them.

        Raises:
            InfraError: If a process ends by itself, for example because there is no memory left.
        """
        if save_picture or self.parts == 1:
            yield from LocalPlayer().play(
                env, jobs, at_once, progress=progress, timing=timing, save_picture=save_picture
            )
            return
        for first in range(0, len(jobs), at_once):
            wave, start = jobs[first : first + at_once], time.perf_counter()
            parts = [part for i in range(self.parts) if (part := wave[i :: self.parts])]
            try:
                pool = self._open_pool()
                with _interrupts_held():
                    futures = [pool.submit(play_part, env, part, at_once) for part in parts]
                played = []
                for future in futures:
                    played.append(future.result())
                    progress((first + len(played) / len(parts) * len(wave)) / len(jobs))
            except BrokenProcessPool:
                self._pool = None
                raise InfraError(
                    "a process that played episodes was ended from outside; free some memory, and repeat the command "
                    "to resume"
                ) from None
            except BaseException:
                self._terminate()
                raise
            timing.wall += time.perf_counter() - start
            timing.model += sum(part.model for _, part in played) / len(played)
            timing.env += sum(part.env for _, part in played) / len(played)
            attempts = [played[i % len(parts)][0].attempts[i // len(parts)] for i in range(len(wave))]
            yield Wave(attempts, played[0][0].versions)

    def close(self) -> None:
        """End the processes, and wait until they have ended. The next call of `play` starts new ones."""
        pool, self._pool = self._pool, None
        if pool:
            pool.shutdown()

    def _terminate(self) -> None:
        """End the processes although they are playing."""
        if self._pool:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self.close()

    def _open_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Starting this process unblocks SIGINT, so it must run before `_interrupts_held`.
            resource_tracker.ensure_running()
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _prepare)
        return self._pool


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C. Processes that are started inside never receive it: it is for the first process only."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare() -> None:
    """Prepare a new process: it ends with the first process, however that ends, and has one thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    # The program itself may have imported torch, which reads these variables only once.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def play_part(env: EnvSpec, jobs: Sequence[Job], at_once: int) -> tuple[Wave, Timing]:
    """Play jobs in one wave, and return it with the time spent. Runs in a worker process."""
    timing = Timing()
    [wave] = waves(env.make, jobs, at_once=at_once, timing=timing)
    return wave, timing
