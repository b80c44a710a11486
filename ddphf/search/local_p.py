"""The local p-value of one window by the law of its counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, logsumexp, ndtri_exp
from scipy.stats import binom

from ddphf.arrays import Array, Mask
from ddphf.exceptions import InputError
from ddphf.search.field import Field
from ddphf.statistics.n_sigma import exact_p_value
from ddphf.statistics.windows import Window

__all__ = ["LocalP", "log_tail_of_sum", "window_p"]

CONVOLVED = 4_000
"""Events of a window up to which sums with different shares are convolved: no approximation."""

STEP, RANGE = 0.25, 12.0
"""Of the sum over a nuisance's value, in standard deviations: the trapezoid rule is exact to
rounding for what is nearly a Gaussian."""

NEAR_MEAN = 1e-4
"""In standard deviations: the saddlepoint formula is 0 / 0 at the mean, and has a limit."""


@dataclass(frozen=True)
class LocalP:
    """The p-value of the counts of one window.

    Attributes:
        p: Probability of so many tested events or more (so few or fewer, for a deficit) given the n
            of each bin; None where it underflows. Nuisances are averaged over what the bins outside
            the window leave of them.
        z: Its significance, None where p is 1.
        method: ``binomial`` (one share q for all bins), ``convolution`` or ``saddlepoint``.
        averaged: Whether there were nuisances to average over.
    """

    p: float | None
    z: float | None
    method: Literal["binomial", "convolution", "saddlepoint"]
    averaged: bool


def window_p(field: Field, window: Window, *, deficit: bool = False) -> LocalP:
    """Return the local p-value of a window's counts.

    Without nuisances and with one ratio it is exact: B is binomial given n. With different shares
    it is convolved from the bins, or above 4 000 events taken from the saddlepoint (Daniels, Int.
    Stat. Rev. 55 (1987) 37, second continuity correction).

    Args:
        field: The data.
        window: Where.
        deficit: Whether few tested events are looked for.

    Raises:
        InputError: The window lies outside, counts are no whole numbers, or a free nuisance acts
            inside the window alone.

    Example:
        >>> from ddphf.search.field import make_field
        >>> found = window_p(make_field([[5, 4]], [[1, 0]]), Window((0, 0), (1, 2)))
        >>> round(found.p, 6), found.method
        (0.010742, 'binomial')
    """
    window.check(field.shape)
    if (fraction := field.first_fraction()) is not None:
        raise InputError(
            f"local p-value: bin {fraction[0]} holds {fraction[1]:g}, no whole number; the exact "
            "p-value is for counts of events, not for sums of weights: Z holds without it"
        )
    inside = np.zeros(field.shape, dtype=bool)
    inside[window.slices] = True
    inside = inside.ravel()
    n = field.total.ravel()[inside]
    found = field.tested.ravel()[inside].sum()
    count = int(n.sum() - found if deficit else found)
    if field.nuisances.names:
        rows, log_weights = _averaged_shares(field, inside)
    else:
        rows, log_weights = field.share.ravel()[None, inside], np.zeros(1)
    rows = 1 - rows if deficit else rows
    one = bool(np.ptp(rows[0][n > 0]) <= 1e-12) if np.any(n > 0) else True
    if one and len(rows) == 1:
        share = float(rows[0][n > 0].mean()) if np.any(n > 0) else 0.5
        p, z = exact_p_value(count, int(n.sum()) - count, ratio=share / (1 - share))
        return LocalP(p, z, "binomial", False)
    few = n.sum() <= CONVOLVED and len(rows) == 1
    tail = _log_convolved if few else log_tail_of_sum
    logs = np.array([tail(count, n, row) for row in rows])
    log_p = min(float(logsumexp(logs + log_weights)), 0.0)
    z = float(-ndtri_exp(log_p)) if log_p < 0 else None
    method: Literal["convolution", "saddlepoint"] = "convolution" if few else "saddlepoint"
    return LocalP(float(np.exp(log_p)) or None, z, method, len(rows) > 1)


def _averaged_shares(field: Field, inside: Mask) -> tuple[Array, Array]:
    """Return shares of the window's bins for values of the nuisances, and their log weights.

    Outside the window the bins measure the nuisances; of what is left only the direction counts
    that moves the expected sum.
    """
    pulls = field.profile.pulls
    outside = pulls[~inside]
    matrix = outside.T @ outside + np.diag(np.where(field.profile.free, 0.0, 1.0))
    if np.linalg.cond(matrix) > 1e12:
        raise InputError(
            "local p-value: a free nuisance parameter acts inside the window alone, and explains "
            "every difference there; constrain it, or take a smaller window"
        )
    inverse = np.linalg.inv(matrix)
    centre = inverse @ (outside.T @ field.terms.ravel()[~inside])
    rates = field.tested_rate.ravel()[inside], field.partner_rate.ravel()[inside]
    up, down = field.shifts.reshape(2, len(pulls.T), -1)[:, :, inside]
    n, both = field.total.ravel()[inside], rates[0] + rates[1]
    slope = np.divide(rates[1] * up - rates[0] * down, both**2, out=0 * up, where=both > 0)
    moved = slope @ n
    spread = float(np.sqrt(moved @ inverse @ moved))
    x = np.arange(-RANGE, RANGE + STEP / 2, STEP) if spread > 0 else np.zeros(1)
    along = inverse @ moved / (spread if spread > 0 else 1.0)
    values = centre[:, None] + along[:, None] * x
    tested, partner = (
        np.maximum(rate[:, None] + shift.T @ values, 1e-12 * both[:, None])
        for rate, shift in ((rates[0], up), (rates[1], down))
    )
    total = tested + partner
    shares = np.divide(tested, total, out=np.full(total.shape, 0.5), where=total > 0)
    log_weights = -0.5 * x**2
    return shares.T, log_weights - logsumexp(log_weights)


def _log_convolved(count: int, n: Array, share: Array) -> float:
    """Return log P(sum of binomials >= count), from their distributions."""
    law = np.ones(1)
    for trials, q in zip(n.astype(int), share, strict=True):
        if trials:
            law = np.convolve(law, binom.pmf(np.arange(trials + 1), trials, q))
    tail = float(law[count:].sum())
    return float(np.log(tail)) if 0 < tail < 0.5 else float(np.log1p(-min(law[:count].sum(), 1.0)))


def log_tail_of_sum(count: int, n: Array, share: Array) -> float:
    """Return log P(sum of binomials >= count) from the saddlepoint.

    Args:
        count: Of the sum.
        n: Trials, shape (bins,).
        share: Probabilities below 1, shape (bins,).

    Example:
        >>> exact = binom.logsf(129, 200, 0.5)
        >>> bool(abs(log_tail_of_sum(130, np.array([200.0]), np.array([0.5])) - exact) < 1e-3)
        True
    """
    if count <= 0:
        return 0.0
    some = (n > 0) & (share > 0)
    n, share = n[some], share[some]
    if count > n.sum():
        return -np.inf
    x = count - 0.5

    def tilted(theta: float) -> Array:
        # q e^theta / (1 - q + q e^theta), without overflow.
        return np.asarray(share / (share + (1 - share) * np.exp(-theta)))

    def gap(theta: float) -> float:
        return float(n @ tilted(theta)) - x

    low, high = -1.0, 1.0
    while gap(low) > 0:
        low *= 2
    while gap(high) < 0:
        high *= 2
    theta = float(brentq(gap, low, high, xtol=1e-14, rtol=1e-14))
    now = tilted(theta)
    variance = float(n @ (now * (1 - now)))
    # log(1 - q + q e^theta), without overflow.
    logs = np.logaddexp(np.log1p(-share), np.log(share) + theta)
    w = float(np.sign(theta) * np.sqrt(2 * max(theta * x - float(n @ logs), 0.0)))
    if abs(w) < NEAR_MEAN:
        third = float(n @ (now * (1 - now) * (1 - 2 * now)))
        return float(np.log(0.5 - third / (6 * np.sqrt(2 * np.pi) * variance**1.5) - w * 0.3989423))
    u = 2 * np.sinh(theta / 2) * np.sqrt(variance)
    correction = (1 / u - 1 / w) * np.exp(-0.5 * w**2 - log_ndtr(-w)) / np.sqrt(2 * np.pi)
    return float(log_ndtr(-w) + np.log1p(max(correction, -1 + 1e-12)))
