"""Blocks on processes of this machine, each with one thread."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from typing import Any, BinaryIO, Self, cast

import numpy as np

from ddphf.compute.tasks import ONE_THREAD, Packed, Submit, Task
from ddphf.compute.threads import Threads
from ddphf.compute.worker import read_frame, write_frame
from ddphf.exceptions import FitError

__all__ = ["Processes", "lost"]

ATTEMPTS = 4
"""How often a block is tried whose worker is lost: once for a machine that is short of memory for a
moment, not for ever for a block that needs more than there is. Dask's own limit is the same."""

PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from ddphf.compute.worker import main; main()"
)


def lost(bundle: list[Any]) -> FitError:
    """Return the error of blocks that cannot be done."""
    items = np.concatenate([np.atleast_1d(block) for block in bundle])
    return FitError(
        f"items {items[0]} to {items[-1]}: {ATTEMPTS} times the worker that did them was killed "
        "or ran out of memory; use fewer workers, or a machine with more memory for each"
    )


class _LostError(Exception):
    """A worker process that is no more."""


class _Worker:
    """One process and the task that it has."""

    def __init__(self) -> None:
        self._task = ""
        self._process = subprocess.Popen(
            # -P: no module of the current folder is taken for one of Python's.
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD},
            process_group=0,  # Ctrl-C in a terminal is for the one that started it
        )  # fmt: skip

    def do(self, packed: Packed, bundle: list[Any]) -> list[Any]:
        """Return the blocks' pieces, or raise their error.

        Raises:
            _LostError: The process ended before.
        """
        asked = cast("BinaryIO", self._process.stdin)
        told = cast("BinaryIO", self._process.stdout)
        known = self._task == packed.digest
        try:
            write_frame(asked, (None if known else packed, bundle))
            self._task = packed.digest
            done, answer = read_frame(told)
        except (EOFError, OSError, ValueError):  # the last: closed by `end`
            raise _LostError from None
        if not done:
            raise answer
        return cast("list[Any]", answer)

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def end(self) -> None:
        """End the process and forget it."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()


class Processes:
    """Does blocks on processes of this machine.

    A process that dies is replaced, and its block is done again.

    Args:
        n: How many.

    Attributes:
        width: The same.
    """

    bundles: int | None = None

    def __init__(self, n: int) -> None:
        self.width = n
        self._threads = Threads(n)  # one waits for each process
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(n):
            self._idle.put(None)
        self._workers: set[_Worker] = set()
        self._changing = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._changing:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        self._threads.__exit__(*error)
        for worker in self._workers:
            worker.end()

    def prepare(self, task: Task) -> Submit:
        """Return what takes a bundle of blocks and promises their pieces."""
        packed = task.pack()
        return lambda bundle: self._threads.pool.submit(self._do, packed, bundle)

    def _do(self, packed: Packed, bundle: list[Any]) -> list[Any]:
        for _ in range(ATTEMPTS):
            worker = self._idle.get()
            try:
                worker = self._start() if worker is None else worker
                return worker.do(packed, bundle)
            except _LostError:
                self._forget(worker)
                worker = None
            finally:
                self._idle.put(worker)
        raise lost(bundle)

    def _start(self) -> _Worker:
        with self._changing:
            if self._closed:
                raise CancelledError
            worker = _Worker()
            self._workers.add(worker)
        return worker

    def _forget(self, worker: _Worker | None) -> None:
        with self._changing:
            if worker is not None and not self._closed:
                self._workers.discard(worker)
                worker.end()
