"""Numbered items in chunks: drawn, worked on, handed on in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.progress import Count

__all__ = ["chunks_of", "map_chunks", "told"]

WORKERS = 2
"""Chunks in work at a time."""

Piece = TypeVar("Piece")

Draw = Callable[[AnyArray], Array]
"""Called with the numbers of items; returns their data, shape (n, ...)."""


def chunks_of(n: int, size: int) -> Iterator[AnyArray]:
    """Yield the numbers 0 to n - 1, at most ``size`` at a time.

    Example:
        >>> [chunk.tolist() for chunk in chunks_of(5, 2)]
        [[0, 1], [2, 3], [4]]
    """
    for first in range(0, n, size):
        yield np.arange(first, min(first + size, n))


def told(progress: Count | None, before: int, total: int) -> Count:
    """Return the progress of one chunk as that of the whole.

    Args:
        progress: Called with (done, total) of the whole.
        before: Items before this chunk.
        total: Items in all.

    Example:
        >>> told(lambda done, total: print(done, total), 64, 100)(8, 32)
        72 100
    """

    def say(done: int, of: int) -> None:
        del of
        if progress is not None:
            progress(before + done, total)

    return say


def map_chunks(
    wanted: AnyArray, draw: Draw, work: Callable[[AnyArray, Array], Piece], *, size: int
) -> Iterator[Piece]:
    """Draw items and do something with them chunk by chunk, two chunks at a time, in order.

    Args:
        wanted: Numbers of the items.
        draw: Gives the data of some of them.
        work: Called with the numbers of a chunk and their data, shape (size, ...); rows beyond the
            chunk repeat its first one.
        size: Items per chunk.

    Yields:
        What ``work`` returned.

    Example:
        >>> def draw(numbers):
        ...     return numbers[:, None] * 1.0
        >>> def total(numbers, data):
        ...     return float(data[: len(numbers)].sum())
        >>> list(map_chunks(np.arange(5), draw, total, size=2))
        [1.0, 5.0, 4.0]
    """
    chunks = [wanted[i : i + size] for i in range(0, len(wanted), size)]
    if not chunks:
        return

    def do(chunk: AnyArray) -> Piece:
        data = draw(chunk)
        if len(chunk) < size:  # padding: one shape, one compilation
            data = np.concatenate([data, np.repeat(data[:1], size - len(chunk), axis=0)])
        return work(chunk, data)

    yield do(chunks[0])  # alone: it compiles
    # One chunk draws or certifies while the other is in the compiled fit: 10 to 70 % faster than
    # one after the other, which leaves a core idle between the matrix products.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        ahead: list[Future[Piece]] = [pool.submit(do, c) for c in chunks[1 : 2 + WORKERS]]
        try:
            for chunk in [*chunks[2 + WORKERS :], *[None] * len(ahead)]:
                piece = ahead.pop(0).result()
                if chunk is not None:
                    ahead.append(pool.submit(do, chunk))
                yield piece
        finally:
            for future in ahead:
                future.cancel()
