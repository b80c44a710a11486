"""The law of a weighted sum of chi2 variables with one degree of freedom, by its saddle point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from ddphf.arrays import Array
from ddphf.exceptions import InputError

__all__ = ["WeightedChi2"]

NEAR_POLE = 0.1
"""In units of 1 / standard deviation: the contour keeps so far from the pole at 0."""

POINTS, LAST, BEND = 600, 18.0, 0.15
"""Of the contour: their number, how far they reach in widths of the bell, and its bend."""

NEGLIGIBLE = 1e-12
"""Of the largest weight: a smaller one changes nothing."""


@dataclass(frozen=True)
class WeightedChi2:
    """The law of sum_j w_j chi2_1.

    Attributes:
        weights: w_j > 0, shape (k,).

    Example:
        >>> law = WeightedChi2.make(np.ones(12))
        >>> law.mean, law.variance, round(law.p(21.02606981748307), 4)
        (12.0, 24.0, 0.05)
    """

    weights: Array

    @classmethod
    def make(cls, weights: Array) -> WeightedChi2:
        """Return the law, without the weights that change nothing.

        Args:
            weights: Shape (k,).

        Raises:
            InputError: One is negative or no number, or none is left.
        """
        w = np.asarray(weights, dtype=float)
        bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
        if bad.size:
            raise InputError(f"weights of a chi2: number {bad[0]} is {w[bad[0]]:g}, expected >= 0")
        kept = w[w > NEGLIGIBLE * w.max(initial=0.0)]
        if not kept.size:
            raise InputError("weights of a chi2: none is above 0; nothing varies")
        return cls(np.asarray(kept))

    @property
    def mean(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @property
    def variance(self) -> float:
        """Twice the sum of their squares."""
        return float(2 * np.sum(self.weights**2))

    def p(self, t: float) -> float:
        """Return P(sum >= t); 0 where it is below the smallest number.

        With K the cumulant generating function, P = 1/(2 pi i) int exp(K(z) - z t) / z dz from
        below to above the real axis, right of 0. The contour goes through the saddle point
        K'(s) = t, which leaves a smooth bell: within rounding of the exact tail.
        """
        return math.exp(min(self.log_p(t), 0.0))

    def log_p(self, t: float) -> float:
        """Return ln P(sum >= t)."""
        if not t > 0:
            return 0.0
        w, nearest = self.weights, NEAR_POLE / math.sqrt(self.variance)
        saddle = self._saddle(t)
        c = max(saddle, nearest) if saddle > -nearest else saddle
        scale = 1 / math.sqrt(2 * float(np.sum((w / (1 - 2 * w * c)) ** 2)))
        x = (np.arange(POINTS) + 0.5) * (LAST / POINTS)
        z = c + scale * (1j * x + BEND * x * x)  # bent away from the pole, around the cut
        change = scale * (1j + 2 * BEND * x)
        value = -0.5 * np.sum(np.log(1 - 2 * np.outer(w, z)), axis=0) - z * t
        top = -0.5 * float(np.sum(np.log1p(-2 * w * c))) - c * t
        bell = np.exp(value - top) / z * change
        part = float(np.sum(bell.imag)) * (LAST / POINTS) / math.pi
        if c < 0:  # left of the pole the integral is P - 1
            return math.log1p(max(math.exp(top) * part, -1 + 1e-16))
        return top + math.log(part)

    def _saddle(self, t: float) -> float:
        """Return s with K'(s) = t."""
        w = self.weights

        def slope(s: float) -> float:
            return float(np.sum(w / (1 - 2 * w * s))) - t

        # The sum lies between its largest term and as many terms equal to it as there are.
        top = float(w.max())
        above = t > self.mean
        ends = (0.0, (1 - 0.999 * top / t) / (2 * top)) if above else (-len(w) / (1.999 * t), 0.0)
        return float(brentq(slope, *ends, xtol=1e-300, rtol=1e-12))
