"""Where CLs of toys falls below a level: a smooth fit to the numbers of toys at all scanned mu."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from ddphf.arrays import Array, Mask

__all__ = ["find_crossings"]


WINDOW = 8.0
"""Points whose fitted CLs is within this factor of 1 - level take part."""

HIGHEST = 0.45
"""Points with more are left out: where most toys have q~ = 0 CLs jumps to 1."""

MIN_POINTS, MIN_COUNT = 3, 10
"""Points, and signal toys in all of them, below which nothing is known."""

CURVATURE = 0.5
"""Prior width of the correction's bend over half the window, in ln CLs."""

STEPS, SELECTIONS, GRID = 60, 4, 2001


def find_crossings(
    mu: Array, counts: Array, trials: Array, background: Array, shape: Array, alpha: float
) -> Array:
    """Return where CLs = counts / trials / background falls through alpha, for rows of counts.

    CLs is the asymptotic one times the exponential of a parabola in mu, fitted to the counts as
    Poisson numbers: a point where no signal toy is left counts as what it is, a small CLs. Which
    points take part is decided by the fit itself, in each row again.

    Args:
        mu: Points, rising, shape (k,).
        counts: Signal toys at least as far out as the outcome, shape (rows, k).
        trials: All signal toys, shape (k,).
        background: Fraction of the background toys as far out, shape (rows, k).
        shape: CLs by asymptotic formulas, shape (k,).
        alpha: 1 - confidence level.

    Returns:
        Shape (rows,); NaN where there is no crossing between the points that take part.

    Example:
        >>> mu = np.linspace(1.0, 3.0, 9)
        >>> cls, ones = np.exp(-(mu**2)), np.ones(9)
        >>> limits = find_crossings(mu, 1e4 * cls[None], 1e4 * ones, ones[None], cls**0.9, 0.05)
        >>> round(float(limits[0]), 3), round(float(np.sqrt(-np.log(0.05))), 3)
        (1.731, 1.731)
    """
    usable = (shape > 0) & (background > 0) & (counts < HIGHEST * trials * background)
    log_shape = np.log(np.where(shape > 0, shape, 1.0) / alpha)
    base = alpha * trials * background * np.exp(log_shape)
    nothing = np.full(len(counts), np.nan)
    some = usable[0]
    for _ in range(SELECTIONS):
        if not _enough(some[None], counts[:1])[0]:
            return nothing
        design = _Design(mu[some])
        now = _select(design, mu, counts[:1], base[:1], some[None], log_shape, usable[:1])[0]
        if np.array_equal(now, some):
            break
        some = now
    if not _enough(some[None], counts[:1])[0]:
        return nothing
    design = _Design(mu[some])
    masks = np.broadcast_to(some, counts.shape)
    for _ in range(SELECTIONS):
        masks = _select(design, mu, counts, base, masks, log_shape, usable)
    coefficients = _fit(design.of(mu), counts * masks, base * masks)
    grid = np.linspace(mu[0], mu[-1], GRID)
    known = shape > 0
    curves = PchipInterpolator(mu[known], log_shape[known], extrapolate=False)(grid)
    curves = curves + coefficients @ design.of(grid).T
    first = np.min(np.where(masks, mu, np.inf), axis=1)
    last = np.max(np.where(masks, mu, -np.inf), axis=1)
    outside = (grid < first[:, None]) | (grid > last[:, None])
    limits = _first_fall(grid, np.where(outside, np.nan, curves))
    return np.where(_enough(masks, counts), limits, np.nan)


def _select(
    design: _Design, mu: Array, counts: Array, base: Array, masks: Mask, log_shape: Array,
    usable: Mask,
) -> Mask:  # fmt: skip
    """Return which points each row's fit to the present ones has within the window."""
    coefficients = _fit(design.of(mu), counts * masks, base * masks)
    smooth = log_shape + coefficients @ design.of(mu).T
    now = usable & (np.abs(smooth) < np.log(WINDOW))
    return np.asarray(np.where(_enough(now, counts)[:, None], now, masks))


def _enough(masks: Mask, counts: Array) -> Mask:
    some = (masks.sum(axis=1) >= MIN_POINTS) & ((counts * masks).sum(axis=1) >= MIN_COUNT)
    return np.asarray(some)


class _Design:
    """1, t, t^2 with t from -1 to 1 over the points."""

    def __init__(self, mu: Array) -> None:
        self.centre, self.half = float(mu[0] + mu[-1]) / 2, float(mu[-1] - mu[0]) / 2

    def of(self, mu: Array) -> Array:
        return np.vander((mu - self.centre) / self.half, 3, increasing=True)


def _fit(design: Array, counts: Array, base: Array) -> Array:
    """Return the coefficients of Poisson fits with mean base * exp(design @ c), (rows, 3)."""
    prior = np.diag([1e-6, 1e-6, CURVATURE**-2])
    out = np.zeros((len(counts), 3))
    total = np.maximum(base.sum(axis=1), 1e-300)
    out[:, 0] = np.log(np.maximum(counts.sum(axis=1), 0.5) / total)
    for _ in range(STEPS):
        mean = base * np.exp(np.clip(out @ design.T, -50.0, 50.0))
        gradient = (counts - mean) @ design - out @ prior
        hessian = np.einsum("rk,ki,kj->rij", mean, design, design) + prior
        # One overshooting point may outweigh all others beyond double precision.
        hessian *= 1.0 + 1e-9 * np.eye(3)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        size = np.max(np.abs(step), axis=1, keepdims=True)
        out += step / np.maximum(size, 1.0)
        if np.max(size) < 1e-10:
            break
    return out


def _first_fall(grid: Array, curves: Array) -> Array:
    """Return where each row falls through 0 first; NaN where it does not."""
    falls = (curves[:, :-1] > 0) & (curves[:, 1:] <= 0)
    at = np.argmax(falls, axis=1)
    rows = np.arange(len(curves))
    high, low = curves[rows, at], curves[rows, at + 1]
    part = high / np.where(falls[rows, at], high - low, 1.0)
    return np.where(falls[rows, at], grid[at] + part * (grid[1] - grid[0]), np.nan)
