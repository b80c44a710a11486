"""Blocks on threads of this process: what every command does unless told otherwise."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from ddphf.compute.tasks import Submit, Task

__all__ = ["WORKERS", "Threads"]

WORKERS = 2
"""Blocks in work at a time: one draws or certifies while the other is in the compiled fit, which is
10 to 70 % faster than one after the other; more gain nothing, XLA having threads of its own."""


class Threads:
    """Does blocks on threads of this process.

    Args:
        n: How many blocks at a time.

    Attributes:
        width: The same.
    """

    bundles: int | None = None

    def __init__(self, n: int = WORKERS) -> None:
        self.width = n
        self.pool = ThreadPoolExecutor(max_workers=n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def prepare(self, task: Task) -> Submit:
        """Return what takes a bundle of blocks and promises their pieces."""
        work, compiled, first = task.make(), threading.Event(), threading.Lock()

        def do(bundle: list[Any]) -> list[Any]:
            if first.acquire(blocking=False):  # alone: it compiles
                try:
                    return [work(block) for block in bundle]
                finally:
                    compiled.set()
            compiled.wait()
            return [work(block) for block in bundle]

        return lambda bundle: self.pool.submit(do, bundle)
