"""The look-elsewhere effect from upcrossings of a low level."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array

__all__ = ["count_upcrossings", "gross_vitells"]


def count_upcrossings(q: Array, level: float) -> int:
    """Return how often a statistic along a scan passes a level upwards.

    Args:
        q: In the order of the scan, shape (n,); NaN where unknown, which is passed over.
        level: The level.

    Example:
        >>> count_upcrossings(np.array([0.0, 1.0, 0.2, np.nan, 2.0]), 0.5)
        2
    """
    above = q[np.isfinite(q)] > level
    return int(np.sum(above[1:] & ~above[:-1]))


def gross_vitells(z: float, level: float, crossings: float) -> float:
    """Return the global p-value of the largest z of a scan, at most expected crossings.

    p <= P(q > z^2) + <N(u0)> exp(-(z^2 - u0) / 2) for a statistic of one degree of freedom (Gross
    and Vitells, Eur. Phys. J. C 70 (2010) 525, Eq. 3). It is an expected number of places: above 1
    where it says nothing.

    Args:
        z: Largest local significance, above 0.
        level: u0, in units of q0.
        crossings: Mean number of upcrossings of u0 without a signal.

    Example:
        >>> round(gross_vitells(3.0, 0.5, 35.9), 3)
        0.513
    """
    return float(norm.sf(z) + crossings * np.exp(-0.5 * (z * z - level)))
