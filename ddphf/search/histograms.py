"""One histogram of one selection: its variance, its nuisances, and the scale of its windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.search.boxes import Boxes
from ddphf.search.nuisances import project_away
from ddphf.search.scan import TIE, Direction, statistic
from ddphf.search.table import DEGENERATE

__all__ = ["Corners", "SelectedHistogram"]

FELT = 1e-4
"""Eigenvalue of G'G below which a direction is left out of the scales: together such directions are
less than this part of any window's variance."""

CHUNK = 1 << 18
"""Windows whose corners are looked up at once."""


class Corners:
    """Sums over all windows of a family by their corners in sums from the lower edges.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> Corners(make_boxes((2, 2), "1x2,2x2")).sums(np.array([1.0, 2.0, 3.0, 4.0])).tolist()
        [3.0, 7.0, 10.0]
    """

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes
        self._points = tuple(n + 1 for n in boxes.shape)
        axes = len(boxes.shape)
        self._ends = [tuple((c >> a) & 1 for a in range(axes)) for c in range(1 << axes)]
        self._signs = [(-1.0) ** (axes - sum(ends)) for ends in self._ends]
        # Histograms by the hundred share one family; one histogram of millions of windows has time.
        self._kept = self._places(0, boxes.count) if boxes.count <= 4 * CHUNK else None

    def _places(self, first: int, end: int) -> list[IntArray]:
        start, size = self.boxes.corners(np.arange(first, end))
        return [
            np.ravel_multi_index(tuple((start + size * np.array(ends)).T), self._points)
            for ends in self._ends
        ]

    def sums(self, values: Array) -> Array:
        """Return the sum of flat bins over every window, (windows,)."""
        sums = np.zeros(self._points)
        sums[(slice(1, None),) * len(self._points)] = values.reshape(self.boxes.shape)
        for axis in range(len(self._points)):
            np.cumsum(sums, axis=axis, out=sums)
        flat, out = sums.ravel(), np.zeros(self.boxes.count)
        step = self.boxes.count if self._kept is not None else CHUNK
        for first in range(0, self.boxes.count, step):
            end = min(first + step, self.boxes.count)
            places = self._kept if self._kept is not None else self._places(first, end)
            for sign, place in zip(self._signs, places, strict=True):
                out[first:end] += sign * flat[place]
        return out


@dataclass(frozen=True)
class SelectedHistogram:
    """One observable of one selection.

    Attributes:
        selection: Number of the selection.
        events: Events in it and inside the axes.
        tested: Events of the tested sample in each bin, flat (bins,).
        partner: Of its partner.
        difference: D of the data, with the expected fakes subtracted, (bins,).
        variance: V, (bins,).
        changes: Of D per sigma of each nuisance, (bins, k).
        labels: How many of the nuisances, the first, act through the labels.
    """

    selection: int
    events: int
    tested: Array
    partner: Array
    difference: Array
    variance: Array
    changes: Array
    labels: int

    @property
    def filled(self) -> Mask:
        """Bins with V > 0."""
        return np.asarray(self.variance > 0)

    @cached_property
    def roots(self) -> Array:
        """1 / sqrt(V), 0 in empty bins, (bins,)."""
        safe = np.where(self.filled, self.variance, 1.0)
        return np.asarray(np.where(self.filled, 1 / np.sqrt(safe), 0.0))

    @cached_property
    def pulls(self) -> Array:
        """G = changes / sqrt(V), (bins, k)."""
        return np.asarray(self.changes * self.roots[:, None])

    @cached_property
    def inverse(self) -> Array:
        """(1 + G'G)^-1, (k, k)."""
        k = self.pulls.shape[1]
        return np.asarray(np.linalg.inv(np.eye(k) + self.pulls.T @ self.pulls))

    def project(self, terms: AnyArray) -> AnyArray:
        """Return terms with the nuisances profiled: P t, for t of shape (bins, ...)."""
        return project_away(terms, self.pulls, self.inverse)

    def scales(self, corners: Corners) -> Array:
        """Return 1 / sqrt(M v) of each window, NaN of those left out, (windows,).

        Left out are windows without a filled bin, and those of which profiling leaves less than
        1e-6 of the variance.
        """
        filled = self.filled
        if filled.all() and not self.pulls.shape[1]:
            areas = np.repeat(corners.boxes.areas, np.diff(corners.boxes.first))
            return np.asarray(1 / np.sqrt(areas))
        m = np.rint(corners.sums(filled.astype(float)))
        full = m > 0
        left = np.ones(len(m))
        if self.pulls.shape[1]:
            lost = np.zeros(len(m))
            sizes, turns = np.linalg.eigh(self.pulls.T @ self.pulls)
            felt = sizes > FELT
            for row in (self.pulls @ (turns[:, felt] / np.sqrt(1 + sizes[felt]))).T:
                lost += corners.sums(row) ** 2
            left -= np.divide(lost, m, out=np.zeros_like(m), where=full)
        good = full & (left >= DEGENERATE)
        safe = np.where(good, m * left, 1.0)
        return np.asarray(np.where(good, 1 / np.sqrt(safe), np.nan))

    def scan(self, corners: Corners, scales: Array, direction: Direction) -> tuple[int, float]:
        """Return the number of the best window and its signed Z, in double precision.

        Of equal windows the first is the best; where none is left, (-1, nan).
        """
        z = corners.sums(self.project(self.difference * self.roots)) * scales
        values = np.where(np.isnan(z), -np.inf, statistic(z, direction))
        if not np.any(values > -np.inf):
            return -1, float("nan")
        number = int(np.argmax(values >= values.max() - TIE))
        return number, float(z[number])

    def weights(self, inside: Mask, scale: float) -> Array:
        """Return c with Z_W = sum_bins c D of one window, (bins,).

        Args:
            inside: The bins of the window, flat.
            scale: Of the window.
        """
        chosen = self.project((inside & self.filled).astype(float) * scale)
        return np.asarray(chosen * self.roots)
