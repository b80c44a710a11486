"""pyhf's interpolations with their first and second derivatives.

The functions themselves are those of :mod:`ddphf.likelihood.interpolation`, which JAX
differentiates.
"""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array

__all__ = ["histosys_weights", "normsys_factors"]


def histosys_weights(alpha: Array, code: str) -> tuple[Array, Array, Array]:
    """Return the weights of the up and the down shifts and their derivatives.

    Args:
        alpha: Shape (..., variations).
        code: ``"code0"`` or ``"code4p"``.

    Returns:
        Value, first and second derivative, each of shape (2, ..., variations): up, down.

    Example:
        >>> value, first, second = histosys_weights(np.array([0.5, 2.0]), "code4p")
        >>> np.round(value, 6).tolist(), np.round(first[0], 6).tolist()
        ([[0.448242, 2.0], [0.051758, 0.0]], [1.160156, 1.0])
    """
    high, low = alpha > 1, alpha < -1
    if code == "code0":
        high, low = alpha > 0, alpha <= 0
    inside = ~(high | low)
    square = alpha * alpha
    even = square * (square * (square * 3.0 - 10.0) + 15.0) / 16.0
    slope = alpha * (square * (square * 9.0 - 20.0) + 15.0) / 8.0
    curvature = np.where(inside, (square * (square * 45.0 - 60.0) + 15.0) / 8.0, 0.0)
    up = np.where(inside, 0.5 * alpha + even, np.where(high, alpha, 0.0))
    down = np.where(inside, 0.5 * alpha - even, np.where(high, 0.0, alpha))
    d_up = np.where(inside, 0.5 + slope, high)
    d_down = np.where(inside, 0.5 - slope, low)
    return np.stack([up, down]), np.stack([d_up, d_down]), np.stack([curvature, -curvature])


def normsys_factors(alpha: Array, coefficients: Array, code: str) -> tuple[Array, Array, Array]:
    """Return the factors of all entries with their first and second derivatives.

    Args:
        alpha: Shape (..., entries).
        coefficients: Shape (entries, 8), see :func:`ddphf.likelihood.interpolation
            .normsys_coefficients`.
        code: ``"code1"`` or ``"code4"``.

    Example:
        >>> from ddphf.likelihood.interpolation import normsys_coefficients
        >>> table = normsys_coefficients([0.9], [1.2], "code1")
        >>> [round(float(x[0]), 6) for x in normsys_factors(np.array([1.0]), table, "code1")]
        [1.2, 0.218786, 0.039889]
    """
    rate = np.where(alpha >= 0, coefficients[:, 1], -coefficients[:, 0])
    with np.errstate(over="ignore"):  # far outside, where no step is accepted
        value = np.exp(alpha * rate)
    first, second = value * rate, value * rate * rate
    if code == "code1":
        return value, first, second
    inside = np.abs(alpha) < 1
    x = np.where(inside, alpha, 0.0)
    p, dp, ddp = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for power in range(7, 1, -1):  # Horner, for sum_i a_i x^i / x and its derivatives
        ddp = ddp * x + 2.0 * dp
        dp = dp * x + p
        p = p * x + coefficients[:, power]
    return (
        np.where(inside, 1.0 + x * p, value),
        np.where(inside, p + x * dp, first),
        np.where(inside, 2.0 * dp + x * ddp, second),
    )
