"""CLs upper limits by toys.

Per mu the signal toys are their own; the background toys are the same for all mu.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.compute.streams import BOOTSTRAP, LIMITS, generator
from ddphf.compute.work import HERE, Work
from ddphf.inference.limits.bootstrap import crossings_of_toys
from ddphf.inference.limits.cls import cls_asymptotic, cls_expected
from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import ToyStatistics, toy_statistics
from ddphf.results.discover import N_SIGMA
from ddphf.results.limit import ToyLimit

__all__ = ["limit_by_toys", "value_and_error"]


def limit_by_toys(
    observed: ProfileScan,
    asimov: ProfileScan,
    mu: Array,
    level: float,
    n: int,
    *,
    seed: int,
    work: Work = HERE,
) -> ToyLimit:
    """Return the CLs upper limits of one data set by toys.

    At every mu, CLs = P(q~ >= observed | mu) / P(q~ >= observed | 0). Toys are drawn with the other
    parameters conditional on the data (main and auxiliary data fluctuate).

    Args:
        observed: The data.
        asimov: Asimov data without signal: the shape of CLs between the points.
        mu: Points to scan, rising, > 0, around the limits.
        level: Confidence level.
        n: Toys of each ensemble.
        seed: Their seed.
        work: How long work is done.

    Raises:
        FitError: A fit has no certificate, or too many toys failed.
    """
    tests = [float(x) for x in mu]

    def draw(poi: float, which: int, at: list[float]) -> ToyStatistics:
        source = ToySource.conditional(observed.model, poi)
        part = work.part(n * which, n * (len(tests) + 1))
        return toy_statistics(source, at, n, seed=seed, first=LIMITS.start(which, n), work=part)

    background = draw(0.0, 0, tests)
    signals = [draw(test, j + 1, [test]) for j, test in enumerate(tests)]
    q_observed = np.array([observed.q_tilde(test) for test in tests])
    roots = [asimov.q_tilde(test) for test in tests]
    shapes = [[cls_asymptotic(q, a) for q, a in zip(q_observed, roots, strict=True)]]
    shapes += [[cls_expected(a, x) for a in roots] for x in N_SIGMA]
    found = crossings_of_toys(
        mu,
        q_observed,
        [background.q_tilde(j) for j in range(len(tests))],
        [signal.q_tilde(0) for signal in signals],
        np.array(shapes),
        1 - level,
        generator(seed, BOOTSTRAP),
    )
    limits, errors = zip(*map(value_and_error, found.limits), strict=True)
    return ToyLimit(
        observed=limits[0],
        observed_error=errors[0],
        expected=limits[1:],
        expected_error=errors[1:],
        n=n,
        n_failed=background.n_failed + sum(signal.n_failed for signal in signals),
        seed=seed,
        mu=mu,
        scan_observed=found.cls[0],
        scan_error=found.cls_error[0],
        scan_expected=np.sort(found.cls[1:], axis=0),
    )


MAX_LOST = 0.2
"""Share of bootstraps that may have no crossing; beyond it the limit is not known."""


def value_and_error(row: Array) -> tuple[float | None, float | None]:
    """Return the first number and half of the central 68 % of the others."""
    others = row[1:][np.isfinite(row[1:])]
    if not np.isfinite(row[0]) or len(others) < (1 - MAX_LOST) * (len(row) - 1):
        return None, None
    low, high = np.quantile(others, norm.cdf([-1.0, 1.0]))
    return float(row[0]), float(high - low) / 2
