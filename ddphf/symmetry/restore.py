"""The restored symmetry: what the partner says the tested sample should hold, and how well.

N_B = (N_A - f_A) R + f_B (DDP slides on the e-mu symmetry), with its full variance (derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError

__all__ = ["Restored", "restore_expectation"]

Estimate = tuple[Any, Any]
"""Expected events and their error, numbers or shape (M,)."""

NONE: Estimate = (0.0, 0.0)


@dataclass(frozen=True)
class Restored:
    """The restored expectation.

    Attributes:
        expected: N_B, shape (M,).
        independent: Variance that bins do not share: R^2 (N_A + s_fA^2) + s_fB^2, shape (M,).
        correlated: Factor F of what they share, shape (M, n): the rest of the covariance is F F^T.
    """

    expected: Array
    independent: Array
    correlated: Array

    @property
    def variance(self) -> Array:
        """Variance per bin, shape (M,)."""
        return np.asarray(self.independent + np.sum(self.correlated**2, axis=1))

    def covariance(self) -> Array:
        """Return the covariance of all bins, shape (M, M)."""
        return np.asarray(np.diag(self.independent) + self.correlated @ self.correlated.T)

    def total(self) -> tuple[float, float]:
        """Return the sum over all bins and its standard error, correlations included."""
        shared = np.sum(self.correlated.sum(axis=0) ** 2)
        return float(self.expected.sum()), float(np.sqrt(self.independent.sum() + shared))


def restore_expectation(
    partner: Any,
    ratio: Any,
    *,
    fakes_partner: Estimate = NONE,
    fakes_tested: Estimate = NONE,
    ratio_error: Any = 0.0,
    ratio_factor: Any = None,
) -> Restored:
    """Return N_B = (N_A - f_A) R + f_B with its variance.

    var = R^2 (N_A + s_fA^2) + s_fB^2 + ((N_A - f_A) s_R)^2, the last term correlated between bins.

    Args:
        partner: N_A, raw counts, shape (M,).
        ratio: R, shape (M,) or a number.
        fakes_partner: f_A and its error s_fA, uncorrelated.
        fakes_tested: f_B and s_fB.
        ratio_error: s_R, taken as fully correlated between the bins.
        ratio_factor: Instead of ``ratio_error``, shape (M, n): column j is the change of R by its
            j-th independent source, such as R (G_B - G_A) of the eigen-variations.

    Raises:
        InputError: A negative count, a ratio that is not a number > 0, or shapes that do not fit.

    Example:
        >>> restored = restore_expectation(
        ...     [10000], 0.85, fakes_partner=(200, 20), fakes_tested=(350, 35), ratio_error=0.01)
        >>> float(restored.expected[0]), round(float(restored.variance[0] ** 0.5), 6)
        (8680.0, 135.436332)
    """
    counts = np.atleast_1d(np.asarray(partner, dtype=float)).ravel()
    terms = {
        "ratio": ratio,
        "fakes_partner": fakes_partner[0],
        "fakes_tested": fakes_tested[0],
        "fakes_partner_error": fakes_partner[1],
        "fakes_tested_error": fakes_tested[1],
        "ratio_error": ratio_error,
    }
    flat: dict[str, Array] = {}
    for name, values in terms.items():
        array = np.asarray(values, dtype=float).ravel()
        if array.size not in (1, counts.size):
            raise InputError(f"{name}: {array.size} numbers for {counts.size} bins")
        flat[name] = np.broadcast_to(array, counts.shape)
    for name, values in (("partner", counts), *flat.items()):
        bad = np.flatnonzero(~np.isfinite(values) | (values < 0))
        if name == "ratio":
            bad = np.flatnonzero(~np.isfinite(values) | (values <= 0))
        if bad.size:
            raise InputError(
                f"{name}, bin {bad[0]}: got {values[bad[0]]:g}, expected a finite number "
                f"{'> 0' if name == 'ratio' else '>= 0'}"
            )
    clean = counts - flat["fakes_partner"]
    factor = flat["ratio_error"][:, None] if ratio_factor is None else np.asarray(ratio_factor)
    if factor.ndim != 2 or len(factor) != counts.size:
        raise InputError(
            f"ratio_factor: shape {factor.shape}, expected ({counts.size}, number of sources)"
        )
    r = flat["ratio"]
    return Restored(
        expected=clean * r + flat["fakes_tested"],
        independent=r**2 * (counts + flat["fakes_partner_error"] ** 2)
        + flat["fakes_tested_error"] ** 2,
        correlated=clean[:, None] * factor,
    )
