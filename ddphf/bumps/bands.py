"""Symmetric positive definite matrices of a few diagonals, very many at once.

The batch is the last axis, so that each step of the factorization is one operation over it: for
splines, of 20 coefficients and 3 diagonals beside the main one, ten times as fast as LAPACK is on
that many dense matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array

__all__ = ["Factors", "factorize", "solve"]


class Factors(NamedTuple):
    """A = L D L^T of a batch of matrices.

    Attributes:
        lower: L below its diagonal of ones: ``lower[d, j]`` is L[j + d, j], shape (q + 1, p, N).
        pivots: D, shape (p, N); not positive where A is not positive definite.
    """

    lower: Array
    pivots: Array


def factorize(band: Array) -> Factors:
    """Factorize matrices.

    Args:
        band: ``band[d, j]`` is A[j + d, j], shape (q + 1, p, N); where j + d >= p it is not read.

    Returns:
        The factors. Where a pivot is not positive, what follows it means nothing.

    Example:
        >>> band = np.array([[[4.0], [5.0]], [[2.0], [0.0]]])  # [[4, 2], [2, 5]]
        >>> factorize(band).pivots.ravel()
        array([4., 4.])
    """
    diagonals, size = band.shape[:2]
    lower = np.zeros_like(band)
    pivots = np.empty(band.shape[1:])
    scaled = np.zeros_like(band)  # L times its column's pivot
    for j in range(size):
        reach = min(diagonals - 1, size - 1 - j)
        pivot = band[0, j].copy()
        for k in range(1, min(diagonals - 1, j) + 1):
            pivot -= lower[k, j - k] * scaled[k, j - k]
        pivots[j] = pivot
        for d in range(1, reach + 1):
            entry = band[d, j].copy()
            for k in range(1, min(diagonals - 1 - d, j) + 1):
                entry -= lower[k + d, j - k] * scaled[k, j - k]
            scaled[d, j] = entry
            lower[d, j] = entry / pivot
    return Factors(lower, pivots)


def solve(factors: Factors, right: Array) -> Array:
    """Solve A x = right.

    Args:
        factors: Of the matrices.
        right: Right-hand sides, shape (p, R, N).

    Returns:
        x, the same shape.

    Example:
        >>> factors = factorize(np.array([[[4.0], [5.0]], [[2.0], [0.0]]]))
        >>> solve(factors, np.array([[[8.0]], [[9.0]]])).ravel()
        array([1.375, 1.25 ])
    """
    lower, pivots = factors
    diagonals, size = lower.shape[:2]
    x = np.array(right)
    for j in range(size):
        for d in range(1, min(diagonals - 1, size - 1 - j) + 1):
            x[j + d] -= lower[d, j] * x[j]
    x /= pivots[:, None]
    for j in range(size - 1, -1, -1):
        for d in range(1, min(diagonals - 1, size - 1 - j) + 1):
            x[j] -= lower[d, j] * x[j + d]
    return x
