"""How well the restored pair agrees: N_sigma, and the closure test on a symmetric sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Array

__all__ = ["ClosureResult", "close_pair", "n_sigma", "n_sigma_plug_in", "null_background", "pulls"]


def null_background(
    tested: Array, partner: Array, ratio: Array, fakes_tested: Array, fakes_partner: Array
) -> Array:
    """Return b that maximises Poisson(B | r b + f_B) Poisson(A | b + f_A) per bin.

    The larger root of (1+r) r b^2 + [(1+r)(f_B + r f_A) - r(A+B)] b + (1+r) f_A f_B - A f_B
    - r B f_A = 0, and b >= 0 (derived).
    """
    a2 = (1 + ratio) * ratio
    a1 = (1 + ratio) * (fakes_tested + ratio * fakes_partner) - ratio * (partner + tested)
    a0 = (1 + ratio) * fakes_partner * fakes_tested
    a0 = a0 - partner * fakes_tested - ratio * tested * fakes_partner
    root = np.sqrt(np.maximum(a1**2 - 4 * a2 * a0, 0.0))
    # Of the two forms of the larger root, the one that does not subtract equal numbers.
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(a1 <= 0, (root - a1) / (2 * a2), -2 * a0 / (root + a1))
    return np.asarray(np.maximum(np.nan_to_num(b), 0.0))


def _broadcast(tested: Any, *others: Any) -> list[Array]:
    first = np.asarray(tested, dtype=float).ravel()
    out = [first]
    for values in others:
        array = np.asarray(values, dtype=float).ravel()
        if array.size not in (1, first.size):
            raise InputError(f"N_sigma: {array.size} numbers for {first.size} bins")
        out.append(np.broadcast_to(array, first.shape))
    return out


def pulls(
    tested: Any, partner: Any, ratio: Any = 1.0, fakes_tested: Any = 0.0, fakes_partner: Any = 0.0
) -> Array:
    """Return (B - f_B - r (A - f_A)) / sqrt(v) per bin, v the variance under the null.

    v = (r b0 + f_B) + r^2 (b0 + f_A) with b0 of :func:`null_background` (derived); 0 where v = 0.
    """
    b, a, r, fb, fa = _broadcast(tested, partner, ratio, fakes_tested, fakes_partner)
    b0 = null_background(b, a, r, fb, fa)
    variance = (r * b0 + fb) + r**2 * (b0 + fa)
    difference = (b - fb) - r * (a - fa)
    return np.where(variance > 0, difference / np.sqrt(np.where(variance > 0, variance, 1)), 0.0)


def n_sigma(
    tested: Any, partner: Any, ratio: Any = 1.0, fakes_tested: Any = 0.0, fakes_partner: Any = 0.0
) -> float:
    """Return N_sigma = sum of pulls / sqrt(bins), with the variance under the null.

    Birman et al., Eur. Phys. J. C 82 (2022) 508, Eq. 1-2, for r = 1 without fakes; mean 0 and
    variance 1 there and with any known r.

    Example:
        >>> round(n_sigma([110, 90], [90, 90]), 6)
        1.0
    """
    values = pulls(tested, partner, ratio, fakes_tested, fakes_partner)
    return float(values.sum() / np.sqrt(values.size))


def n_sigma_plug_in(tested: Any, partner: Any, ratio: Any = 1.0) -> float:
    """Return N_sigma with the plug-in variance B + r^2 A: biased where r is not 1.

    Over 784 bins of 25 events the bias is -.216 for r = .9; kept for comparison with [B].
    """
    b, a, r = _broadcast(tested, partner, ratio)
    variance = b + r**2 * a
    good = variance > 0
    terms = np.where(good, (b - r * a) / np.sqrt(np.where(good, variance, 1.0)), 0.0)
    return float(terms.sum() / np.sqrt(terms.size))


@dataclass(frozen=True)
class ClosureResult:
    """Agreement of a pair that holds no signal.

    Attributes:
        before: N_sigma of the raw counts.
        fakes_subtracted: N_sigma with the fakes subtracted and r = 1.
        ratio_applied: N_sigma with r applied and the fakes left in.
        after: N_sigma with both.
        pulls: Per bin, with both, shape (M,).
        chi2: Sum of the squared pulls.
        p_value: Of ``chi2`` with one degree of freedom per bin.
    """

    before: float
    fakes_subtracted: float
    ratio_applied: float
    after: float
    pulls: Array
    chi2: float
    p_value: float


def close_pair(
    tested: Any, partner: Any, ratio: Any, fakes_tested: Any = 0.0, fakes_partner: Any = 0.0
) -> ClosureResult:
    """Compare a pair before and after the restoration.

    Exchanging the labels (``tested`` with ``partner``, ``ratio`` with its inverse) changes the
    sign of every pull and nothing else: (A - f_A) - (B - f_B) / r has r^-2 times the variance.

    Args:
        tested: Counts B, shape (M,).
        partner: Counts A.
        ratio: r.
        fakes_tested: f_B.
        fakes_partner: f_A.

    Example:
        >>> close_pair([85.0, 42.0], [100.0, 50.0], [0.85, 0.84]).after
        0.0
    """
    values = pulls(tested, partner, ratio, fakes_tested, fakes_partner)
    total = float(np.sum(values**2))
    return ClosureResult(
        before=n_sigma(tested, partner),
        fakes_subtracted=n_sigma(tested, partner, 1.0, fakes_tested, fakes_partner),
        ratio_applied=n_sigma(tested, partner, ratio),
        after=float(values.sum() / np.sqrt(values.size)),
        pulls=values,
        chi2=total,
        p_value=float(chi2.sf(total, values.size)),
    )
