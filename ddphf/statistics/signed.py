"""The signed discovery statistic, from differences of 2NLL."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array

__all__ = ["BELOW_FREE", "Signed", "sign_difference", "signed_statement", "signed_z"]

BELOW_FREE = 1e-6
"""A held fit below the free one by more than this in 2NLL is a failed fit, never a q0 of 0."""


class Signed(NamedTuple):
    """One discovery statement.

    Attributes:
        q0: Signed; the raw difference, so that one below 0 by rounding shows as such.
        z0: sgn(mu_hat) sqrt|q0|.
        p0: One-sided, 1 - Phi(z0).
        q0_capped: 0 for a deficit.
    """

    q0: float
    z0: float
    p0: float
    q0_capped: float


def sign_difference(difference: Any, mu_hat: Any) -> Array:
    """Return signed q0: -2 ln lambda_0 for mu_hat > 0, +2 ln lambda_0 for mu_hat < 0, 0 at 0.

    Birman et al., Eur. Phys. J. C 82 (2022) 508, Eq. 5-8.

    Args:
        difference: 2NLL at mu = 0 minus 2NLL at mu_hat, shape (n,) or a number.
        mu_hat: The same shape.

    Example:
        >>> sign_difference([4.0, 4.0, 0.0], [1.0, -1.0, 0.0])
        array([ 4., -4.,  0.])
    """
    mu = np.asarray(mu_hat, dtype=float)
    return np.asarray(np.where(mu == 0, 0.0, np.sign(mu) * np.asarray(difference, dtype=float)))


def signed_z(q0: Any) -> Array:
    """Return sgn(q0) sqrt|q0|, shape of q0.

    Example:
        >>> signed_z([9.0, -4.0])
        array([ 3., -2.])
    """
    q = np.asarray(q0, dtype=float)
    return np.asarray(np.sign(q) * np.sqrt(np.abs(q)))


def signed_statement(difference: float, mu_hat: float) -> Signed:
    """Return the discovery statement of one data set.

    Args:
        difference: 2NLL at mu = 0 minus 2NLL at mu_hat.
        mu_hat: Best fit.

    Example:
        >>> signed_statement(12.25, 1.0).z0
        3.5
    """
    q0 = float(sign_difference(difference, mu_hat))
    z0 = float(np.sign(mu_hat) * np.sqrt(abs(q0)))
    return Signed(q0, z0, float(norm.sf(z0)), max(q0, 0.0))
