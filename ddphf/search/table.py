"""The scale of every window: what turns its sum of terms into its Z."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.search.boxes import Boxes
from ddphf.search.field import Field
from ddphf.search.nuisances import Profile
from ddphf.statistics.windows import sum_positions

__all__ = ["DEGENERATE", "WindowTable", "make_table", "refuse_none_left", "table_of_bins"]

DEGENERATE = 1e-6
"""Variance that profiling leaves of a window; below, the window is the nuisance."""


@dataclass(frozen=True)
class WindowTable:
    """Windows with their scales: Z_W = scale_W sum_W t'.

    Attributes:
        boxes: The windows.
        filled: Bins that count, of the histogram's shape.
        profile: The nuisances' projection.
        scales: 1 / sqrt(M v) of each window by its number, NaN of those left out; None where every
            bin counts and nothing is profiled, so that it is 1 / sqrt(area).
        n_empty: Windows left out because none of their bins counts.
        n_degenerate: Windows left out because profiling leaves less than 1e-6 of their variance.
    """

    boxes: Boxes
    filled: Mask
    profile: Profile
    scales: Array | None
    n_empty: int
    n_degenerate: int

    @cached_property
    def size_scales(self) -> Array:
        """1 / sqrt(area) of each size, shape (sizes,)."""
        return np.asarray(1 / np.sqrt(self.boxes.areas))

    @cached_property
    def counts(self) -> IntArray:
        """Windows of each size that are searched, shape (sizes,)."""
        if self.scales is None:
            return np.diff(self.boxes.first)
        found = np.add.reduceat(~np.isnan(self.scales), self.boxes.first[:-1], dtype=np.int64)
        return np.asarray(found)

    @property
    def n_windows(self) -> int:
        """Windows that are searched."""
        return self.boxes.count - self.n_empty - self.n_degenerate

    def scale(self, numbers: IntArray) -> Array:
        """Return the scales of windows by their numbers."""
        if self.scales is not None:
            return np.asarray(self.scales[numbers])
        kind = np.searchsorted(self.boxes.first, numbers, side="right") - 1
        return np.asarray(self.size_scales[kind])

    def sums(self, terms: Array) -> Iterator[tuple[int, Array]]:
        """Yield (number of size, sums over its windows) of terms of the histogram's shape."""
        for kind, size in enumerate(self.boxes.sizes):
            yield kind, sum_positions(terms, size).ravel()

    def inside(self, numbers: IntArray) -> Mask:
        """Return which bins lie in each window and count, shape (bins, windows)."""
        start, size = self.boxes.corners(numbers)
        found = np.ones((1, len(numbers)), dtype=bool)
        for axis, n in enumerate(self.boxes.shape):
            place = np.arange(n)[:, None]
            along = (place >= start[:, axis]) & (place < start[:, axis] + size[:, axis])
            found = (found[:, None, :] & along[None, :, :]).reshape(-1, len(numbers))
        return np.asarray(found & self.filled.reshape(-1, 1))


def make_table(boxes: Boxes, field: Field | None = None) -> WindowTable:
    """Return windows with the scales that a field's empty bins and nuisances give them.

    Args:
        boxes: The windows.
        field: Of the same shape; without one every bin counts and nothing is profiled.

    Raises:
        InputError: Shapes differ, or no window is left.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.field import make_field
        >>> table = make_table(make_boxes((1, 3), "1x2"), make_field([[1, 0, 0]], [[3, 0, 0]]))
        >>> table.scales.tolist(), table.n_empty
        ([1.0, nan], 1)
    """
    if field is None:
        nothing = Profile.make(np.zeros((math.prod(boxes.shape), 0)), np.zeros(0, dtype=bool))
        return table_of_bins(boxes, np.ones(boxes.shape, dtype=bool), nothing)
    return table_of_bins(boxes, field.filled, field.profile)


def table_of_bins(boxes: Boxes, filled: Mask, profile: Profile) -> WindowTable:
    """Return windows with the scales that empty bins and nuisances give them.

    Args:
        boxes: The windows.
        filled: Bins that count, of the histogram's shape.
        profile: Of the nuisances, over the flat bins.

    Raises:
        InputError: Shapes differ, or no window is left.
    """
    if filled.shape != boxes.shape:
        raise InputError(
            f"window: made for {list(boxes.shape)} bins, the histogram has {list(filled.shape)}"
        )
    if filled.all() and not profile.pulls.shape[1]:
        return WindowTable(boxes, filled, profile, None, 0, 0)
    # v_W = 1 - |sum_W h|^2 / M with h h' = G (C + F)^-1 G'.
    values, vectors = np.linalg.eigh(profile.inverse)
    rows = (profile.pulls @ (vectors * np.sqrt(np.maximum(values, 0.0)))).T
    scales = np.full(boxes.count, np.nan)
    n_empty = n_degenerate = 0
    for kind, size in enumerate(boxes.sizes):
        m = np.rint(sum_positions(filled.astype(float), size).ravel())
        lost = np.zeros_like(m)
        for row in rows:
            lost += sum_positions(row.reshape(boxes.shape), size).ravel() ** 2
        full = m > 0
        left = 1 - np.divide(lost, m, out=np.zeros_like(m), where=full)
        good = full & (left >= DEGENERATE)
        n_empty += int(np.sum(~full))
        n_degenerate += int(np.sum(full & ~good))
        place = slice(int(boxes.first[kind]), int(boxes.first[kind + 1]))
        scales[place][good] = 1 / np.sqrt(m[good] * left[good])
    refuse_none_left(boxes.count, n_empty, n_degenerate)
    return WindowTable(boxes, filled, profile, scales, n_empty, n_degenerate)


def refuse_none_left(count: int, n_empty: int, n_degenerate: int) -> None:
    """Refuse a family of which no window can be searched.

    Raises:
        InputError: None is left.
    """
    if n_empty + n_degenerate < count:
        return
    if not n_degenerate:
        raise InputError(
            f"window: none of {count} is left to search, since none holds an event; are these the "
            "right histograms?"
        )
    raise InputError(
        f"window: none of {count} is left to search: {n_empty} hold no event, and of "
        f"{n_degenerate} the nuisance parameters explain every difference (less than "
        f"{DEGENERATE:g} of its variance is left); take smaller windows, or constrain a free "
        "nuisance"
    )
