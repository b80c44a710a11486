"""Where a spectrum begins to fall, and whether it does."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array

__all__ = ["find_start", "fit_rises", "rises_again"]

SIGNIFICANT = 4.0
"""Standard errors by which a rise is one."""

PEAKED = 5.0
"""The same of a fitted background; fits of smoothly falling spectra stay below 2."""

HALF = 6.0
"""Half of the window of a running median, in widths of a bump: none fills half of it."""


def _median(values: Array, half: int) -> Array:
    padded = np.pad(values, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1))


def _running(counts: Array, wide: Array, width: float) -> tuple[Array, Array, int]:
    """Return the running median of the density, its error, and the window's half."""
    half = max(2, min(int(np.ceil(HALF * width)), (len(counts) - 1) // 3))
    density = counts / wide
    median = _median(density, half)
    # of a median of m counts: sqrt(pi / 2 m) times the error of one
    error = np.sqrt(np.maximum(median, 0.5 / wide) / wide * np.pi / 2 / (2 * half + 1))
    return median, error, half


def find_start(counts: Array, wide: Array, width: float) -> int:
    """Return the first bin of the falling part: that of the maximum, where counts rise to it.

    A rise is told from a bump by its length: a running median over several widths follows the
    first and not the second. Next to the lower end, where no bump is stated, the largest bin
    itself is where the spectrum begins, if those before it are lower than chance would have it.

    Args:
        counts: Shape (n,).
        wide: Widths of the bins, in units of their mean, shape (n,).
        width: Of a bump, in bins.

    Example:
        >>> falling = 1000 * np.exp(-np.arange(60) / 15)
        >>> find_start(falling, np.ones(60), 1.5)
        0
        >>> turn_on = falling / (1 + np.exp(-(np.arange(60) - 12) / 2))
        >>> 12 <= find_start(turn_on, np.ones(60), 1.5) <= 20
        True
    """
    median, error, half = _running(counts, wide, width)
    top = int(np.argmax(median))
    start = 0
    if median[0] < median[top] - SIGNIFICANT * np.hypot(error[0], error[top]):
        start = top
    near = min(len(counts), start + half + 1)
    low = max(0, start - half)
    density = counts / wide
    first = low + int(np.argmax(density[low:near]))
    before = density[:first]
    if first == 0 or start > 0:
        return first if start > 0 else 0
    spread = np.sqrt(counts[first] + counts[0] + 1) / wide[0]
    return first if before[0] < density[first] - SIGNIFICANT * spread else 0


def rises_again(counts: Array, wide: Array, width: float) -> bool:
    """Return whether a spectrum rises after it has fallen.

    Example:
        >>> valley = 1000 - 900 * np.sin(np.arange(60) / 60 * np.pi)
        >>> rises_again(valley, np.ones(60), 1.5)
        True
    """
    median, error, _ = _running(counts, wide, width)
    low = np.minimum.accumulate(median)
    at = np.maximum.accumulate(np.where(median <= low, np.arange(len(low)), 0))
    return bool(np.any(median - low > SIGNIFICANT * np.hypot(error, error[at])))


def fit_rises(background: Array, wide: Array, in_bins: Array) -> bool:
    """Return whether a fitted background has a peak of its own, and is no smoothly falling one.

    A peak so narrow that a running median does not see it may be taken for background, where there
    is little else: then nothing is left to be a bump, and no deviance tells.

    Args:
        background: Expected counts, shape (n,).
        wide: Widths of the bins, in units of their mean, shape (n,).
        in_bins: Widths of a bump in bins, shape (n,): a rise is told over as many.

    Example:
        >>> falling = 1000 * np.exp(-np.arange(60) / 15)
        >>> fit_rises(falling, np.ones(60), np.full(60, 1.5))
        False
        >>> fit_rises(np.where(np.arange(60) == 20, 500.0, 0.1), np.ones(60), np.full(60, 1.5))
        True
    """
    rise = background - np.minimum.accumulate(background / wide) * wide
    error = np.sqrt(np.maximum(background, 1.0))
    return bool(np.any(rise / error * np.sqrt(in_bins) > PEAKED))
