"""Events in groups: of one variable neighbours are one to a network, whose slopes are bounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.learning.features import standardize
from ddphf.learning.labels import Labels

__all__ = ["GROUPS", "Grouped", "group_events"]

GROUPS = 400
"""Of one variable: events so near to each other are one to a network."""


@dataclass(frozen=True)
class Grouped:
    """Events in groups.

    Attributes:
        points: Standardised variables of each group, (g, d).
        group: Of each event, (n,).
        counts: Events of each group, (g,).
        offset: logit of the mean pi of each group, (g,).
        linear: Change of the logit per sigma of each nuisance, after a column of ones, (g, 1 + k).
        mean: Of the variables.
        deviation: Of the variables.
    """

    points: Array
    group: IntArray
    counts: Array
    offset: Array
    linear: Array
    mean: Array
    deviation: Array

    def sums(self, values: AnyArray) -> Array:
        """Return sums over the groups of values (n, ...), (g, ...)."""
        flat = values.reshape(len(self.group), -1).T
        sums = [np.bincount(self.group, column, len(self.counts)) for column in flat]
        return np.asarray(
            np.stack(sums, axis=1).reshape(len(self.counts), *values.shape[1:]), float
        )


def group_events(points: Array, labels: Labels, groups: int = GROUPS) -> Grouped:
    """Return events in groups: of one variable neighbours together, otherwise each for itself.

    Example:
        >>> from ddphf.learning.labels import make_labels
        >>> labels = make_labels([True, False] * 500)
        >>> group_events(np.linspace(0, 1, 1000)[:, None], labels).counts.max()
        np.float64(3.0)
    """
    mean, deviation = standardize(points)
    z = (points - mean) / deviation
    n = len(z)
    group = np.arange(n)
    if points.shape[1] == 1 and n > groups:
        edges = np.unique(np.quantile(z[:, 0], np.arange(1, groups) / groups))
        _, group = np.unique(np.searchsorted(edges, z[:, 0], side="right"), return_inverse=True)
        group = group.ravel()
    counts = np.bincount(group).astype(float)

    def average(values: Array) -> Array:
        sums = [np.bincount(group, column) / counts for column in values.reshape(n, -1).T]
        return np.stack(sums, axis=1)

    share = average(labels.share)[:, 0]
    moves = average(np.asarray(labels.changes, dtype=float)) if labels.changes.shape[1] else None
    linear = np.ones((len(counts), 1))
    if moves is not None:
        linear = np.concatenate([linear, moves / (share * (1 - share))[:, None]], axis=1)
    return Grouped(average(z), group, counts, logit(share), linear, mean, deviation)
