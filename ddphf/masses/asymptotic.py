"""Asymptotic limits of all hypotheses at once: the formulas of ``ddphf limit`` on rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array, IntArray
from ddphf.likelihood.rows.fits import RowFits
from ddphf.likelihood.rows.model import RowData
from ddphf.masses.engine import ScanEngine
from ddphf.results.discover import N_SIGMA

__all__ = ["Asimov", "RowLimits", "cls_of", "cross", "find_limits", "make_asimov", "q_tilde"]

PRECISION = 1e-11
"""Of a limit, relative to its distance from where the search began."""

MOST = 100
"""Evaluations of a crossing."""

Rising = Callable[[IntArray, Array], Array]


@dataclass(frozen=True)
class Asimov:
    """Data at the expectation without a signal, other parameters conditional on the data.

    Attributes:
        data: One per hypothesis.
        theta: Global parameters.
    """

    data: RowData
    theta: Array


@dataclass(frozen=True)
class RowLimits:
    """Upper limits of all hypotheses.

    Attributes:
        level: Confidence level.
        observed: Shape (n,); NaN beyond the upper bound of the POI, or where a fit failed.
        expected: At -2 to 2 sigma, shape (n, 5); NaN as above.
    """

    level: float
    observed: Array
    expected: Array


def make_asimov(engine: ScanEngine, null: RowFits) -> Asimov:
    """Return the Asimov data of all hypotheses.

    Args:
        engine: The scan's.
        null: Fits of its data at mu = 0.
    """
    row = np.arange(len(engine.model))
    counts = np.where(engine.signal_only, 0.0, engine.model.counts)
    own = engine.model.observed
    rate, gamma = engine.expected(null.theta, RowData(counts, own.centre, own.local), row)
    tau = engine.model.tau
    local = np.where(tau > 0, tau * gamma, gamma)
    return Asimov(RowData(rate, null.theta.copy(), local), null.theta)


def q_tilde(value: Array, mu: Array, free: RowFits, null: Array) -> Array:
    """Return the statistic of upper limits (arXiv:1007.1727, Eq. 16) from held values of -ln L.

    Args:
        value: -ln L at mu.
        mu: The tested POI.
        free: The free fits of the same data.
        null: -ln L at 0; inf where 0 is impossible.
    """
    mu_hat = free.theta[:, 0]
    base = np.where(mu_hat < 0, null, free.value)
    return np.where(mu_hat > mu, 0.0, np.maximum(2.0 * (value - base), 0.0))


def cls_of(q: Array, q_asimov: Array) -> Array:
    """Return ln CLs of an observed q~ (arXiv:1007.1727, Eq. 65-66), shape (n,)."""
    root = np.sqrt(q_asimov)
    safe = np.where(root > 0, root, 1.0)
    shifted = np.where(q <= q_asimov, np.sqrt(q) - root, (q - q_asimov) / (2 * safe))
    out = norm.logsf(shifted + root) - norm.logsf(shifted)
    return np.asarray(np.where(root > 0, out, 0.0))


def find_limits(
    engine: ScanEngine, free: RowFits, null: RowFits, asimov: Asimov, level: float
) -> RowLimits:
    """Return the CLs upper limits of all hypotheses.

    Args:
        engine: The scan's.
        free: Fits of its data with everything free.
        null: The same at mu = 0.
        asimov: Data without a signal.
        level: Confidence level.
    """
    n, alpha, upper = len(engine.model), 1.0 - level, float(engine.model.upper[0])
    data = engine.model.observed
    zero = np.where(engine.impossible, np.inf, null.value)

    def root(rows: IntArray, mu: Array) -> Array:
        fits = engine.held(asimov.data.take(rows), mu, rows, asimov.theta[rows])
        return np.where(fits.ok, np.sqrt(np.maximum(2.0 * fits.value, 0.0)), np.nan)

    # Where sqrt(q~) of the Asimov data is 1: about the error of mu.
    unit = _unit(root, n, upper)
    targets = np.array([float(norm.isf(alpha * norm.cdf(x)) + x) for x in N_SIGMA])
    each, wanted = np.tile(np.arange(n), len(targets)), np.repeat(targets, n)
    expected = cross(
        lambda items, mu: wanted[items] - root(each[items], mu),
        np.zeros(len(each)),
        np.tile(unit, len(targets)) * wanted,
        upper,
    ).reshape(len(targets), n)

    def excess(rows: IntArray, mu: Array) -> Array:
        fits = engine.held(data.take(rows), mu, rows, null.theta[rows])
        some = RowFits(*(column[rows] for column in free.columns()))
        q = np.where(fits.ok, q_tilde(fits.value, mu, some, zero[rows]), np.nan)
        return np.asarray(np.maximum(cls_of(q, root(rows, mu) ** 2), -700.0) - np.log(alpha))

    inner = np.maximum(free.theta[:, 0], 0.0)
    observed = cross(excess, inner, unit * targets[2], upper)
    return RowLimits(level, np.where(free.ok & null.ok, observed, np.nan), expected.T)


def _unit(root: Rising, n: int, upper: float) -> Array:
    mu, rows = np.full(n, min(1.0, upper)), np.arange(n)
    out = mu.copy()
    for _ in range(60):
        value = np.maximum(root(rows, mu[rows]), 1e-3)
        out[rows] = mu[rows] / np.maximum(value, 0.1)
        stay = ((value > 0.3) & (value < 3)) | ((value <= 0.3) & (mu[rows] >= upper))
        stay |= np.isnan(value)
        mu[rows] = np.minimum(mu[rows] * np.where(value < 0.1, 10.0, 1.0 / value), upper)
        rows = rows[~stay]
        if not len(rows):
            break
    return out


def cross(function: Rising, inner: Array, step: Array, bound: float) -> Array:
    """Return where functions that are positive at ``inner`` fall through 0.

    A bracket is doubled until it holds the crossing, which is then found by inverse quadratic
    interpolation with bisection (Chandrupatla, Adv. Eng. Softw. 28 (1997) 145).

    Args:
        function: Takes numbers of items and points, returns values.
        inner: Where each is positive, shape (m,).
        step: About the distance of the crossing.
        bound: Where to stop.

    Returns:
        Shape (m,); NaN where there is no crossing below the bound.

    Example:
        >>> cross(lambda items, x: 2.0 + items - x**2, np.zeros(2), np.ones(2), 9.0).round(9)
        array([1.41421356, 1.73205081])
    """
    m = len(inner)
    near, distance = inner.copy(), np.abs(step)
    f_near, out = np.full(m, np.nan), np.full(m, np.nan)
    far, f_far = near.copy(), np.full(m, np.nan)
    items = np.flatnonzero(np.isfinite(distance) & (inner < bound))
    found = np.zeros(m, dtype=bool)
    while len(items):
        far[items] = np.minimum(inner[items] + distance[items], bound)
        f_far[items] = function(items, far[items])
        found[items] = f_far[items] <= 0
        going = items[(f_far[items] > 0) & (far[items] < bound)]
        near[going], f_near[going] = far[going], f_far[going]
        distance[going] *= 2.0
        items = going
    items = np.flatnonzero(found)
    lost = items[np.isnan(f_near[items])]
    if len(lost):
        f_near[lost] = function(lost, near[lost])
    ends = np.where(f_far == 0, far, np.where(f_near == 0, near, np.nan))
    a, b, fa, fb = far.copy(), near.copy(), f_far.copy(), f_near.copy()
    c, fc, t = b.copy(), fb.copy(), np.full(m, 0.5)
    scale = np.maximum(np.abs(far - inner), 1e-300)
    items = items[(f_far[items] < 0) & (f_near[items] > 0)]
    for _ in range(MOST):
        if not len(items):
            break
        x = a[items] + t[items] * (b[items] - a[items])
        f = function(items, x)
        same = np.sign(f) == np.sign(fa[items])
        c[items] = np.where(same, a[items], b[items])
        fc[items] = np.where(same, fa[items], fb[items])
        b[items], fb[items] = (
            np.where(same, b[items], a[items]),
            np.where(same, fb[items], fa[items]),
        )
        a[items], fa[items] = x, f
        best = np.where(np.abs(fa[items]) < np.abs(fb[items]), a[items], b[items])
        width = np.abs(b[items] - a[items])
        limit = PRECISION * scale[items] / np.maximum(width, 1e-300)
        done = (limit > 0.5) | (fa[items] == 0) | np.isnan(f)
        ends[items[done]] = np.where(np.isnan(f), np.nan, best)[done]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            xi = (a[items] - b[items]) / (c[items] - b[items])
            phi = (fa[items] - fb[items]) / (fc[items] - fb[items])
            quadratic = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            part = fa[items] / (fb[items] - fa[items]) * fc[items] / (fb[items] - fc[items])
            part += (
                (c[items] - a[items]) / (b[items] - a[items])
                * fa[items] / (fc[items] - fa[items]) * fb[items] / (fc[items] - fb[items])
            )  # fmt: skip
        part = np.where(quadratic & np.isfinite(part), part, 0.5)
        t[items] = np.clip(part, np.minimum(limit, 0.5), np.maximum(1 - limit, 0.5))
        items = items[~done]
    out[found] = ends[found]
    return out
