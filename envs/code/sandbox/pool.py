"""A thread-safe pool of workers. Healthy workers are reused; the others are discarded."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from ....errors import UsageError
from .worker_handle import Resources, WorkerHandle


class Pool:
    """A pool of at most `size` workers, which `launch` starts on demand."""

    def __init__(self, launch: Callable[[Resources], WorkerHandle], size: int) -> None:
        if size < 1:
            raise UsageError(f"the sandbox pool has size {size}; expected at least 1; pass a larger size")
        self._launch = launch
        self.size = size
        self._changed = threading.Condition()
        self._idle: list[WorkerHandle] = []
        self._workers: set[WorkerHandle] = set()
        self._launching = 0
        self._closed = False
        self._process = os.getpid()

    @contextlib.contextmanager
    def worker(self, resources: Resources) -> Iterator[WorkerHandle]:
        """Provide a worker for one program. Waits while all workers are busy. Raises `UsageError` after `close`."""
        worker = self._acquire(resources)
        try:
            yield worker
        finally:
            self._release(worker)

    def prewarm(self, resources: Resources, count: int) -> None:
        """Start workers in parallel until the pool has `count` of them, at most `size`."""
        failures: list[BaseException] = []

        def start() -> None:
            try:
                self._release(self._start(resources))
            except BaseException as error:
                failures.append(error)

        with self._changed:
            count = min(count, self.size) - len(self._workers) - self._launching
            self._launching += max(0, count)
        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def workers(self) -> list[WorkerHandle]:
        """Return all current workers, sorted by name."""
        with self._changed:
            return sorted(self._workers, key=lambda worker: worker.name)

    def close(self) -> None:
        """Close all workers, including busy ones. Does nothing in a forked child or if the pool is closed already."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._closed = True
            workers = list(self._workers)
            self._workers.clear()
            self._idle.clear()
            self._changed.notify_all()
        threads = [threading.Thread(target=worker.close) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _acquire(self, resources: Resources) -> WorkerHandle:
        """Return an idle worker with these resources, or start one.

        If the pool is full, an idle worker with other resources is closed first.
        """
        if os.getpid() != self._process:
            raise UsageError("the sandbox was opened by another process, before a fork; open a new one in this process")
        while True:
            evicted: list[WorkerHandle] = []
            with self._changed:
                while True:
                    if self._closed:
                        raise UsageError("the sandbox is closed; open another one")
                    found = next((worker for worker in reversed(self._idle) if worker.resources == resources), None)
                    if found is not None:
                        self._idle.remove(found)
                        break
                    if len(self._workers) + self._launching >= self.size and self._idle:
                        evicted.append(self._idle.pop(0))
                        self._workers.discard(evicted[0])
                    if len(self._workers) + self._launching < self.size:
                        self._launching += 1
                        break
                    self._changed.wait()
            for worker in evicted:
                worker.close()
            if found is None:
                return self._start(resources)
            if found.is_ready() and found.expires > time.monotonic():
                return found
            self._discard(found)

    def _start(self, resources: Resources) -> WorkerHandle:
        """Launch a worker that `_launching` already counts."""
        worker: WorkerHandle | None = None
        try:
            worker = self._launch(resources)
        finally:
            with self._changed:
                self._launching -= 1
                if worker is not None and not self._closed:
                    self._workers.add(worker)
                self._changed.notify_all()
        if self._closed:
            worker.close()
            raise UsageError("the sandbox was closed while it started; open another one")
        return worker

    def _release(self, worker: WorkerHandle) -> None:
        if not worker.healthy:
            self._discard(worker)
            return
        with self._changed:
            if worker in self._workers:
                self._idle.append(worker)
            self._changed.notify_all()

    def _discard(self, worker: WorkerHandle) -> None:
        with self._changed:
            self._workers.discard(worker)
            self._changed.notify_all()
        worker.close()
