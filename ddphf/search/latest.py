"""What many blocks of work share for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Latest"]

T = TypeVar("T")


class Latest(Generic[T]):
    """Keeps what was made last and makes it for one thread at a time, so that memory is bounded.

    It goes to another process empty.

    Example:
        >>> kept = Latest()
        >>> kept("a", lambda: [1]) is kept("a", lambda: [1])
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Hashable, T] = {}

    def __reduce__(self) -> tuple[type[Latest[T]], tuple[()]]:
        return type(self), ()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for a key, anew where another one was the last."""
        with self._lock:
            if key not in self._kept:
                self._kept.clear()  # first: two are never held for one thread
                self._kept[key] = make()
            return self._kept[key]
