"""Bumps over the partner sample of a symmetry: the paired model, profiled in closed form.

    counts[i] ~ Poisson(r[i] b[i] + mu t[i]),   partner[i] ~ Poisson(b[i])

with b[i] free in every bin. At a mu the best b is the root of a quadratic; the profile is convex in
mu and has one minimum, which may be a kink at 0 where a bin of both samples is empty. Nothing is
assumed to be smooth: bins next to the ends are as good as others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.bumps.binning import Binning
from ddphf.bumps.deviance import deviance_p
from ddphf.bumps.hunt import Hunt
from ddphf.bumps.known import fit_signal

__all__ = ["PairedFits", "fit_pairs", "hunt_pair", "largest_z"]

STEPS = 200

ENOUGH, CERTIFIED = 1e-18, 1e-8
"""Distance from the minimum in 2NLL where a fit ends, and below which it is one."""

LEAST = 1e-3
"""Expected background of an empty bin, where an estimate needs one above 0."""


class PairedFits(NamedTuple):
    """One fit per data set and place.

    Attributes:
        z: sgn(mu) sqrt(q0).
        mu: Signal events.
        edm: Estimated distance from the minimum in 2NLL; 0 at a kink whose slopes point away.
        information: Of mu, the background profiled.
    """

    z: Array
    mu: Array
    edm: Array
    information: Array


def profile_background(counts: Array, partner: Array, ratio: Array, signal: Array) -> Array:
    """Return the best background of the partner sample at given signal counts.

    Args:
        counts: Of the tested sample.
        partner: Of its partner.
        ratio: Of the efficiencies, tested over partner.
        signal: In the tested sample; all of shapes that broadcast.

    Example:
        >>> profile_background(*map(np.array, (130.0, 100.0, 1.0, 0.0)))
        array(115.)
    """
    n, a, r, s = np.broadcast_arrays(counts, partner, ratio, signal)
    q = (a + n) * r - (1 + r) * s
    root = np.sqrt(np.maximum(q * q + 4 * (1 + r) * r * a * s, 0.0))
    # the larger root, without a difference of two numbers that are nearly the same
    with np.errstate(divide="ignore", invalid="ignore"):
        other = -2 * a * s / (q - root)
    b = np.where(q >= 0, (q + root) / (2 * (1 + r) * r), np.where(s > 0, other, 0.0))
    return np.asarray(np.maximum(np.where(s < 0, np.maximum(b, -s / r), b), 0.0))


def _slope(n: Array, a: Array, r: Array, t: Array, mu: Array) -> tuple[Array, Array, Array]:
    """Return the slopes of the profiled NLL below and above mu, and its information."""
    s = mu[..., None] * t
    b = profile_background(n, a, r, s)
    m = r * b + s
    with np.errstate(all="ignore"):
        alpha, beta = a / b**2, n / m**2
        weight = np.where(b > 0, alpha, np.inf)
        bend = np.where(np.isinf(weight), beta, beta * weight / (r * r * beta + weight))
        inner = np.where(m > 0, 1 - n / m, 1.0)
        edge = (s < 0) & (m <= 1e-12 * (r * b - s))  # nothing is left to expect
        inner = np.where(edge, -(1 - a / b) / r, inner)
        bend = np.where(edge, alpha / r**2, bend)
    empty = (n == 0) & (a == 0)
    high = np.where(empty, np.where(s >= 0, 1.0, -1 / r), inner)
    low = np.where(empty, np.where(s > 0, 1.0, -1 / r), inner)
    bend = np.where(empty | ~np.isfinite(bend), 0.0, bend)
    return (t * low).sum(axis=-1), (t * high).sum(axis=-1), (t * t * bend).sum(axis=-1)


def fit_pairs(counts: Array, partner: Array, ratio: Array, templates: Array) -> PairedFits:
    """Fit the events of a signal at each place, the background free in every bin.

    Args:
        counts: Shape (..., n).
        partner: Shape (..., n).
        ratio: Above 0, shape (..., n).
        templates: Part of a signal in each bin, shape (..., n); all four broadcast.

    Returns:
        Of the common shape without its last axis.

    Example:
        >>> n, a = np.array([18.0, 33, 0, 4, 80]), np.array([12.0, 30, 7, 0, 55])
        >>> found = fit_pairs(n, a, np.ones(5), np.array([0.1, 0.2, 0.1, 0.2, 0.4]))
        >>> float(found.mu.round(6)), float(found.z.round(6))
        (17.175037, 2.226236)
    """
    n, a, r, t = np.broadcast_arrays(counts, partner, ratio, templates)
    shape = n.shape[:-1]
    mu, edm, information = np.zeros(shape), np.full(shape, np.inf), np.zeros(shape)
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    reach = 1 + np.sqrt((n + a).sum(axis=-1))
    with np.errstate(all="ignore"):  # where there is no step, the middle is taken
        for _ in range(STEPS):
            down, up, information = _slope(n, a, r, t, mu)
            # 0 at a kink that is the minimum
            g = np.where(down > 0, down, np.where(up < 0, up, 0.0))
            edm = np.where(g == 0, 0.0, g * g / information)
            edm = np.where(np.isnan(edm), np.inf, edm)
            if np.all(edm < ENOUGH):
                break
            low, high = np.where(g < 0, mu, low), np.where(g > 0, mu, high)
            new = mu - g / information
            middle = np.where(
                np.isfinite(low) & np.isfinite(high), (low + high) / 2,
                np.where(np.isfinite(low), mu + reach, mu - reach),
            )  # fmt: skip
            reach = 2 * reach
            beyond = ~np.isfinite(new) | (new <= low) | (new >= high) | (np.abs(new - mu) > reach)
            mu = np.where(edm < ENOUGH, mu, np.where(beyond, middle, new))
    gain = 2 * (_nll(n, a, r, t, np.zeros(shape)) - _nll(n, a, r, t, mu)).sum(axis=-1)
    z = np.sign(mu) * np.sqrt(np.maximum(gain, 0.0))
    fine = edm < CERTIFIED
    return PairedFits(np.where(fine, z, np.nan), mu, np.asarray(edm), np.asarray(information))


def _nll(n: Array, a: Array, r: Array, t: Array, mu: Array) -> Array:
    """Return the profiled NLL of each bin, but for what no mu changes."""
    s = mu[..., None] * t
    b = profile_background(n, a, r, s)
    m = np.maximum(r * b + s, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(n > 0, n * np.log(np.where(n > 0, m / np.where(n > 0, n, 1.0), 1.0)), 0.0)
        logs += np.where(a > 0, a * np.log(np.where(a > 0, b / np.where(a > 0, a, 1.0), 1.0)), 0.0)
    return np.asarray((m - n) + (b - a) - logs)


def largest_z(binning: Binning, counts: Array, partner: Array, ratio: Array) -> Array:
    """Return z of the best bump of each pair of samples; NaN where a fit has no certificate.

    Args:
        binning: Of n bins.
        counts: Shape (H, n).
        partner: Shape (H, n).
        ratio: Shape (n,).
    """
    fits = fit_pairs(counts[:, None], partner[:, None], ratio, binning.templates)
    return np.asarray(fits.z.max(axis=1))


def hunt_pair(binning: Binning, counts: Array, partner: Array, ratio: Array) -> Hunt:
    """Hunt for bumps in one spectrum over its partner sample.

    Args:
        binning: Of n bins.
        counts: Shape (n,).
        partner: Shape (n,).
        ratio: Of the efficiencies, shape (n,).
    """
    fits = fit_pairs(counts, partner, ratio, binning.templates)
    searched: Mask = np.isfinite(fits.z)
    best = int(np.argmax(np.where(searched, fits.z, -np.inf))) if searched.any() else None
    null = profile_background(counts, partner, ratio, np.zeros(len(counts)))
    b, signal, events = null, np.zeros(len(counts)), (0.0, float(np.nan))
    if best is not None:
        with np.errstate(divide="ignore"):
            events = (float(fits.mu[best]), float(1 / np.sqrt(fits.information[best])))
        signal = fits.mu[best] * binning.templates[best]
        b = profile_background(counts, partner, ratio, signal)
    held = np.maximum(ratio * b, LEAST)
    full = np.maximum(np.concatenate([ratio * b + signal, b]), 1e-9)
    seen = np.concatenate([counts, partner])
    used = seen + full > 1e-6  # bins that are empty in both samples tell nothing
    known = (binning.templates**2 / np.maximum(ratio * null, LEAST)).sum(axis=1)
    left = (binning.templates**2 / np.maximum(ratio * (1 + ratio) * null, LEAST)).sum(axis=1)
    return Hunt(
        z_profiled=fits.z,
        z_known=fit_signal(counts, held, binning.templates).z,
        rho=np.sqrt(np.minimum(left / known, 1.0)),
        searched=searched,
        best=best,
        events=events,
        background=ratio * b,
        null=ratio * null,
        deviance=deviance_p(seen[used], full[used], used.sum() / 2 + 1.0),
        coordinate="",
        link="",
        freedom=float(len(counts)),
        strength=0.0,
        edm=float(np.max(fits.edm[searched], initial=0.0)),
        failed=int((~searched).sum()),
        failed_candidates=0,
    )
