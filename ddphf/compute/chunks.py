"""Numbered items in chunks, in one process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.progress import Count

__all__ = ["chunks_of", "told"]


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
