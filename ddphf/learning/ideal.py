"""What the best test of a known signal would see: the limit beside every study of power.

With n_A, n_B the expected densities and n their sum, against the shares q of the whole samples,

    t_id = 2 int [n_A ln(n_A / (q_A n)) + n_B ln(n_B / (q_B n))]

A test with 12 degrees of freedom that finds all of it has a noncentral chi2_12; with the shape
known it is sqrt(t_id), the statistic L1 of Birman et al. With the background known too,
Z_id^2 = 2 int [(b + s) ln(1 + s/b) - s] (arXiv:2401.09530, Eq. 29).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import chi2, ncx2, norm

from ddphf.arrays import Array
from ddphf.learning.labels import saturated_t

__all__ = ["SIGNALS", "ideal_t", "ideal_z", "known_background_z", "toy_densities"]

SIGNALS = ("tail", "bulk", "non-local")
"""Of the toy model: Gauss(.8, .02), Gauss(.2, .02), 256 x^2 e^-8x, over 8 e^-8x (Eq. 25-28)."""


def toy_densities(signal: str, x: Array) -> tuple[Array, Array]:
    """Return the densities of background and signal of the toy model, per event.

    Example:
        >>> b, s = toy_densities("bulk", np.array([0.2]))
        >>> round(float(b[0]), 4), round(float(s[0]), 4)
        (1.6152, 19.9471)
    """
    background = 8 * np.exp(-8 * x)
    if signal == "non-local":
        return background, 256 * x**2 * np.exp(-8 * x)
    centre = {"tail": 0.8, "bulk": 0.2}[signal]
    return background, np.asarray(norm.pdf(x, centre, 0.02))


def ideal_t(tested: Any, partner: Any, ratio: Any = 1.0) -> float:
    """Return t_id of expected events in fine cells, the ratio of the sizes fitted.

    Example:
        >>> x = (np.arange(40_000) + 0.5) * 1e-4
        >>> b, s = toy_densities("tail", x)
        >>> round(ideal_t(2000e-4 * b, 1e-4 * (2000 * b + 10 * s)), 3)
        7.662
    """
    t_a, t_b, _ = saturated_t(tested, partner, ratio)
    return t_a + t_b


def ideal_z(t: float, dof: int = 12) -> float:
    """Return the median Z of a test whose statistic is a noncentral chi2 at t.

    Example:
        >>> round(ideal_z(7.6618), 2)
        1.32
    """
    if t <= 0:
        return 0.0
    return float(norm.isf(chi2.sf(ncx2.median(dof, t), dof)))


def known_background_z(background: Any, signal: Any) -> float:
    """Return Z_id of expected events in fine cells, with the background known.

    Example:
        >>> round(known_background_z([100.0], [30.0]), 4)
        2.8661
    """
    b, s = (np.asarray(v, dtype=float) for v in (background, signal))
    used = b > 0
    b, s = b[used], s[used]
    return float(np.sqrt(2 * np.sum((b + s) * np.log1p(s / b) - s)))
