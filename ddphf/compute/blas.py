"""One thread of BLAS: sums that it shares out among threads differ in their last digits."""

from __future__ import annotations

import functools
import sys
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_limits

__all__ = ["ONE_BLAS_THREAD", "keep_one_blas_thread", "one_blas_thread"]

ONE_BLAS_THREAD = f"{__name__}:keep_one_blas_thread"
"""What a task begins with in a worker whose process may have more."""


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which the products of this process's arrays take one thread.

    Workers have one, so that the bits of products over many bins are the same in either place.
    Small matrices are many times slower where threads wait for each other.

    Example:
        >>> with one_blas_thread():
        ...     pass
    """
    controller = _find_libraries("scipy.linalg" in sys.modules)  # which has a BLAS of its own
    limits: AbstractContextManager[Any] = controller.limit(limits=1, user_api="blas")
    return limits


@functools.cache
def _find_libraries(with_scipy: bool) -> ThreadpoolController:
    """Return what is loaded; to look takes as long as a fit of 36 bins."""
    return ThreadpoolController()


def keep_one_blas_thread() -> None:
    """Take one thread from now on: where a worker of the user's cluster begins a task."""
    threadpool_limits(limits=1, user_api="blas")
