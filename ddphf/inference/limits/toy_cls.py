"""CLs upper limits by toys: no asymptotic formula, errors from the number of toys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.statements import N_SIGMA
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import ToyStatistics, toy_statistics
from ddphf.inference.toys.store import TIE

__all__ = ["ToyLimit", "cross_level", "limit_by_toys"]

Array = np.ndarray[Any, np.dtype[np.float64]]

WINDOW = 8.0
"""CLs within this factor of 1 - level count for the crossing."""

FIRST_TOY = 1 << 44


@dataclass(frozen=True)
class ToyLimit:
    """Upper limits by toys at one confidence level.

    Attributes:
        observed: None where the scan does not cross 1 - level.
        observed_error: From the number of toys.
        expected: At -2, -1, 0, 1, 2 sigma of the background alone; None as above.
        expected_error: From the number of toys.
        n: Toys per ensemble; there is one per mu and one without signal.
        n_failed: Toys without a certificate, in all ensembles.
        seed: Their seed.
        mu: Points of the scan, shape (k,).
        scan_observed: CLs there.
        scan_error: Their errors.
        scan_expected: Expected CLs, shape (5, k).
    """

    observed: float | None
    observed_error: float | None
    expected: tuple[float | None, ...]
    expected_error: tuple[float | None, ...]
    n: int
    n_failed: int
    seed: int
    mu: Array
    scan_observed: Array
    scan_error: Array
    scan_expected: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "observed": self.observed,
            "observed_error": self.observed_error,
            "expected": list(self.expected),
            "expected_error": list(self.expected_error),
            "n": self.n,
            "n_failed": self.n_failed,
            "seed": self.seed,
            "scan": {
                "mu": self.mu.tolist(),
                "observed": self.scan_observed.tolist(),
                "observed_error": self.scan_error.tolist(),
                "expected": self.scan_expected.tolist(),
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ToyLimit:
        """Read what :meth:`to_dict` wrote."""
        scan = {key: np.array(values, dtype=float) for key, values in data["scan"].items()}
        keys = ("observed", "observed_error", "n", "n_failed", "seed")
        return cls(
            **{key: data[key] for key in keys},
            expected=tuple(data["expected"]),
            expected_error=tuple(data["expected_error"]),
            mu=scan["mu"],
            scan_observed=scan["observed"],
            scan_error=scan["observed_error"],
            scan_expected=scan["expected"],
        )


def limit_by_toys(
    observed: ProfileScan,
    mu: Array,
    level: float,
    n: int,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> ToyLimit:
    """Return the CLs upper limits of one data set by toys.

    At every mu, CLs = P(q~ >= observed | mu) / P(q~ >= observed | 0). Toys are drawn with the other
    parameters conditional on the data (main and auxiliary data fluctuate).

    Args:
        observed: The data.
        mu: Points to scan, rising, > 0, around the limits.
        level: Confidence level.
        n: Toys of each ensemble.
        seed: Their seed.
        progress: Called with (done, total).

    Raises:
        FitError: A fit has no certificate, or too many toys failed.
    """
    tests = [float(x) for x in mu]
    total, done = n * (len(tests) + 1), 0

    def count(some: int) -> None:
        nonlocal done
        done += some
        if progress is not None:
            progress(done, total)

    def draw(poi: float, which: int, at: list[float]) -> ToyStatistics:
        source = ToySource.conditional(observed.model, poi)
        first = FIRST_TOY + (which << 32)
        return toy_statistics(source, at, n, seed=seed, first=first, progress=count)

    background = draw(0.0, 0, tests)
    failed = background.n_failed
    rows = []
    for j, test in enumerate(tests):
        signal = draw(test, j + 1, [test])
        failed += signal.n_failed
        q_signal, q_background = signal.q_tilde(0), background.q_tilde(j)
        # A background n sigma above its expectation has the (1 - Phi(n))-th quantile of q~.
        bands = np.quantile(q_background, norm.cdf([-x for x in N_SIGMA]))
        points = [observed.q_tilde(test), *bands]
        rows.append([_ratio(q_signal, q_background, float(q)) for q in points])
    table = np.array(rows)  # (k, 6, 2)
    crossings = [cross_level(mu, table[:, i, 0], table[:, i, 1], 1 - level) for i in range(6)]
    limits, errors = [c[0] for c in crossings], [c[1] for c in crossings]
    return ToyLimit(
        observed=limits[0],
        observed_error=errors[0],
        expected=tuple(limits[1:]),
        expected_error=tuple(errors[1:]),
        n=n,
        n_failed=failed,
        seed=seed,
        mu=mu,
        scan_observed=table[:, 0, 0],
        scan_error=table[:, 0, 1],
        scan_expected=table[:, 1:, 0].T,
    )


def _ratio(signal: Array, background: Array, q: float) -> tuple[float, float]:
    """Return CLs of an outcome and its error."""
    above = float(np.mean(signal >= q - TIE))
    below = float(np.mean(background >= q - TIE))
    if below == 0:  # no toy of either: the outcome is outside what the toys resolve
        return 0.0, 1.0 / len(background)
    cls = above / below
    # At least one toy's worth of error, so that a point without toys has no infinite weight.
    above, below = max(above, 1 / len(signal)), max(below, 1 / len(background))
    relative = (1 - above) / (above * len(signal)) + (1 - below) / (below * len(background))
    return cls, float(above / below * np.sqrt(relative))


def cross_level(
    mu: Array, cls: Array, error: Array, alpha: float
) -> tuple[float | None, float | None]:
    """Return where scanned CLs falls below alpha, and the error of that.

    A parabola through ln CLs, weighted by the errors, over the points within a factor of 8.

    Args:
        mu: Shape (k,), rising.
        cls: Shape (k,).
        error: Shape (k,).
        alpha: 1 - confidence level.

    Returns:
        (None, None) where the scan does not cross.

    Example:
        >>> mu = np.linspace(1.0, 3.0, 9)
        >>> limit, error = cross_level(mu, np.exp(-(mu**2)), 0.01 * np.exp(-(mu**2)), 0.05)
        >>> round(limit, 6), round(float(np.sqrt(-np.log(0.05))), 6)
        (1.730818, 1.730818)
    """
    some = (cls > alpha / WINDOW) & (cls < min(alpha * WINDOW, 0.9)) & (error > 0)
    if some.sum() < 3 or not (cls[some].max() > alpha > cls[some].min()):
        return None, None
    x, y = mu[some], np.log(cls[some] / alpha)
    centre, scale = float(x.mean()), float(np.ptp(x))
    t = (x - centre) / scale
    degree = 2 if some.sum() > 3 else 1
    coefficients, covariance = np.polyfit(t, y, degree, w=cls[some] / error[some], cov="unscaled")
    roots = np.roots(coefficients)
    real = roots[np.abs(roots.imag) < 1e-12].real
    slope = np.polyval(np.polyder(coefficients), real)
    inside = real[(slope < 0) & (real >= t.min() - 1e-9) & (real <= t.max() + 1e-9)]
    if inside.size == 0:
        return None, None
    root = float(inside[0])
    powers = root ** np.arange(degree, -1, -1)
    height = float(np.sqrt(powers @ covariance @ powers))
    return centre + scale * root, height / abs(
        float(np.polyval(np.polyder(coefficients), root))
    ) * scale
