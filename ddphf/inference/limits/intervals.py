"""Two-sided intervals by the profile likelihood ratio, asymptotic and calibrated by toys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from ddphf.arrays import Array
from ddphf.compute.streams import INTERVALS
from ddphf.compute.work import HERE, Work
from ddphf.inference.limits.profile import ProfileScan, find_crossing
from ddphf.inference.limits.rises import toy_rises
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import toy_statistics
from ddphf.results.limit import IntervalResult
from ddphf.statistics.tails import TIE

__all__ = ["interval_asymptotic", "intervals_by_toys"]


REACH = (0.7, 0.85, 1.0, 1.2, 1.4)
"""Where thresholds are calibrated, in units of the distance of the asymptotic end."""

FURTHER, MOST_FURTHER = 1.3, 12
"""Where the last of them is not excluded: factor of the next distance, and how many of them."""


def interval_asymptotic(scan: ProfileScan, level: float, unit: float) -> IntervalResult:
    """Return where t(mu) is below the quantile of a chi-square with one degree of freedom.

    Args:
        scan: The data.
        level: Confidence level.
        unit: About the error of mu.

    Raises:
        FitError: A fit has no certificate.

    Example:
        >>> from ddphf.likelihood.compiled import CompiledModel
        >>> from ddphf.likelihood.examples import one_bin
        >>> reference = one_bin(10.0, 100.0, 0.01, observed=110.0)
        >>> scan = ProfileScan(CompiledModel.from_reference(reference))
        >>> interval = interval_asymptotic(scan, 0.6827, 1.0)
        >>> round(interval.lower, 3), round(interval.upper, 3)
        (0.0, 2.082)
    """
    threshold = float(chi2.ppf(level, 1))
    ends: list[float] = []
    at_bound: list[bool] = []
    for bound in (scan.lower, scan.upper):
        end = None
        if scan.mu_hat != bound:
            end = find_crossing(
                lambda mu: threshold - scan.t(mu),
                inner=scan.mu_hat,
                step=1.3 * unit * np.sqrt(threshold),
                bound=bound,
            )
        ends.append(bound if end is None else end)
        at_bound.append(end is None)
    return IntervalResult(level, "asymptotic", ends[0], ends[1], at_bound[0], at_bound[1])


def intervals_by_toys(
    scan: ProfileScan,
    asymptotic: Sequence[IntervalResult],
    n: int,
    *,
    seed: int,
    has_null: bool = True,
    work: Work = HERE,
) -> list[IntervalResult]:
    """Return the intervals with thresholds from toys (Feldman and Cousins' ordering, profiled).

    mu belongs to the interval where t(mu) of the data is at most the level's quantile of t(mu) in
    toys drawn at mu, the other parameters conditional on the data (Feldman and Cousins, Phys. Rev.
    D 57 (1998) 3873; with nuisance parameters: Cranmer, arXiv:1503.07622, section 4.4). Thresholds
    are calibrated around each asymptotic end, further out where that does not exclude, and
    interpolated.

    Args:
        scan: The data.
        asymptotic: The intervals to calibrate, one per level.
        n: Toys per point.
        seed: Their seed.
        has_null: Whether mu = 0 may be fitted too.
        work: How long work is done.

    Raises:
        FitError: A fit has no certificate, or too many toys failed.
    """
    points = [_points(scan, asymptotic, side) for side in (0, 1)]
    sides: list[list[Array]] = [[], []]
    bounds = (scan.lower, scan.upper)
    failed = which = 0

    def draw(side: int, mu: float) -> None:
        nonlocal failed, which
        source = ToySource.conditional(scan.model, mu)
        first = INTERVALS.start(which, n)
        part = work.part(n * which, n * sum(map(len, points)))
        if has_null:
            toys = toy_statistics(source, [mu], n, seed=seed, first=first, work=part)
            t, n_failed = toys.t[:, 0], toys.n_failed
        else:
            t, n_failed = toy_rises(source, n, seed=seed, first=first, work=part)
        failed, which = failed + n_failed, which + 1
        sides[side].append(np.sort(t))

    def open_ended(side: int) -> bool:
        ends = [_end(scan, points[side], sides[side], i.level, bounds[side]) for i in asymptotic]
        return any(end[0] is None for end in ends)

    for side in (0, 1):
        for mu in points[side]:
            draw(side, mu)
    for side in (0, 1):
        for _ in range(MOST_FURTHER):
            if not open_ended(side):
                break
            mu = scan.mu_hat + FURTHER * (points[side][-1] - scan.mu_hat)
            points[side].append(float(np.clip(mu, scan.lower, scan.upper)))
            draw(side, points[side][-1])
    out = []
    for interval in asymptotic:
        found = [
            _end(scan, points[side], sides[side], interval.level, bounds[side]) for side in (0, 1)
        ]
        thresholds = [quantile for _, _, _, some in found for quantile in some]
        mus = points[0] + points[1]
        order = np.argsort(mus)
        out.append(
            IntervalResult(
                level=interval.level,
                method="toys",
                lower=found[0][0],
                upper=found[1][0],
                at_lower_bound=found[0][2],
                at_upper_bound=found[1][2],
                lower_error=found[0][1],
                upper_error=found[1][1],
                n=n,
                n_failed=failed,
                seed=seed,
                thresholds={
                    "mu": [mus[i] for i in order],
                    "value": [thresholds[i][0] for i in order],
                    "error": [thresholds[i][1] for i in order],
                },
            )
        )
    return out


def _points(scan: ProfileScan, asymptotic: Sequence[IntervalResult], side: int) -> list[float]:
    """Return where to draw toys on one side of mu_hat, from mu_hat outwards."""
    bound = (scan.lower, scan.upper)[side]
    mus = set()
    for interval in asymptotic:
        end = (interval.lower, interval.upper)[side]
        assert end is not None
        for reach in REACH:
            mu = scan.mu_hat + reach * (end - scan.mu_hat)
            mus.add(float(np.clip(mu, scan.lower, scan.upper)))
    mus.discard(scan.mu_hat)
    if scan.mu_hat == bound:
        return []
    return sorted(mus, key=lambda mu: abs(mu - scan.mu_hat))


def _end(
    scan: ProfileScan, mus: list[float], samples: list[Array], level: float, bound: float
) -> tuple[float | None, float | None, bool, list[tuple[float, float]]]:
    """Return one end, its error, whether it is the bound, and the thresholds at the points."""
    quantiles = [_quantile(sample, level) for sample in samples]
    if not mus:
        return bound, None, True, quantiles
    values, errors = (np.array([q[i] for q in quantiles]) for i in (0, 1))
    distance = np.abs(np.array(mus) - scan.mu_hat)

    def threshold(mu: float) -> float:
        return float(np.interp(abs(mu - scan.mu_hat), distance, values))

    def excluded(mu: float) -> float:
        return scan.t(mu) - threshold(mu) - TIE

    before = scan.mu_hat
    for j, mu in enumerate(mus):
        if excluded(mu) > 0:
            end = float(brentq(excluded, before, mu, xtol=1e-9 * max(distance[j], 1e-300)))
            slope = (scan.t(mu) - scan.t(before)) / abs(mu - before)
            error = float(np.interp(abs(end - scan.mu_hat), distance, errors)) / slope
            return end, float(error), False, quantiles
        before = mu
    if before == bound:
        return bound, None, True, quantiles
    return None, None, False, quantiles


def _quantile(t: Array, level: float) -> tuple[float, float]:
    """Return the level's quantile of sorted toys and its error, from its order statistics."""
    n = len(t)
    rank = level * n
    spread = np.sqrt(n * level * (1 - level))
    low, high = (int(np.clip(rank + x * spread, 0, n - 1)) for x in (-1.0, 1.0))
    return float(np.quantile(t, level)), float(0.5 * (t[high] - t[low]))
