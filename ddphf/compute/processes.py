"""Blocks on processes of this machine, each with one thread."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from ddphf.compute.tasks import ONE_THREAD, Packed, Task
from ddphf.compute.threads import Threads
from ddphf.compute.worker import read_frame, write_frame
from ddphf.exceptions import FitError

__all__ = ["ATTEMPTS", "Processes", "lost"]

ATTEMPTS = 4
"""How often a block is tried whose worker is lost: once for a machine that is short of memory for a
moment, not for ever for a block that needs more than there is. Dask's own limit is the same."""

PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from ddphf.compute.worker import main; main()"
)


def lost(block: Any, times: int) -> FitError:
    """Return the error of a block that cannot be done."""
    items = f"{block}" if not hasattr(block, "__len__") else f"of items {block[0]} to {block[-1]}"
    return FitError(
        f"the block {items} was lost {times} times with the worker that did it, which was killed "
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

    def do(self, packed: Packed, block: Any) -> Any:
        """Return the block's piece, or raise its error.

        Raises:
            _LostError: The process ended before.
        """
        asked = cast("BinaryIO", self._process.stdin)
        told = cast("BinaryIO", self._process.stdout)
        known = self._task == packed.digest
        try:
            write_frame(asked, (None if known else packed, block))
            self._task = packed.digest
            done, piece = read_frame(told)
        except (EOFError, OSError, ValueError):  # the last: closed by `end`
            raise _LostError from None
        if not done:
            raise piece
        return piece

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changing:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        self._threads.__exit__(kind, error, trace)
        for worker in self._workers:
            worker.end()

    def prepare(self, task: Task) -> Callable[[Any], Future[Any]]:
        """Return what takes a block and promises its piece."""
        packed = task.pack()
        return lambda block: self._threads.pool.submit(self._do, packed, block)

    def _do(self, packed: Packed, block: Any) -> Any:
        for _ in range(ATTEMPTS):
            worker = self._idle.get()
            try:
                worker = self._start() if worker is None else worker
                return worker.do(packed, block)
            except _LostError:
                self._forget(worker)
                worker = None
            finally:
                self._idle.put(worker)
        raise lost(block, ATTEMPTS)

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
