"""Numbers by which rows of a table are known again, in whatever file and order they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddphf.arrays import AnyArray

__all__ = ["number_contents"]


def number_contents(columns: Sequence[AnyArray], n: int) -> AnyArray:
    """Return a 64-bit number of the contents of each row: equal rows have equal numbers.

    Example:
        >>> found = number_contents([np.array([1.0, 2.0, 1.0]), np.array([True, True, True])], 3)
        >>> bool(found[0] == found[2]), bool(found[0] == found[1])
        (True, False)
    """
    found = np.full(n, 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        values = np.asarray(column)
        if values.dtype.kind != "u":
            values = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
            values = np.where(np.isnan(values), np.nan, values).view(np.uint64)
        found = _mix(found ^ values.astype(np.uint64))
    return found


def _mix(x: AnyArray) -> AnyArray:
    """Return 64-bit numbers stirred by the finaliser of splitmix64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
