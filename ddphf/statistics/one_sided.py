"""Variations whose two sides move a yield the same way: their likelihood has several minima."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array, Mask

__all__ = ["ONE_SIDED", "is_one_sided", "say_one_sided"]

ONE_SIDED = 1e-9
"""Relative change on both sides below which it is the rounding of a side that changes nothing."""


def is_one_sided(up: Array, down: Array) -> Mask:
    """Return where both factors are above 1, or both below.

    Args:
        up: Factors at +1 sigma.
        down: Factors at -1 sigma, of the same shape.

    Example:
        >>> is_one_sided(np.array([1.1, 1.1, 1.1]), np.array([0.9, 1.1, 1.0])).tolist()
        [False, True, False]
    """
    same_way = (up - 1) * (down - 1) > 0
    return np.asarray(same_way & (np.minimum(np.abs(up - 1), np.abs(down - 1)) > ONE_SIDED))


def say_one_sided(up: Array, down: Array, nominal: Array, place: str) -> list[str]:
    """Return a warning where a bin with a yield is moved the same way by both sides.

    Args:
        up: Factors at +1 sigma, a number or one per bin.
        down: The same at -1 sigma.
        nominal: Yields of the bins.
        place: What is varied.

    Example:
        >>> say_one_sided(np.asarray(1.1), np.asarray(0.9), np.ones(2), "systematic 'a'")
        []
    """
    if not np.any(is_one_sided(up, down) & (nominal > 0)):
        return []
    return [
        f"{place}: up and down change some bin the same way; such a one-sided variation makes "
        "several minima, so check it"
    ]
