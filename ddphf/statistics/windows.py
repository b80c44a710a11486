"""N_sigma of windows: every position, every size, the best one, and what looking everywhere costs.

The N_sigma of one window is a local significance. The largest of many windows is large without any
signal: :func:`global_p_value` says how often. The null correlation of two windows is
|W1 n W2| / sqrt(|W1| |W2|), because every bin's term has variance 1 where the ratio is right: with
terms taken as Gaussian the global p-value depends on the binning and on the windows alone. Neither
the tail of few events with a ratio away from 1 nor an error of the ratio is in it: docs/windows.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, truncnorm

from ddphf.arrays import Array
from ddphf.compute.streams import generator
from ddphf.exceptions import InputError
from ddphf.statistics.n_sigma import n_sigma

__all__ = [
    "BestWindow",
    "GlobalP",
    "Window",
    "all_squares",
    "centred_windows",
    "find_best_window",
    "global_p_value",
    "scan_positions",
    "sum_positions",
]

CHUNK = 4_000_000
"""Numbers per working array."""

MAX_Z = 37.0
"""Its p-value is still a number in double precision."""


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

    The significance is local: :func:`global_p_value` accounts for the choice.

    Args:
        terms: Of one data set, n-D.
        sizes: Window sizes, bins along each axis.

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
    for size in sizes:
        Window((0,) * len(size), tuple(size)).check(terms.shape)
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


@dataclass(frozen=True)
class GlobalP:
    """How often the best of many windows reaches a local significance without a signal.

    Attributes:
        p: Global p-value.
        error: Its statistical error.
        z: Significance of p.
        n_windows: Windows compared.
        n_samples: Fields drawn.
    """

    p: float
    error: float
    z: float
    n_windows: int
    n_samples: int


def global_p_value(
    z_local: float,
    shape: Sequence[int],
    sizes: Iterable[Sequence[int]],
    *,
    n_samples: int = 20_000,
    seed: int = 0,
) -> GlobalP:
    """Return the probability that some window of a signal-free histogram reaches ``z_local``.

    Bins are independent with variance 1 under the null; they are taken as Gaussian. That holds for
    6 x 6 windows at 25 events and ratio 1. With ratio .5 at 25 events p is too small, and an error
    of the ratio of 1 % makes it meaningless (docs/windows.md). With K the number of windows above
    z,

        P(any above z) = sum_W P(Z_W > z) E[1 / K | Z_W > z],

    so fields are drawn with one random window conditioned to be above z, and 1 / K is averaged:
    with about the same relative error at 5 sigma as at 2, where counting unconditioned toys would
    need millions (Naiman and Priebe, J. Comput. Graph. Stat. 10 (2001) 296).

    Args:
        z_local: The largest N_sigma, at most 37: beyond, double precision holds no p-value.
        shape: Bins of the histogram.
        sizes: Window sizes that were scanned, at all positions.
        n_samples: Fields to draw.
        seed: Of the generator.

    Raises:
        InputError: No sample, no window, one larger than the histogram, or another ``z_local``.

    Example:
        >>> found = global_p_value(3.0, (8, 8), [(2, 2)], n_samples=2000)
        >>> found.n_windows, abs(found.p - 0.0575) < 4 * found.error
        (49, True)
    """
    boxes = [tuple(int(k) for k in size) for size in sizes]
    if n_samples < 1 or not boxes:
        raise InputError(
            f"global p-value: {n_samples} samples of {len(boxes)} window sizes, expected one or "
            "more of each"
        )
    if not -np.inf < z_local <= MAX_Z:
        raise InputError(
            f"global p-value: local Z = {z_local:g}, expected a number of at most {MAX_Z:g}"
        )
    for size in boxes:
        Window((0,) * len(shape), size).check(shape)
    positions = [tuple(n - k + 1 for n, k in zip(shape, size, strict=True)) for size in boxes]
    counts = np.array([int(np.prod(p)) for p in positions])
    n_windows = int(counts.sum())
    rng = generator(seed)
    inverse = np.empty(n_samples)
    step = max(1, CHUNK // max(int(np.prod(shape)), int(counts.max())))
    for first in range(0, n_samples, step):
        rows = slice(first, min(first + step, n_samples))
        n = rows.stop - rows.start
        field = rng.standard_normal((n, *shape))
        chosen = rng.choice(len(boxes), size=n, p=counts / n_windows)
        target = truncnorm.rvs(z_local, np.inf, size=n, random_state=rng)
        for row, (kind, value) in enumerate(zip(chosen, target, strict=True)):
            start = tuple(int(rng.integers(p)) for p in positions[kind])
            box = field[row][Window(start, boxes[kind]).slices]
            # Moved along the window's own direction: the rest keeps its distribution.
            box += (value - box.sum() / np.sqrt(box.size)) / np.sqrt(box.size)
        above = sum(_count_above(field, size, z_local) for size in boxes)
        inverse[rows] = 1.0 / np.maximum(above, 1)
    factor = n_windows * float(norm.sf(z_local))
    p = min(factor * float(inverse.mean()), 1.0)  # the estimate fluctuates beyond 1
    error = factor * float(inverse.std()) / np.sqrt(n_samples)
    return GlobalP(p, float(error), float(norm.isf(p)), n_windows, n_samples)


def _count_above(field: Array, size: tuple[int, ...], z: float) -> Array:
    """Return how many windows of each field are above z, shape (fields,)."""
    values = scan_positions(field, size)
    # The conditioned window itself is above z up to rounding.
    return np.asarray(np.sum(values > z - 1e-9, axis=tuple(range(1, values.ndim))))


def all_squares(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the cubes of every size that fits, smallest first.

    Example:
        >>> list(all_squares((2, 3)))
        [(1, 1), (2, 2)]
    """
    for k in range(1, min(shape) + 1):
        yield (k,) * len(shape)
