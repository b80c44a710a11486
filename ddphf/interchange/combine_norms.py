"""Normalisation nuisances in Combine and in pyhf: the same at whole sigmas, not between them."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array
from ddphf.likelihood.general.layout import normsys_coefficients

__all__ = ["code4_formula", "largest_difference", "lognormal"]


def code4_formula(high: float, low: float) -> str:
    """Return pyhf's factor as an expression of ``@0`` for RooFit, without blanks.

    Example:
        >>> code4_formula(1.0, 1.0)[:30]
        '(@0>=1)*pow(1.0,@0)+(@0<=-1)*p'
    """
    inner = "0.0"
    for coefficient in _polynomial(high, low)[::-1]:
        inner = f"@0*({float(coefficient)!r}+{inner})"
    return f"(@0>=1)*pow({high!r},@0)+(@0<=-1)*pow({low!r},-@0)+(abs(@0)<1)*(1.0+{inner})"


def largest_difference(high: float, low: float) -> float:
    """Return by how much Combine's log-normal factor differs from pyhf's at most.

    Combine has exp(alpha ln kappa), kappa from one end to the other between -.5 and .5; pyhf a
    polynomial between -1 and 1. Beyond, both are high^alpha or low^-alpha.

    Example:
        >>> round(largest_difference(1.1, 0.9), 6), largest_difference(1.0, 1.0)
        (0.000642, 0.0)
    """
    alpha = np.linspace(-1, 1, 201)
    powers = alpha[:, None] ** np.arange(1, 7)
    ours = 1 + powers @ _polynomial(high, low)
    return float(np.abs(lognormal(alpha, high, low) - ours).max())


def lognormal(alpha: Array, high: float, low: float) -> Array:
    """Return Combine's factor of an ``lnN`` low/high.

    Source: Combine's documentation, "what Combine does", and ``logKappaForX`` of its sources.
    """
    up, down = np.log(high), -np.log(low)
    twice = 2 * alpha
    step = np.where(
        np.abs(alpha) >= 0.5,
        np.sign(alpha),
        0.125 * twice * (twice**2 * (3 * twice**2 - 10) + 15),
    )
    return np.asarray(np.exp(alpha * (0.5 * (up + down) + 0.5 * (up - down) * step)))


def _polynomial(high: float, low: float) -> Array:
    """Return a_1 to a_6 of pyhf's factor inside of one sigma."""
    return normsys_coefficients(np.array([low]), np.array([high]), "code4")[0, 2:]
