"""One thread of BLAS: sums that it shares out among threads differ in their last digits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["ONE_BLAS_THREAD", "keep_one_blas_thread", "one_blas_thread"]

ONE_BLAS_THREAD = f"{__name__}:keep_one_blas_thread"
"""What a task begins with in a worker whose process may have more."""


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which the products of this process's arrays take one thread.

    Workers have one, so that the bits of products over many bins are the same in either place.

    Example:
        >>> with one_blas_thread():
        ...     pass
    """
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


def keep_one_blas_thread() -> None:
    """Take one thread from now on: where a worker of the user's cluster begins a task."""
    threadpool_limits(limits=1, user_api="blas")
