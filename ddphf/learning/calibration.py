"""p-values from redraws, beside the closed law and beside chi2_12."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, kstest, norm

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.statistics.tails import flat_interval
from ddphf.statistics.weighted_chi2 import WeightedChi2

__all__ = [
    "LAW_REDRAWS", "MOST_PEAKED", "Counted", "check_law", "chi2_12", "count_redraws",
    "own_p_values", "smallest_p", "why_not",
]  # fmt: skip

NEAR = 1e-5
"""Relative: sums in single precision that are so close are one outcome."""

LEVEL = 0.6827

LAW_REDRAWS = 100
"""With fewer, mean and variance say too little of the law."""

LAW_SIGMAS = 4.0
"""By which mean and variance of the redraws may differ from the law's."""

MOST_PEAKED = 0.01
"""Of the law's variance: more of it from the fourth cumulants of the labels, as where few of many
events are tested, makes tails that the law has several times too small at 4 sigma. Fewer redraws
than millions would not show it."""

DOF = 12

SMALLEST = 2.3e-308
"""Stands for a KS p-value below any number: none is 0."""


@dataclass(frozen=True)
class Counted:
    """A p-value by counting redraws; the data are one of them, so that it is never 0.

    Attributes:
        p: (1 + redraws that reach the data) / (1 + redraws).
        interval: 68 % interval of the probability to reach the data, central for a flat prior,
            so that its lower end is not 0 either.
        z: Significance; None for p = 1.
        above: Redraws that reach the data.
    """

    p: float
    interval: tuple[float, float]
    z: float | None
    above: int


def count_redraws(observed: float, redraws: AnyArray, near: float = NEAR) -> Counted:
    """Return the p-value of a statistic that is large where the samples differ.

    Example:
        >>> count_redraws(3.0, np.array([1.0, 2.0, 4.0])).p
        0.5
    """
    n = len(redraws)
    above = int(np.sum(redraws >= observed - near * max(abs(observed), 1e-12)))
    p = (1 + above) / (1 + n)
    ends = flat_interval(n, above, LEVEL)
    low, high = min(ends[0], p), max(ends[1], p)
    return Counted(p, (low, high), float(norm.isf(p)) if p < 1 else None, above)


def own_p_values(observed: float, redraws: AnyArray) -> tuple[float, Array]:
    """Return p of the data and of every redraw among data and redraws together.

    Example:
        >>> p, own = own_p_values(2.5, np.array([1.0, 3.0, 2.0]))
        >>> p, own.tolist()
        (0.5, [1.0, 0.25, 0.75])
    """
    every = np.append(redraws.astype(float), observed)
    ordered = np.sort(every)
    reach = ordered.searchsorted(every - NEAR * np.maximum(np.abs(every), 1e-12))
    p = (len(every) - reach) / len(every)
    return float(p[-1]), np.asarray(p[:-1])


def smallest_p(observed: Array, redraws: AnyArray) -> tuple[float, Array, int]:
    """Return -2 ln of the smallest p of several statistics: of the data, of each redraw, and whose.

    Args:
        observed: Of the data, (members,).
        redraws: (members, redraws).
    """
    found = [own_p_values(float(t), row) for t, row in zip(observed, redraws, strict=True)]
    best = int(np.argmin([p for p, _ in found]))
    flipped = np.min([own for _, own in found], axis=0)
    return -2 * math.log(found[best][0]), np.asarray(-2 * np.log(flipped)), best


def check_law(law: WeightedChi2, redraws: AnyArray, peaked: float = 0.0) -> Spec:
    """Compare mean and variance of redraws with those of the closed law, and look at its tail.

    Args:
        law: Closed law of the statistic.
        redraws: Values of the statistic, (n,).
        peaked: What the fourth cumulants of the labels add to the variance, over that of the law.

    Returns:
        ``mean`` and ``variance`` of the law, ``redraws_mean`` and ``redraws_variance``, ``peaked``,
        and ``agrees``: False too where redraws are too few to tell, or tails longer than the law's.
    """
    values = redraws.astype(float)
    n = len(values)
    mean, variance = float(values.mean()), float(values.var())
    fourth = 48 * float(np.sum(law.weights**4)) + 3 * law.variance**2
    agrees = n >= LAW_REDRAWS and (
        peaked <= MOST_PEAKED
        and abs(mean - law.mean) < LAW_SIGMAS * math.sqrt(law.variance / n)
        and abs(variance - law.variance) < LAW_SIGMAS * math.sqrt((fourth - law.variance**2) / n)
    )
    return {
        "mean": law.mean, "variance": law.variance, "redraws_mean": mean,
        "redraws_variance": variance, "peaked": peaked, "agrees": bool(agrees),
    }  # fmt: skip


def why_not(law: Spec) -> str:
    """Return why a law of :func:`check_law` does not hold, for people."""
    if law["peaked"] > MOST_PEAKED:
        return (
            f"labels as rare as these have longer tails than its closed law (the variance is "
            f"{law['peaked']:.1%} larger than it says)"
        )
    return (
        f"mean and variance of the redraws ({law['redraws_mean']:.4g}, "
        f"{law['redraws_variance']:.4g}) are not those of its closed law ({law['mean']:.4g}, "
        f"{law['variance']:.4g})"
    )


NO_CHI2 = {
    "default": "t is -2 ln of the smallest p-value of its members",
    "scan": "t is the largest |Z| of windows",
    "energy": "t has the unit of the variable",
}
"""Statistics that are no log likelihood ratio, nor like one: chi2 says nothing of their tail."""


def chi2_12(statistic: str, observed: float, redraws: AnyArray) -> Spec:
    """Return p by chi2 with 12 degrees of freedom, and the KS p-value of the redraws against it.

    Args:
        statistic: Its name; of some p is None, and ``why`` says the reason.
        observed: Its value.
        redraws: Its values, (n,).

    Example:
        >>> found = chi2_12("scan", 3.0, np.array([1.0, 2.0]))
        >>> found["p"] is None, found["why"]
        (True, 't is the largest |Z| of windows')
    """
    ks = max(float(kstest(redraws.astype(float), chi2(DOF).cdf).pvalue), SMALLEST)
    if statistic in NO_CHI2:
        return {"p": None, "null_ks_p": ks, "why": NO_CHI2[statistic]}
    p = float(chi2.sf(observed, DOF))
    return {"p": p if p > 0 else None, "null_ks_p": ks}
