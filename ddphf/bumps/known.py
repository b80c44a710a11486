"""The significance of a bump over a background that is taken as known, in every bin at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.bumps.templates import density_templates
from ddphf.exceptions import FitError, InputError

__all__ = ["KnownFits", "bump_z", "fit_signal", "strength_of"]

STEPS = 200
"""Of Newton's method between bounds; five are usual."""

ENOUGH, CERTIFIED = 1e-20, 1e-8
"""Estimated distance from the minimum in 2NLL where it ends, and below which it is one."""


class KnownFits(NamedTuple):
    """One signal fit per histogram and place.

    Attributes:
        z: sgn(mu) sqrt(q0).
        mu: Signal events; at least such that no bin expects less than nothing.
    """

    z: Array
    mu: Array


def fit_signal(observed: Array, background: Array, templates: Array) -> KnownFits:
    """Fit the events of a signal at each place.

    Args:
        observed: Counts, shape (..., n).
        background: Expected, above 0, shape (..., n).
        templates: Part of a signal in each bin, shape (..., n); all three broadcast.

    Returns:
        Of the common shape without its last axis.

    Raises:
        FitError: A fit has no minimum.

    Example:
        >>> found = fit_signal(np.array([110.0]), np.array([100.0]), np.array([[1.0]]))
        >>> found.mu.round(9).tolist(), found.z.round(4).tolist()
        ([10.0], [0.984])
    """
    part = np.asarray(templates / background)
    n = np.broadcast_to(observed, np.broadcast_shapes(np.shape(observed), part.shape))
    part = np.broadcast_to(part, n.shape)
    total = np.broadcast_to(np.sum(templates, axis=-1), n.shape[:-1])
    lowest = -1 / np.max(part, axis=-1)
    bound = _ends_at_bound(n, np.broadcast_to(templates, n.shape), part, lowest)
    low, high = lowest.copy(), np.full(lowest.shape, np.inf)
    mu, edm = np.where(bound, lowest, 0.0), np.full(lowest.shape, np.inf)
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            weight = mu[..., None] * part
            weight += 1
            np.divide(part, weight, out=weight)  # template over expected counts
            seen = weight * n
            g = total - seen.sum(axis=-1)
            h = np.einsum("...n,...n->...", seen, weight)
            edm = np.where(bound, 0.0, g * g / h)
            if np.all(edm < ENOUGH):
                break
            low, high = np.where(g < 0, mu, low), np.where(g > 0, mu, high)
            new = mu - g / h
            beyond = ~np.isfinite(new) | (new <= low) | (new >= high)
            middle = np.where(np.isfinite(high), (low + high) / 2, 2 * np.abs(mu) + 1.0)
            mu = np.where(bound | (edm < ENOUGH), mu, np.where(beyond, middle, new))
        if not np.all(edm < CERTIFIED):
            raise FitError("a signal over a known background has no certified minimum")
        logs = np.log1p(mu[..., None] * part)
        if bound.any():  # nothing is observed where nothing is expected
            logs = np.where(n > 0, logs, 0.0)
        gain = 2 * (np.einsum("...n,...n->...", n, logs) - mu * total)
    return KnownFits(np.sign(mu) * np.sqrt(np.maximum(gain, 0.0)), np.asarray(mu))


def _ends_at_bound(n: Array, t: Array, part: Array, lowest: Array) -> Mask:
    """Return which deficits are complete: nothing is observed in the bin that limits them."""
    if np.all(n > 0):
        return np.zeros(lowest.shape, dtype=bool)
    left = 1 + lowest[..., None] * part
    empty = left <= 1e-12
    with np.errstate(all="ignore"):
        ratio = np.where(empty, np.where(n > 0, np.inf, 0.0), n * part / (t * left))
        slope = np.sum(np.where(t > 0, t * (1 - ratio), 0.0), axis=-1)
    return np.asarray(slope >= 0)


def strength_of(z: Array, background: Array, template: Array) -> Array:
    """Return the events of a signal that is expected with a significance over a known background.

    Args:
        z: At least 0, shape (...).
        background: Shape (..., n).
        template: Shape (..., n).

    Example:
        >>> b, i = 1000 * np.exp(-np.arange(50) / 15) + 10, np.arange(51) - 0.5
        >>> t = density_templates(i, np.array([25.0]), np.array([1.5]))[0]
        >>> round(float(strength_of(np.array(5.0), b, t)), 6)
        167.149098
    """
    wanted = np.asarray(z, dtype=float) ** 2
    mu = np.sqrt(wanted / np.sum(template**2 / background, axis=-1))
    for _ in range(60):
        s = mu[..., None] * template
        logs = np.log1p(s / background)
        q = 2 * np.sum((background + s) * logs - s, axis=-1)
        step = (wanted - q) / np.maximum(2 * np.sum(template * logs, axis=-1), 1e-300)
        mu = mu + step
        if np.all(np.abs(step) <= 1e-13 * mu):
            break
    return np.asarray(mu)


def bump_z(
    observed: Array, background: Array, width: float, *, edges: Array | None = None
) -> Array:
    """Return the significance of a bump in each bin over a known background.

    Gaussian in the middle of the bin, density times bin width, signed sqrt(q0): arXiv:2107.11573.

    Args:
        observed: Counts, or what is expected of them, shape (..., n).
        background: Expected counts, shape (n,) or as ``observed``.
        width: Standard deviation of the signal, in bins without ``edges``, else in their unit.
        edges: Of the bins, shape (n + 1,).

    Returns:
        Shape (..., n).

    Raises:
        InputError: A background that is not above 0, or another shape or width.

    Example:
        >>> b, i = 1000 * np.exp(-np.arange(50) / 15) + 10, np.arange(50)
        >>> t = np.exp(-0.5 * ((i - 25) / 1.5) ** 2) / (1.5 * np.sqrt(2 * np.pi))
        >>> bump_z(b + strength_of(np.array(5.0), b, t) * t, b, 1.5)[[23, 25, 27]].round(6)
        array([3.261686, 5.      , 3.263753])
    """
    n, b = np.asarray(observed, dtype=float), np.asarray(background, dtype=float)
    size = n.shape[-1]
    ends = np.arange(size + 1.0) if edges is None else np.asarray(edges, dtype=float)
    if b.shape[-1:] != (size,) or ends.shape != (size + 1,) or not np.all(np.diff(ends) > 0):
        raise InputError(
            f"bump: {size} counts, background of shape {b.shape}, {ends.size} edges; expected as "
            "many bins of each and increasing edges"
        )
    if not (np.all(np.isfinite(b)) and np.all(b > 0) and np.all(np.isfinite(n)) and np.all(n >= 0)):
        raise InputError("bump: expected counts of at least 0 and a background above 0")
    if not (np.isfinite(width) and width > 0):
        raise InputError(f"bump: width {width:g}: expected a number above 0")
    centres = (ends[1:] + ends[:-1]) / 2
    templates = density_templates(ends, centres, np.full(size, width))
    return fit_signal(n[..., None, :], b[..., None, :], templates).z
