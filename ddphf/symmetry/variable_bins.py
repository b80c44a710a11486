"""Bins of a variable: as stated, by value where it is discrete, by quantiles otherwise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, IntArray

__all__ = ["FEWEST_EVENTS", "Cells", "make_cells"]

QUANTILES = 10
"""Bins of a variable that is not discrete."""

MOST_VALUES = 20
"""A variable of whole numbers with more values than this is not discrete."""

FEWEST_EVENTS = 25
"""Of both samples in a bin: fewer join the next bin, so that chi2 is near its distribution."""


@dataclass(frozen=True)
class Cells:
    """Bins of one variable, and a last one for events where it has no value."""

    edges: Array
    labels: tuple[str, ...]
    rule: str
    missing: bool

    def place(self, values: Array) -> IntArray:
        """Return the bin of every value, -1 outside; what is no number is in ``missing``'s."""
        finite = np.isfinite(values)
        cells = np.searchsorted(self.edges, np.where(finite, values, 0.0), side="right") - 1
        inside = finite & (cells >= 0) & (cells < len(self.edges) - 1)
        return np.where(inside, cells, np.where(~finite & self.missing, len(self.labels) - 1, -1))


def make_cells(values: Array, edges: tuple[float, ...] | None) -> Cells:
    """Bin a variable: as stated, by value where it is discrete, by quantiles otherwise.

    Bins that are found hold 25 events or more, the first and last one reach to infinity, and events
    without a value (no finite number) have a bin of their own.

    Args:
        values: Of all events, shape (n,).
        edges: Increasing, or None.

    Example:
        >>> jets = np.repeat([0.0, 1.0, 2.0, 3.0], [60, 50, 30, 7])
        >>> make_cells(jets, None).labels
        ('0', '1', '2 to 3')
    """
    finite = values[np.isfinite(values)]
    if edges is not None:
        points, rule = np.asarray(edges), "edges"
        return Cells(points, _labels(points), rule, missing=False)
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) <= MOST_VALUES and np.all(distinct == np.round(distinct)):
        rule = "values"
        inner = (distinct[1:] + distinct[:-1]) / 2
    else:
        rule = "quantiles"
        number = int(np.clip(len(finite) // (4 * FEWEST_EVENTS), 1, QUANTILES))
        inner = np.unique(np.quantile(finite, np.arange(1, number) / number))
        inner = inner[inner > finite.min()]
        counts = np.histogram(finite, [-np.inf, *inner, np.inf])[0]
    kept, filled = [], 0
    for edge, count in zip(inner, counts, strict=False):
        filled += count
        if filled >= FEWEST_EVENTS:
            kept.append(float(edge))
            filled = 0
    if kept and counts[np.searchsorted(inner, kept[-1]) + 1 :].sum() < FEWEST_EVENTS:
        kept.pop()
    points = np.array([-np.inf, *kept, np.inf])
    missing = len(finite) < len(values)
    labels = _value_labels(distinct, points) if rule == "values" else _labels(points)
    return Cells(points, (*labels, "no value") if missing else labels, rule, missing)


def _labels(points: Array) -> tuple[str, ...]:
    return tuple(f"{low:.6g} to {high:.6g}" for low, high in itertools.pairwise(points))


def _value_labels(distinct: Array, points: Array) -> tuple[str, ...]:
    out = []
    for low, high in itertools.pairwise(points):
        here = distinct[(distinct >= low) & (distinct < high)]
        ends = sorted({*here[:1], *here[-1:]})
        out.append(" to ".join(f"{end:g}" for end in ends) or "any value")
    return tuple(out)
