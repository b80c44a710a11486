"""The largest statistic without a signal, as records have it."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import AnyArray, Spec

__all__ = ["describe_maxima"]

QUANTILES = (0.5, 0.95, 0.99)

MOST_BINS = 60
"""Of the histogram; of few samples fewer, so that a bin holds some."""


def describe_maxima(maxima: AnyArray) -> Spec:
    """Return samples, quantiles and a histogram of the largest statistic of each.

    Example:
        >>> found = describe_maxima(np.array([1.0, 1.0]))  # all the same: bins all the same
        >>> found["samples"], found["quantiles"]["0.5"], sum(found["histogram"]["counts"])
        (2, 1.0, 2)
    """
    values = np.asarray(maxima, dtype=float)
    low, high = float(values.min()), float(values.max())
    high += max(1e-6, 1e-6 * abs(high))  # the largest lies inside the last bin
    bins = min(MOST_BINS, max(1, round(3 * len(values) ** (1 / 3))))
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    return {
        "samples": len(values),
        "quantiles": {
            f"{q:g}": float(v)
            for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
