"""The background of a pair in closed form: what both wings need of the mathematics."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array

__all__ = ["profile_background"]


def profile_background(
    tested: Array, partner: Array, ratio: Array, c_tested: Array, c_partner: Array
) -> Array:
    """Return the background that maximises the likelihood of each bin for known other rates.

    The larger root of
    (1+r) r b^2 + [(1+r)(c_t + r c_p) - r(n_p + n_t)] b + (1+r) c_p c_t - n_p c_t - r n_t c_p = 0,
    not below 0 nor below the point where a rate would turn negative.

    Args:
        tested: Counts of the tested channel, shape (M,).
        partner: Counts of the partner channel, shape (M,).
        ratio: Efficiency ratio r of tested to partner, shape (M,), > 0.
        c_tested: Other rate of the tested channel, shape (M,); may be negative.
        c_partner: Other rate of the partner channel, shape (M,); may be negative.

    Returns:
        b, shape (M,).

    Example:
        >>> b = profile_background(*(np.array([x]) for x in (130.0, 100.0, 0.9, 22.0, 5.0)))
        >>> round(float(b[0]), 6)
        105.841147
    """
    quadratic = (1 + ratio) * ratio
    linear = (1 + ratio) * (c_tested + ratio * c_partner) - ratio * (partner + tested)
    constant = (1 + ratio) * c_partner * c_tested - partner * c_tested - ratio * tested * c_partner
    # Larger root without cancellation: with linear > 0 the textbook form subtracts equal numbers.
    # The discriminant is a sum of squares up to rounding, hence the clip.
    root = np.sqrt(np.maximum(linear**2 - 4 * quadratic * constant, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(linear > 0, -2 * constant / (linear + root), (root - linear) / (2 * quadratic))
    floor = np.maximum(0.0, np.maximum(-c_partner, -c_tested / ratio))
    # An empty bin can only be at the edge or at its root; a bin with events never needs the clip
    # except for rounding.
    return np.asarray(np.maximum(b, floor) + 0.0)  # no -0.0
