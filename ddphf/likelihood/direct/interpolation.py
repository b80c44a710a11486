"""pyhf's interpolations with their first and second derivatives.

The functions themselves are those of :mod:`ddphf.likelihood.interpolation`, which JAX
differentiates.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from ddphf.arrays import Array, Float

__all__ = ["NormsysFactors", "histosys_weights"]


def histosys_weights(
    alpha: Float[Array, "*points variations"], code: str
) -> tuple[Array, Array, Array]:
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


class NormsysFactors:
    """The factors of all normsys entries, of which many share a parameter.

    Args:
        parameter: The parameter of each entry, shape (entries,).
        coefficients: Shape (entries, 8), see ``normsys_coefficients`` of
            :mod:`ddphf.likelihood.general.layout`.
        code: ``"code1"`` or ``"code4"``.

    Example:
        >>> from ddphf.likelihood.general.layout import normsys_coefficients
        >>> table = normsys_coefficients([0.9], [1.2], "code1")
        >>> factors = NormsysFactors(np.array([0]), table, "code1")
        >>> [round(float(x[0, 0]), 6) for x in factors(np.array([[1.0]]))]
        [1.2, 0.218786, 0.039889]
    """

    def __init__(self, parameter: Array, coefficients: Array, code: str) -> None:
        self._distinct, self._place = np.unique(parameter, return_inverse=True)
        self._logs, self._code = coefficients[:, :2] * [-1.0, 1.0], code
        # Inside, all is a polynomial: a matrix times the powers of the parameters.
        n, each = len(self._distinct), np.arange(len(parameter))
        shape = (3 * len(parameter), 7 * n)
        triples = [
            (coefficients[:, j + 1] * factor, row * len(parameter) + each, power * n + self._place)
            for j in range(1, 7)
            for row, (factor, power) in enumerate(((1, j), (j, j - 1), (j * (j - 1), j - 2)))
            if power >= 0
        ]
        value, row, column = (np.concatenate(x) for x in zip(*triples, strict=True))
        self._polynomials = csr_matrix((value, (row, column)), shape)

    def __call__(self, points: Array) -> tuple[Array, Array, Array]:
        """Return the factors with their first and second derivatives, shape (m, entries) each.

        Args:
            points: Shape (m, n).
        """
        alpha = np.ascontiguousarray(points[:, self._distinct].T)
        inside = np.abs(alpha) < 1 if self._code == "code4" else np.zeros(alpha.shape, dtype=bool)
        powers = np.ones((7, *alpha.shape))
        powers[1:] = np.where(inside, alpha, 0.0)
        np.multiply.accumulate(powers, axis=0, out=powers)
        found = self._polynomials @ powers.reshape(-1, len(points))
        value, first, second = found.reshape(3, len(self._place), len(points))
        value += 1.0
        if not inside.all():
            entry, point = np.nonzero(~inside[self._place])
            x = alpha[self._place[entry], point]
            rate = np.where(x >= 0, self._logs[entry, 1], self._logs[entry, 0])
            with np.errstate(over="ignore"):  # far outside, where no step is accepted
                outside = np.exp(x * rate)
            value[entry, point] = outside
            first[entry, point] = outside * rate
            second[entry, point] = outside * rate * rate
        return value.T, first.T, second.T
