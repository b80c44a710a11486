"""Statistics that are functions of a few sums of y - pi: kernel score, windows, energy.

Each is prepared once for a pool of events and then evaluated on thousands of redraws of the labels,
whose sums are matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.learning.labels import Labels
from ddphf.learning.profile import LabelProfile
from ddphf.search.boxes import Boxes, make_boxes
from ddphf.search.kernels import Scanner
from ddphf.search.nuisances import Profile
from ddphf.search.table import WindowTable
from ddphf.statistics.weighted_chi2 import WeightedChi2
from ddphf.statistics.windows import sum_positions

__all__ = [
    "CellStatistic", "Cells", "Energy", "KernelScore", "Windows", "make_energy", "make_kernel",
    "make_windows", "ridge_of",
]  # fmt: skip

EVENTS_PER_RIDGE = 1200.0
"""Events of the pool per unit of the ridge: the effective degrees of freedom then do not depend on
the size of the samples."""

LEAST = 1e-9
"""Part of a window's variance that profiling must leave."""


def ridge_of(n: int) -> float:
    """Return the ridge of the kernel score for a pool of n events.

    Example:
        >>> ridge_of(4800)
        4.0
    """
    return n / EVENTS_PER_RIDGE


@dataclass(frozen=True)
class KernelScore:
    """T = d' (V + lam)^-1 d with d = F' r' and V its covariance without nuisances drawn.

    Its null law is sum_j w_j chi2_1.

    Attributes:
        moved: F'U, (m, k).
        profile: Of the labels.
        root: L of V + lam = L L', (m, m).
        law: Of the null with nuisances drawn.
        peaked: What the fourth cumulants of the labels add to the variance of T, over that of the
            law. Above 0 the tail of T is longer than the law's: labels of a small pi are no bells.
    """

    moved: Array
    profile: LabelProfile
    root: Array
    law: WeightedChi2
    peaked: float

    def __call__(self, sums: AnyArray, pulled: AnyArray) -> AnyArray:
        """Return T of F'r (m, ...) and B'r (k, ...)."""
        d = self.profile.sums(sums, self.moved, pulled)
        white = solve_triangular(self.root, d, lower=True, check_finite=False)
        return np.asarray(np.sum(white * white, axis=0))

    def coefficients(self, sums: AnyArray, pulled: AnyArray) -> AnyArray:
        """Return beta = (V + lam)^-1 d of the learned log ratio, (m, ...)."""
        d = self.profile.sums(sums, self.moved, pulled)
        white = solve_triangular(self.root, d, lower=True, check_finite=False)
        return np.asarray(solve_triangular(self.root.T, white, lower=False, check_finite=False))


def make_kernel(
    features: AnyArray, labels: Labels, profile: LabelProfile, ridge: float | None = None
) -> KernelScore:
    """Prepare the kernel score.

    Args:
        features: F, (n, m).
        labels: Of the events.
        profile: Of the labels.
        ridge: lam; :func:`ridge_of` the events by default.
    """
    lam = ridge_of(labels.n) if ridge is None else ridge
    moved, plain = features.T @ profile.moves, np.zeros((features.shape[1],) * 2)
    drawn = features.T @ labels.changes.astype(float)
    for start in range(0, labels.n, 1 << 14):  # small products stay in the cache
        some = slice(start, start + (1 << 14))
        plain += features[some].T @ (labels.spread[some, None] * features[some])
    variance = profile.variance(plain, moved)
    shifted = variance + lam * np.eye(len(variance))
    root: Array = np.asarray(np.linalg.cholesky(shifted), dtype=np.float64)
    # Of the null: what profiling leaves of nuisances that are drawn is in V already; what was not
    # profiled comes on top.
    left = profile.sums(drawn, moved, profile.pulls.T @ labels.changes.astype(float))
    full = plain - moved @ profile.inverse @ moved.T
    if profile.moves.shape[1] == 1:
        full = full + left @ left.T
    half = solve_triangular(root, full, lower=True)
    weights = np.linalg.eigvalsh(solve_triangular(root, half.T, lower=True))
    law = WeightedChi2.make(np.maximum(weights, 0.0))
    return KernelScore(moved, profile, root, law, _peaked(features, labels, profile, root, law))


def _peaked(
    features: AnyArray, labels: Labels, profile: LabelProfile, root: Array, law: WeightedChi2
) -> float:
    """Return sum_i kappa4_i h_ii^2 / variance: h is the matrix of T in the residuals. Derived.

    T = r' H r of independent r has the variance 2 tr (H W)^2 + sum_i kappa4_i h_ii^2 with
    kappa4 = w (1 - 6 w), w = pi (1 - pi): below 0 for even labels, and w for rare ones.
    """
    added, turn = 0.0, (features.T @ profile.moves) @ profile.inverse
    for start in range(0, labels.n, 1 << 14):
        some = slice(start, start + (1 << 14))
        own = features[some].T - turn @ profile.pulls[some].T
        lever = np.sum(solve_triangular(root, own, lower=True, check_finite=False) ** 2, axis=0)
        w = labels.spread[some]
        added += float(np.sum(w * (1 - 6 * w) * lever**2))
    return added / law.variance


@dataclass(frozen=True)
class Cells:
    """Cells of events, in whose sums a statistic is.

    Attributes:
        cell: Of each event, (n,).
        shape: Cells along each axis.
        edges: Of each axis, in the transformed variable.
        axes: Number of the variable along each axis; -1 for a direction over several.
    """

    cell: IntArray
    shape: tuple[int, ...]
    edges: tuple[Array, ...]
    axes: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape))

    def add(self, values: Array) -> Array:
        """Return sums of values (n,) or (n, k) over the cells."""
        columns = values.reshape(len(self.cell), -1).T
        sums = [np.bincount(self.cell, column, self.count).astype(float) for column in columns]
        return np.asarray(
            np.stack(sums, axis=1).reshape(self.count, *values.shape[1:]), dtype=np.float64
        )


class CellStatistic(Protocol):
    """A statistic of sums over cells."""

    @property
    def cells(self) -> Cells:
        """The cells."""

    def __call__(self, sums: AnyArray, pulled: AnyArray) -> AnyArray:
        """Return the statistic of sums (cells, n) and B'r (k, n), (n,)."""


@dataclass(frozen=True)
class Windows:
    """The largest |N_sigma| of windows of cells, each sum over its own standard deviation.

    Attributes:
        cells: The cells.
        boxes: The windows.
        scales: 1 / standard deviation of each window's sum; NaN where there is none.
        moved: Sums of U over the cells.
        profile: Of the labels.
    """

    cells: Cells
    boxes: Boxes
    scales: Array
    moved: Array
    profile: LabelProfile

    @cached_property
    def _scanner(self) -> Scanner:
        nothing = Profile.make(np.zeros((self.cells.count, 0)), np.zeros(0, dtype=bool))
        filled = np.ones(self.cells.shape, dtype=bool)
        table = WindowTable(self.boxes, filled, nothing, self.scales, 0, 0)
        return Scanner(table, "both")

    def __call__(self, sums: AnyArray, pulled: AnyArray) -> AnyArray:
        """Return the largest |Z| of sums (cells, n) and B'r (k, n), (n,)."""
        fields = self.profile.sums(sums, self.moved, pulled)
        return self._scanner.largest(np.ascontiguousarray(fields, dtype=np.float32))

    def scan(self, sums: Array, pulled: Array) -> tuple[float, int]:
        """Return Z of the window with the largest |Z|, and its number."""
        field = self.profile.sums(sums, self.moved, pulled).reshape(self.cells.shape)
        z = np.concatenate([sum_positions(field, size).ravel() for size in self.boxes.sizes])
        z = np.nan_to_num(z * self.scales)
        best = int(np.argmax(np.abs(z)))
        return float(z[best]), best


def make_windows(
    cells: Cells, sizes: Sequence[Sequence[int]], labels: Labels, profile: LabelProfile
) -> Windows:
    """Prepare the windows of some sizes at every place."""
    boxes = make_boxes(cells.shape, sizes)
    own = cells.add(labels.spread).reshape(cells.shape)
    moved = cells.add(profile.moves)
    scales = []
    for size in boxes.sizes:
        plain = sum_positions(own, size).ravel()
        columns = np.stack(
            [sum_positions(m.reshape(cells.shape), size).ravel() for m in moved.T], axis=1
        )
        left = plain - np.einsum("wi,ij,wj->w", columns, profile.inverse, columns)
        good = left > LEAST * np.maximum(plain, 1e-300)
        scales.append(np.where(good, 1 / np.sqrt(np.where(good, left, 1.0)), np.nan))
    return Windows(cells, boxes, np.concatenate(scales), moved, profile)


@dataclass(frozen=True)
class Energy:
    """The energy distance of the two samples along one direction: int (sum_{x_i < x} r'_i)^2 dx.

    Attributes:
        cells: Along the direction.
        steps: Distance of the mean of each cell from the next one's, (cells - 1,).
        moved: Sums of U over the cells.
        profile: Of the labels.
    """

    cells: Cells
    steps: Array
    moved: Array
    profile: LabelProfile

    def __call__(self, sums: AnyArray, pulled: AnyArray) -> AnyArray:
        """Return the energy of sums (cells, n) and B'r (k, n), (n,)."""
        below = np.cumsum(self.profile.sums(sums, self.moved, pulled), axis=0)[:-1]
        return np.asarray(np.sum(below * below * self.steps[:, None], axis=0))


def make_energy(cells: Cells, values: Array, labels: Labels, profile: LabelProfile) -> Energy:
    """Prepare the energy along a direction.

    Args:
        cells: Along it.
        values: Of the direction, (n,).
        labels: Of the events.
        profile: Of the labels.
    """
    count = np.maximum(cells.add(np.ones(labels.n)), 1.0)
    return Energy(cells, np.diff(cells.add(values) / count), cells.add(profile.moves), profile)
