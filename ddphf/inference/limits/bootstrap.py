"""Limits from toys of q~, with errors by bootstrap over the toys.

The bootstrap draws whole background toys again, so that it keeps what the points of the scan share,
and finds their quantiles again, so that the bands' errors hold the error of the quantile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.inference.limits.crossing import find_crossings
from ddphf.inference.statements import N_SIGMA
from ddphf.statistics.tails import TIE

__all__ = ["ToyCrossings", "crossings_of_toys"]


SAMPLES = 200
"""Bootstrap samples: the errors are known to 7 %."""

PROBABILITIES = norm.cdf([-x for x in N_SIGMA])
"""A background n sigma above its expectation has the (1 - Phi(n))-th quantile of q~."""


@dataclass(frozen=True)
class ToyCrossings:
    """Where CLs of the data and of the bands falls through 1 - level.

    Attributes:
        limits: Shape (6, 1 + SAMPLES): of the toys as they are and of the bootstrap samples; the
            data and the bands at -2 to 2 sigma. NaN where there is none.
        cls: CLs at the points, shape (6, k).
        cls_error: Their binomial errors.
    """

    limits: Array
    cls: Array
    cls_error: Array


def crossings_of_toys(
    mu: Array,
    observed: Array,
    background: list[Array],
    signal: list[Array],
    shapes: Array,
    alpha: float,
    rng: np.random.Generator,
) -> ToyCrossings:
    """Return the limits that toys of the statistic q~ give, and their bootstrap samples.

    Args:
        mu: Tested points, rising, shape (k,).
        observed: q~ of the data at each of them, shape (k,).
        background: q~ of the same background toys at each of them, k of shape (n,).
        signal: q~ of each point's own signal toys.
        shapes: CLs by asymptotic formulas of the data and the bands, shape (6, k).
        alpha: 1 - confidence level.
        rng: Draws the bootstrap samples.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> mu = np.linspace(0.5, 4.0, 12)  # x is normal around mu, and 0 in the data
        >>> q = lambda x, m: np.where(x > m, 0.0, np.where(x < 0, m * (m - 2 * x), (x - m) ** 2))
        >>> x = rng.normal(size=2000)
        >>> background = [q(x, m) for m in mu]
        >>> signal = [q(rng.normal(size=2000) + m, m) for m in mu]
        >>> shapes = norm.cdf(-mu + np.array([0, -2, -1, 0, 1, 2])[:, None])
        >>> found = crossings_of_toys(mu, mu**2, background, signal, shapes, 0.05, rng)
        >>> bool(abs(found.limits[0, 0] - 1.96) < 4 * np.std(found.limits[0, 1:]))
        True
    """
    counts, fractions, trials = _resample(observed, background, signal, rng)
    limits = np.array(
        [
            find_crossings(mu, counts[i], trials, fractions[i], shapes[i], alpha)
            for i in range(len(shapes))
        ]
    )
    limits[1:] = _in_order(limits[1:])
    cls, error = _ratio(counts[:, 0], fractions[:, 0], trials, len(background[0]))
    return ToyCrossings(limits, cls, error)


def _resample(
    observed: Array, background: list[Array], signal: list[Array], rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Count toys at least as far out as the data and as the bands, and in bootstrap samples.

    Args:
        observed: q~ of the data at each mu, shape (k,).
        background: q~ of the same background toys at each mu.
        signal: q~ of each mu's own toys.
        rng: Draws the samples.

    Returns:
        Signal toys, shape (6, 1 + SAMPLES, k); the fraction of background toys, same shape; and
        the numbers of signal toys, shape (k,). The first row of each are the toys as they are.
    """
    n, k = len(background[0]), len(observed)
    order = [np.argsort(q) for q in background]
    ordered = [q[o] for q, o in zip(background, order, strict=True)]
    # Per outcome: background toys below it, by their rank, and signal toys not below it.
    below = [np.searchsorted(q, q - TIE) for q in ordered]
    at_least = [_count(s, q) for s, q in zip(signal, ordered, strict=True)]
    counts = np.empty((6, 1 + SAMPLES, k))
    fractions = np.empty_like(counts)
    for row in range(1 + SAMPLES):
        times = np.bincount(rng.integers(n, size=n), minlength=n) if row else np.ones(n, int)
        for j in range(k):
            sums = np.concatenate([[0], np.cumsum(times[order[j]])])
            # The toy whose expected rank is the quantile.
            ranks = np.searchsorted(sums[1:], PROBABILITIES * (n + 1) - 0.5)
            mine = np.searchsorted(ordered[j], observed[j] - TIE)
            fractions[:, row, j] = 1.0 - sums[np.append(mine, below[j][ranks])] / n
            counts[0, row, j] = _count(signal[j], observed[j : j + 1])[0]
            counts[1:, row, j] = at_least[j][ranks]
    trials = np.array([len(s) for s in signal], dtype=float)
    counts[:, 1:] = _redraw(counts[:, 1:], trials, rng)
    return counts, fractions, trials


def _count(signal: Array, q: Array) -> Array:
    return np.asarray(len(signal) - np.searchsorted(np.sort(signal), q - TIE), dtype=float)


def _redraw(counts: Array, trials: Array, rng: np.random.Generator) -> Array:
    """Draw numbers of toys beyond nested thresholds again, shape (6, samples, k)."""
    order = np.argsort(-counts, axis=0)
    falling = np.take_along_axis(counts, order, axis=0)
    out = np.empty_like(counts)
    all_toys = np.broadcast_to(trials, counts.shape[1:])
    drawn = all_toys.astype(int)
    for i, before in enumerate([all_toys, *falling[:-1]]):
        drawn = rng.binomial(drawn, np.where(before > 0, falling[i] / np.maximum(before, 1), 0.0))
        out[i] = drawn
    back = np.empty_like(out)
    np.put_along_axis(back, order, out, axis=0)
    return back


def _in_order(bands: Array) -> Array:
    """Sort the limits of each column that are known: noise must not let bands cross."""
    out = bands.copy()
    for column in out.T:
        known = np.isfinite(column)
        column[known] = np.sort(column[known])
    return out


def _ratio(
    counts: Array, fractions: Array, trials: Array, n_background: int
) -> tuple[Array, Array]:
    """Return CLs of outcomes and its binomial error, shape (6, k); 0 where no toy is left."""
    seen = fractions > 0
    cls = np.where(seen, counts / trials / np.where(seen, fractions, 1.0), 0.0)
    # At least one toy's worth of error.
    above = np.maximum(counts / trials, 1 / trials)
    below = np.maximum(fractions, 1 / n_background)
    relative = (1 - above) / (above * trials) + (1 - below) / (below * n_background)
    return cls, np.where(seen, above / below * np.sqrt(relative), 1.0 / n_background)
