"""Plays episodes in several processes of this machine, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ..agents.rollout import Job, Progress, SavePicture, Timing, Wave, waves
from ..envs.registry import EnvSpec
from ..errors import InfraError
from .run import LocalPlayer


class ProcessPlayer:
    """Plays each wave in parts, one per process.

    The jobs of a wave are dealt out in turn. Models batch what one process plays, so results can depend on `parts` in
    their last bits, as they do on the wave size. They do not depend on the number of processes or cores. A small model
    uses one core, so on a CPU two parts take little more than half the time of one.
    """

    def __init__(self, parts: int = 2) -> None:
        """No process is started yet.

        Args:
            parts: Number of parts of a wave. There are as many processes, but not more than cores.
        """
        self.parts = parts
        self._pool: ProcessPoolExecutor | None = None

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
                futures = [self._open_pool().submit(play_part, env, part, at_once) for part in parts]
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
                self.close()
                raise
            timing.wall += time.perf_counter() - start
            timing.model += sum(part.model for _, part in played) / len(played)
            timing.env += sum(part.env for _, part in played) / len(played)
            attempts = [played[i % len(parts)][0].attempts[i // len(parts)] for i in range(len(wave))]
            yield Wave(attempts, played[0][0].versions)

    def close(self) -> None:
        """End the processes at once. The next call of `play` starts new ones."""
        pool, self._pool = self._pool, None
        if pool:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()

    def _open_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            processes = min(self.parts, os.cpu_count() or 1)
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, context, _prepare)
        return self._pool


def _prepare() -> None:
    """Prepare a new process: Ctrl-C is for the first process only, and each process has one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    # The program itself may have imported torch, which reads these variables only once.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def play_part(env: EnvSpec, jobs: Sequence[Job], at_once: int) -> tuple[Wave, Timing]:
    """Play jobs in one wave, and return it with the time spent. Runs in a worker process."""
    timing = Timing()
    [wave] = waves(env.make, jobs, at_once=at_once, timing=timing)
    return wave, timing
