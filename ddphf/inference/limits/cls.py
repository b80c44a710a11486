"""CLs upper limits by asymptotic formulas, with the bands expected without a signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.inference.limits.profile import ProfileScan, find_crossing
from ddphf.inference.statements import N_SIGMA

__all__ = ["AsymptoticLimit", "asimov_unit", "cls_asymptotic", "cls_expected", "limit_asymptotic"]


SCAN_POINTS = 31


@dataclass(frozen=True)
class AsymptoticLimit:
    """Upper limits at one confidence level.

    Attributes:
        observed: None where CLs does not fall below 1 - level inside the POI's bounds.
        expected: At -2, -1, 0, 1, 2 sigma of the background alone; None as above.
        mu: Points of the scan, shape (n,).
        scan_observed: CLs there.
        scan_expected: Expected CLs, shape (5, n).
    """

    observed: float | None
    expected: tuple[float | None, ...]
    mu: Array
    scan_observed: Array
    scan_expected: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "observed": self.observed,
            "expected": list(self.expected),
            "scan": {
                "mu": self.mu.tolist(),
                "observed": self.scan_observed.tolist(),
                "expected": self.scan_expected.tolist(),
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AsymptoticLimit:
        """Read what :meth:`to_dict` wrote."""
        scan = {key: np.array(values, dtype=float) for key, values in data["scan"].items()}
        return cls(
            data["observed"], tuple(data["expected"]), scan["mu"], scan["observed"],
            scan["expected"],
        )  # fmt: skip


def cls_asymptotic(q: float, q_asimov: float) -> float:
    """Return CLs of an observed q~ (Cowan et al., arXiv:1007.1727, Eq. 65-66).

    Args:
        q: q~ of the data.
        q_asimov: q~ of the Asimov data without signal.

    Example:
        >>> round(cls_asymptotic(0.0, 4.0), 4), round(cls_asymptotic(4.0, 4.0), 4)
        (0.5116, 0.0455)
    """
    root = np.sqrt(q_asimov)
    if root == 0:
        return 1.0
    # At q~ = 0 the formula gives about 1/2 and not P(q~ >= 0) = 1; pyhf does the same.
    shifted = np.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root)
    return float(np.exp(norm.logsf(shifted + root) - norm.logsf(shifted)))


def cls_expected(q_asimov: float, n_sigma: float) -> float:
    """Return CLs for background n_sigma above its expectation.

    Args:
        q_asimov: q~ of the Asimov data without signal.
        n_sigma: Positive for an upward fluctuation, which gives a larger CLs.

    Example:
        >>> round(cls_expected(4.0, 0), 4)
        0.0455
    """
    root = np.sqrt(q_asimov)
    return float(np.exp(norm.logsf(root - n_sigma) - norm.logsf(-n_sigma)))


def limit_asymptotic(observed: ProfileScan, asimov: ProfileScan, level: float) -> AsymptoticLimit:
    """Return the CLs upper limits of one data set.

    The expected limit at n sigma solves sqrt(q~_A(mu)) = n - Phi^-1((1 - level) Phi(n)).

    Args:
        observed: The data.
        asimov: Asimov data without signal, other parameters conditional on the data.
        level: Confidence level.

    Raises:
        FitError: A fit has no certificate.
    """
    alpha = 1.0 - level
    step = asimov_unit(asimov)
    targets = [float(norm.isf(alpha * norm.cdf(n)) + n) for n in N_SIGMA]
    expected = [
        find_crossing(
            lambda mu, target=target: target - np.sqrt(asimov.q_tilde(mu)),  # type: ignore[misc]
            inner=0.0,
            step=step * target,
            bound=asimov.upper,
        )
        for target in targets
    ]

    def excess(mu: float) -> float:
        value = cls_asymptotic(observed.q_tilde(mu), asimov.q_tilde(mu))
        return float(np.log(max(value, 1e-300)) - np.log(alpha))

    inner = max(observed.mu_hat, 0.0)
    limit = find_crossing(excess, inner=inner, step=step * targets[2], bound=observed.upper)
    ends = [x for x in (*expected, limit) if x is not None]
    top = min(1.4 * max(ends, default=observed.upper), observed.upper)
    mu = np.linspace(0.0, top, SCAN_POINTS)[1:]
    q_asimov = [asimov.q_tilde(float(x)) for x in mu]
    return AsymptoticLimit(
        observed=limit,
        expected=tuple(expected),
        mu=mu,
        scan_observed=np.array(
            [
                cls_asymptotic(observed.q_tilde(float(x)), q)
                for x, q in zip(mu, q_asimov, strict=True)
            ]
        ),
        scan_expected=np.array([[cls_expected(q, n) for q in q_asimov] for n in N_SIGMA]),
    )


def asimov_unit(asimov: ProfileScan) -> float:
    """Return about the error of mu: where sqrt(q~) of the Asimov data is 1."""
    mu = min(1.0, asimov.upper)
    for _ in range(60):
        root = float(np.sqrt(asimov.q_tilde(mu)))
        if 0.3 < root < 3 or (root <= 0.3 and mu >= asimov.upper):
            break
        factor = 10.0 if root < 0.1 else 1 / root
        mu = min(mu * factor, asimov.upper)
    return mu / max(root, 0.1)
