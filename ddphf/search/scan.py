"""Every window of one data set, in double precision: the best ones, and the best of each size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.search.table import WindowTable
from ddphf.statistics.windows import Window

__all__ = ["Direction", "Found", "Scan", "check_direction", "scan_terms"]

Direction = Literal["excess", "deficit", "both"]

TIE = 1e-9
"""Sums differ in their last digits: of equal windows the first is the best."""


def check_direction(direction: str) -> Direction:
    """Return a direction.

    Raises:
        InputError: It is none.
    """
    for known in get_args(Direction):
        if direction == known:
            return cast("Direction", known)
    raise InputError(f"direction '{direction}' is unknown; expected excess, deficit or both")


@dataclass(frozen=True)
class Found:
    """A window of the list of the best.

    Attributes:
        window: Where it lies.
        number: Its number among the boxes.
        z: Its Z, signed: a deficit is negative. Local.
        n_bins: Its bins that are not empty.
        variance: v_W, what profiling leaves of its variance.
        merged: Windows that overlap with it, are less significant than it and reach at least
            :data:`LOWEST`: they are not listed for themselves.
    """

    window: Window
    number: int
    z: float
    n_bins: int
    variance: float
    merged: int


@dataclass(frozen=True)
class Scan:
    """All windows of one data set.

    Attributes:
        table: The windows.
        direction: What was looked for.
        z: Signed Z of each window by its number, NaN of those left out; shape (windows,).
        best: The best windows, none of which overlaps with another.
        size_best: Best statistic of each size, NaN where none is left; shape (sizes,).
    """

    table: WindowTable
    direction: Direction
    z: Array
    best: tuple[Found, ...]
    size_best: Array

    @property
    def statistic(self) -> float:
        """The largest over all windows of Z, -Z or |Z|, as the direction wants."""
        return float(statistic(self.best[0].z, self.direction))


def statistic(z: Array | float, direction: Direction) -> Array:
    """Return what is largest where a window is interesting."""
    sign = {"excess": z, "deficit": -np.asarray(z), "both": np.abs(z)}
    return np.asarray(sign[direction])


LOWEST = 2.0
"""Beside the best, only windows are listed whose statistic reaches it."""


def scan_terms(
    terms: Array, table: WindowTable, *, direction: str = "excess", most: int = 10
) -> Scan:
    """Return Z of every window, and the list of the best.

    The list is made greedily: the best window, then the best of those that share no bin with it,
    and so on.

    Args:
        terms: t', the terms with the nuisances profiled, of the histogram's shape.
        table: From :func:`~ddphf.search.table.make_table` for the same data.
        direction: ``excess``, ``deficit`` or ``both``.
        most: Windows of the list.

    Raises:
        InputError: The direction is unknown.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.table import make_table
        >>> scan = scan_terms(np.array([1.0, 2.0, -1.0]), make_table(make_boxes((3,))))
        >>> scan.z.round(3).tolist(), scan.best[0].number
        ([1.0, 2.0, -1.0, 2.121, 0.707, 1.155], 3)
    """
    wanted = check_direction(direction)
    boxes = table.boxes
    z = np.empty(boxes.count)
    for kind, sums in table.sums(terms):
        place = slice(int(boxes.first[kind]), int(boxes.first[kind + 1]))
        scale = table.size_scales[kind] if table.scales is None else table.scales[place]
        z[place] = sums * scale
    values = statistic(z, wanted)
    values = np.where(np.isnan(values), -np.inf, values)
    by_size = np.maximum.reduceat(values, boxes.first[:-1])
    best = _list_best(table, z, values, most)
    return Scan(table, wanted, z, best, np.where(np.isinf(by_size), np.nan, by_size))


def _list_best(table: WindowTable, z: Array, values: Array, most: int) -> tuple[Found, ...]:
    """Return the best windows that share no bin."""
    number = int(np.argmax(values >= values.max() - TIE))
    # Of the rest only what reaches the mark can be listed or merged: few of millions.
    left = np.flatnonzero(values >= min(LOWEST, float(values[number])))
    found: list[Found] = []
    while len(left) and len(found) < max(most, 1):
        high = values[left]
        number = int(left[np.argmax(high >= high.max() - TIE)])
        window = table.boxes.window(number)
        start, size = table.boxes.corners(left)
        apart = np.zeros(len(left), dtype=bool)
        for axis, (a, k) in enumerate(zip(window.start, window.size, strict=True)):
            apart |= (start[:, axis] >= a + k) | (start[:, axis] + size[:, axis] <= a)
        scale = float(table.scale(np.array([number]))[0])
        n_bins = int(table.filled[window.slices].sum())
        merged = int(np.sum(~apart)) - 1
        variance = 1 / (n_bins * scale**2)
        found.append(Found(window, number, float(z[number]), n_bins, variance, merged))
        left = left[apart]
    return tuple(found)
