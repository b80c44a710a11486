"""Backgrounds as columns: what is multiplied by coefficients, and what their roughness costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import BSpline

from ddphf.arrays import Array
from ddphf.bumps.links import IDENTITY, LOGARITHMIC

__all__ = ["SPLINES", "Design", "polynomial_null", "spline_design"]


@dataclass(frozen=True, eq=False)
class Design:
    """The columns of a background's predictor, of one binning.

    Attributes:
        columns: X, shape (n, p); the predictor is X theta + offset.
        offset: Shape (n,).
        link: From predictor to counts, of ``links``.
        reach: Columns further apart than this share no bin: diagonals of X^T W X.
        differences: D of the roughness |D theta|^2 / 2, whose strength the model has; shape (d, p).
        free: Orthonormal directions that the penalty does not feel, shape (p, k).
    """

    columns: Array
    offset: Array
    link: int
    reach: int
    differences: Array
    free: Array

    @cached_property
    def products(self) -> Array:
        """``X[i, j + d] X[i, j]`` at (i, d p + j), shape (n, (reach + 1) p)."""
        n, p = self.columns.shape
        out = np.zeros((n, self.reach + 1, p))
        for d in range(self.reach + 1):
            out[:, d, : p - d] = self.columns[:, d:] * self.columns[:, : p - d]
        return out.reshape(n, -1)

    @cached_property
    def penalty(self) -> Array:
        """D^T D as diagonals, shape (reach + 1, p)."""
        full, p = self.differences.T @ self.differences, self.columns.shape[1]
        out = np.zeros((self.reach + 1, p))
        for d in range(self.reach + 1):
            out[d, : p - d] = np.diagonal(full, -d)
        return out

    @cached_property
    def free_products(self) -> Array:
        """Products of the columns of the free directions, shape (n, k k)."""
        columns = self.columns @ self.free
        return np.asarray((columns[:, :, None] * columns[:, None, :]).reshape(len(columns), -1))

    def dense(self, band: Array) -> Array:
        """Return a symmetric matrix, shape (..., p, p), of its diagonals (..., reach + 1, p)."""
        p = self.columns.shape[1]
        out = np.zeros((*band.shape[:-2], p, p))
        for d in range(self.reach + 1):
            i = np.arange(p - d)
            out[..., i + d, i] = out[..., i, i + d] = band[..., d, : p - d]
        return out


SPLINES = 20
"""Cubic B-splines of a background."""

ORDER = 3
"""Differences of neighbouring coefficients that are penalised: a quadratic costs nothing."""


def polynomial_null(p: int) -> Array:
    """Return what third differences do not see, as orthonormal columns, shape (p, 3)."""
    return np.asarray(np.linalg.qr(np.vander(np.linspace(-1, 1, p), ORDER, increasing=True))[0])


def spline_design(coordinate: Array, exposure: Array, link: int) -> Design:
    """Return cubic B-splines whose knots are equally far apart in a coordinate.

    Each column is the mean of its spline over the bin, by Gauss points in the coordinate.

    Args:
        coordinate: Of the bin edges, increasing, shape (n + 1,).
        exposure: Widths of the bins, in units of their mean, shape (n,).
        link: From the spline to a density of counts.

    Example:
        >>> design = spline_design(np.linspace(0.0, 1.0, 31), np.ones(30), IDENTITY)
        >>> design.columns.shape, bool(np.allclose(design.columns.sum(axis=1), 1.0))
        ((30, 20), True)
    """
    low, high = float(coordinate[0]), float(coordinate[-1])
    step = (high - low) / (SPLINES - 3)
    knots = low + step * np.arange(-3, SPLINES + 1)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    middle, half = (coordinate[1:] + coordinate[:-1]) / 2, np.diff(coordinate) / 2
    points = np.clip(middle[:, None] + half[:, None] * nodes, low, high)
    basis = BSpline.design_matrix(points.ravel(), knots, 3, extrapolate=True).toarray()
    columns = np.einsum("ngp,g->np", basis.reshape(len(middle), 3, SPLINES), weights / 2)
    if link == IDENTITY:
        columns *= exposure[:, None]
    offset = np.log(exposure) if link == LOGARITHMIC else np.zeros(len(exposure))
    reach = ORDER
    while reach < SPLINES - 1 and np.any(columns[:, reach + 1 :] * columns[:, : -reach - 1]):
        reach += 1  # a wide bin is met by splines far from each other
    differences = np.diff(np.eye(SPLINES), ORDER, axis=0)
    return Design(columns, offset, link, reach, differences, polynomial_null(SPLINES))
