"""The toy null against the asymptotic one: histogram, Kolmogorov-Smirnov distance, quantiles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import kstwo, norm

from ddphf.inference.toys.store import ToySample
from ddphf.statistics.tails import FAILED

__all__ = ["NullComparison", "compare_nulls"]

Reference = Literal["normal", "normal_capped"]

EDGES = np.linspace(-5.0, 5.0, 41)
"""Bins of the histogram of signed Z."""

PROBABILITIES = np.concatenate(
    [[1e-4, 3e-4, 1e-3, 3e-3], np.linspace(0.01, 0.99, 50), [0.997, 0.999, 0.9997, 0.9999]]
)
"""Where quantiles are compared, as far as the number of toys resolves them."""


@dataclass(frozen=True)
class NullComparison:
    """Signed Z of null toys beside what asymptotics expect of it.

    Attributes:
        n: Certified toys.
        reference: ``"normal"``: a standard normal; ``"normal_capped"``: the same with everything
            below 0 moved to 0, for a POI that is bounded at 0.
        mean: Of signed Z.
        sd: Standard deviation of signed Z.
        ks_distance: Largest difference of the two distribution functions (for
            ``"normal_capped"``, over Z >= 0).
        ks_p_value: Kolmogorov's p-value of it; an upper end where Z has atoms.
        edges: Histogram's edges.
        counts: Toys per bin.
        below: Toys below the histogram.
        above: Toys above it.
        probability: Probabilities of the quantiles.
        asymptotic: Quantiles of the reference.
        toys: Quantiles of the toys.
    """

    n: int
    reference: Reference
    mean: float
    sd: float
    ks_distance: float
    ks_p_value: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int
    probability: tuple[float, ...]
    asymptotic: tuple[float, ...]
    toys: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {
            **{key: values[key] for key in ("n", "reference", "mean", "sd")},
            "ks": {"distance": self.ks_distance, "p_value": self.ks_p_value},
            "histogram": {key: values[key] for key in ("edges", "counts", "below", "above")},
            "quantiles": {key: values[key] for key in ("probability", "asymptotic", "toys")},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NullComparison:
        """Read what :meth:`to_dict` wrote."""
        flat = {**data["histogram"], **data["quantiles"]}
        flat = {k: tuple(v) if isinstance(v, list) else v for k, v in flat.items()}
        own = {key: data[key] for key in ("n", "reference", "mean", "sd")}
        ks = {"ks_distance": data["ks"]["distance"], "ks_p_value": data["ks"]["p_value"]}
        return cls(**own, **ks, **flat)


def compare_nulls(toys: ToySample, *, reference: Reference = "normal") -> NullComparison:
    """Compare null toys with the asymptotic null distribution of signed Z.

    Args:
        toys: Drawn with the POI at 0; at least one is certified.
        reference: See :class:`NullComparison`.

    Example:
        >>> n = 1000
        >>> z = norm.ppf((np.arange(n) + 0.5) / n)
        >>> toys = ToySample(np.zeros(n, int), np.arange(n), z * np.abs(z), z,
        ...                  np.zeros(n, np.int8), np.zeros(n, bool), 0.0, "")
        >>> comparison = compare_nulls(toys)
        >>> round(comparison.ks_distance, 6), round(comparison.sd, 3)
        (0.0005, 0.999)
    """
    z = np.sort(toys.z0[toys.status != FAILED])
    n, capped = len(z), reference == "normal_capped"
    values, first = np.unique(z, return_index=True)
    below = first / n  # empirical distribution function to the left of each value
    upto = np.append(first[1:], n) / n
    expected = norm.cdf(values)
    left = expected
    if capped:
        # Everything at or below 0 is one atom of both distributions: compare from there on.
        keep = values >= 0
        below, upto, expected, left = below[keep], upto[keep], expected[keep], left[keep]
        left = np.where(values[keep] == 0, 0.0, left)
        below = np.where(values[keep] == 0, 0.0, below)
    distance = float(np.max(np.maximum(np.abs(upto - expected), np.abs(left - below)), initial=0.0))
    counts, _ = np.histogram(z, EDGES)
    # A quantile beyond the last few toys is noise.
    some = PROBABILITIES[np.minimum(PROBABILITIES, 1 - PROBABILITIES) * n >= 3]
    asymptotic = norm.ppf(some)
    return NullComparison(
        n=n,
        reference=reference,
        mean=float(np.mean(z)),
        sd=float(np.std(z)),
        ks_distance=distance,
        ks_p_value=float(kstwo.sf(distance, n)),
        edges=tuple(EDGES.tolist()),
        counts=tuple(counts.tolist()),
        below=int(np.sum(z < EDGES[0])),
        above=int(np.sum(z > EDGES[-1])),
        probability=tuple(some.tolist()),
        asymptotic=tuple((np.maximum(asymptotic, 0.0) if capped else asymptotic).tolist()),
        toys=tuple(np.quantile(z, some).tolist()),
    )
