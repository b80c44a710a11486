"""What long work tells its caller."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Count", "Stage", "silent"]

Stage = Callable[[str], None]
"""Called with a line when a stage begins."""

Count = Callable[[int, int], None]
"""Called with (done, total)."""


def silent(line: str) -> None:
    """Say nothing: the stage of those who did not ask.

    Example:
        >>> silent("fit")
    """
    del line
