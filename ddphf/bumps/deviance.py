"""Whether counts agree with what is expected of them, also where that is few."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gammaincc, xlogy
from scipy.stats import poisson

from ddphf.arrays import Array

__all__ = ["deviance_p", "poisson_deviance"]

SMALLEST = 1e-300
"""p-value where a smaller one has no number: p is never 0."""

MANY = 60.0
"""Counts from which on a bin's deviance has nearly the moments of chi2."""


def poisson_deviance(observed: Array, expected: Array) -> Array:
    """Return 2 (r - n + n ln n/r) summed over the last axis.

    Example:
        >>> float(poisson_deviance(np.array([3.0]), np.array([3.0])))
        0.0
    """
    terms = expected - observed + xlogy(observed, np.where(observed > 0, observed / expected, 1.0))
    return np.asarray(2 * np.sum(terms, axis=-1))


@cache
def _moments() -> tuple[Array, Array]:
    """Return logarithms of expected counts, and three cumulants of the deviance there."""
    grid = np.linspace(np.log(1e-4), np.log(MANY), 120)
    r = np.exp(grid)[:, None]
    k = np.arange(0, 160)[None]
    d = 2 * (r - k + xlogy(k, np.where(k > 0, k / r, 1.0)))
    p = poisson.pmf(k, r)
    mean = (p * d).sum(axis=1)
    centred = [(p * (d - mean[:, None]) ** power).sum(axis=1) for power in (2, 3)]
    return grid, np.stack([mean, *centred])


def deviance_p(observed: Array, expected: Array, parameters: float) -> tuple[float, float, float]:
    """Return deviance, its expectation, and its p-value.

    The sum of the bins' deviances has the cumulants that Poisson counts give it, in few counts
    other ones than chi2's; fitted parameters take their part of them. Its law is that of a shifted
    gamma with the first three.

    Args:
        observed: Counts, shape (n,).
        expected: Shape (n,).
        parameters: That were fitted; a penalized fit has a fraction.

    Example:
        >>> d, expectation, p = deviance_p(np.full(40, 104.0), np.full(40, 100.0), 4.0)
        >>> round(d, 2), round(expectation, 1), p > 0.99
        (6.32, 36.1, True)
    """
    grid, cumulants = _moments()
    logs = np.log(np.maximum(expected, 1e-4))
    many = (1 + 1 / (6 * np.maximum(expected, 1.0)), np.full_like(logs, 2.0), np.full_like(logs, 8))
    left = max(1 - parameters / len(observed), 0.05)
    mean, variance, third = (
        left * float(np.where(expected < MANY, np.interp(logs, grid, low), high).sum())
        for low, high in zip(cumulants, many, strict=True)
    )
    value = float(poisson_deviance(observed, expected))
    if not (variance > 0 and third > 0):
        return value, mean, 1.0
    shape, scale = 4 * variance**3 / third**2, third / (2 * variance)
    begins = mean - shape * scale
    p = float(gammaincc(shape, max(value - begins, 0.0) / scale))
    return value, mean, max(p, SMALLEST)
