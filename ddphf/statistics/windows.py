"""N_sigma of windows: every position, and the best one.

The N_sigma of one window is a local significance. The largest of many windows is large without any
signal: :func:`ddphf.search.trials.global_p_value` says how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.statistics.n_sigma import n_sigma

__all__ = [
    "BestWindow",
    "Window",
    "all_squares",
    "centred_windows",
    "find_best_window",
    "scan_positions",
    "sum_positions",
]


@dataclass(frozen=True)
class Window:
    """A box of bins.

    Attributes:
        start: First bin along each axis.
        size: Number of bins along each axis.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """The window as an index of the histogram."""
        return tuple(slice(a, a + k) for a, k in zip(self.start, self.size, strict=True))

    def check(self, shape: Sequence[int]) -> None:
        """Refuse a window that does not lie inside a histogram.

        Raises:
            InputError: It sticks out, is empty, or has another number of axes.
        """
        ends = zip(self.start, self.size, shape, strict=False)
        inside = len(self.start) == len(self.size) == len(shape)
        if not inside or any(k < 1 or a < 0 or a + k > n for a, k, n in ends):
            raise InputError(
                f"window: starts at bin {list(self.start)} with {list(self.size)} bins, outside "
                f"the histogram of {list(shape)} bins; take a smaller one"
            )


def centred_windows(
    shape: Sequence[int], sizes: Iterable[int], *, centre: Sequence[float] | None = None
) -> list[Window]:
    """Return cubes of growing size around one point, k bins along every axis.

    Args:
        shape: Bins of the histogram.
        sizes: k of each window.
        centre: In bins from the lower edge, so that 3.0 is the edge between bins 2 and 3; the
            middle of the histogram by default. An odd number of half bins is rounded down, and a
            window that would stick out is moved inside.

    Raises:
        InputError: A window is larger than the histogram, a size is no whole number, or the centre
            is no point of the histogram's axes.

    Example:
        >>> centred_windows((8, 8), [2, 4])[0].slices
        (slice(3, 5, None), slice(3, 5, None))
    """
    middle = [n / 2 for n in shape] if centre is None else [float(c) for c in centre]
    if len(middle) != len(shape) or not np.all(np.isfinite(middle)):
        raise InputError(f"window: centre {middle} is no point of {len(shape)} axes")
    found = []
    for k in sizes:
        if k != int(k):
            raise InputError(f"window: {k:g} bins along an axis, expected a whole number")
        start = tuple(
            int(min(max(np.floor(c - k / 2), 0), max(n - k, 0)))
            for c, n in zip(middle, shape, strict=True)
        )
        found.append(Window(start, (int(k),) * len(shape)))
        found[-1].check(shape)
    return found


def scan_positions(terms: Array, size: Sequence[int]) -> Array:
    """Return N_sigma of a window at every position.

    Args:
        terms: From :func:`~ddphf.statistics.n_sigma.n_sigma_terms`; the last ``len(size)`` axes are
            bins, leading ones are data sets.
        size: Bins of the window along each axis.

    Returns:
        The bin axes become positions: n - k + 1 along each.

    Raises:
        InputError: The window is larger than the histogram.

    Example:
        >>> scan_positions(np.array([1.0, 2.0, 3.0]), [2])
        array([2.12132034, 3.53553391])
    """
    return np.asarray(sum_positions(terms, size) / np.sqrt(np.prod(size)))


def sum_positions(values: Array, size: Sequence[int]) -> Array:
    """Return the sum over a window at every position.

    Args:
        values: The last ``len(size)`` axes are bins, leading ones are data sets.
        size: Bins of the window along each axis.

    Raises:
        InputError: The window is larger than the histogram.

    Example:
        >>> sum_positions(np.array([1.0, 2.0, 3.0]), [2])
        array([3., 5.])
    """
    axes = len(size)
    Window((0,) * axes, tuple(size)).check(values.shape[values.ndim - axes :])
    for axis, k in enumerate(size, start=values.ndim - axes):
        # The sum over k bins is a difference of cumulative sums: its cost does not grow with k.
        total = np.cumsum(values, axis=axis)
        first = np.take(total, [k - 1], axis=axis)
        upper, lower = (
            np.take(total, np.arange(i, i + values.shape[axis] - k), axis=axis) for i in (k, 0)
        )
        values = np.concatenate([first, upper - lower], axis=axis)
    return values


@dataclass(frozen=True)
class BestWindow:
    """The window with the largest N_sigma.

    Attributes:
        window: Where it lies.
        n_sigma: Its N_sigma: a local significance, the largest of ``n_windows``.
        p_local: 1 - Phi(n_sigma).
        n_windows: How many were compared; they overlap.
    """

    window: Window
    n_sigma: float
    p_local: float
    n_windows: int


def find_best_window(terms: Array, sizes: Iterable[Sequence[int]]) -> BestWindow:
    """Return the window with the largest N_sigma of one histogram.

    The significance is local: `global_p_value` accounts for the choice.

    Args:
        terms: Of one data set, n-D.
        sizes: Window sizes, bins along each axis; one that is given twice counts once.

    Raises:
        InputError: No size, or a window is larger than the histogram or has other axes.

    Example:
        >>> terms = np.zeros((6, 6))
        >>> terms[2:4, 1:3] = 1.5
        >>> best = find_best_window(terms, [(2, 2), (3, 3)])
        >>> best.window.start, best.window.size, best.n_sigma, best.n_windows
        ((2, 1), (2, 2), 3.0, 41)
    """
    best: tuple[float, Window] | None = None
    count = 0
    for size in dict.fromkeys(tuple(size) for size in sizes):
        Window((0,) * len(size), size).check(terms.shape)
        values = scan_positions(terms, size)
        count += values.size
        where = np.unravel_index(int(np.argmax(values)), values.shape)
        value = float(values[where])
        # Cumulative sums differ in the last digits: a tie goes to the earlier size.
        if best is None or value > best[0] + 1e-9:
            best = (value, Window(tuple(int(i) for i in where), tuple(int(k) for k in size)))
    if best is None:
        raise InputError("window: no size given; name at least one")
    value = float(n_sigma(terms, best[1].slices))
    return BestWindow(best[1], value, float(norm.sf(value)), count)


def all_squares(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the cubes of every size that fits, smallest first.

    Args:
        shape: Bins of each axis.

    Example:
        >>> list(all_squares((2, 3)))
        [(1, 1), (2, 2)]
    """
    for k in range(1, min(shape) + 1):
        yield (k,) * len(shape)
