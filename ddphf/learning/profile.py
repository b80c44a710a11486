"""Nuisances of the labels, profiled in closed form; the ratio of the sizes is one, and free.

With U the change of pi per sigma of each nuisance, W = pi (1 - pi) and C = 1 for a constrained and
0 for a free nuisance, the fitted residual is

    r' = r - U M B' r,   B = W^-1 U,   M = (C + U' B)^-1

to first order in the nuisances. Derived.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.learning.labels import Labels

__all__ = ["LabelProfile"]


@dataclass(frozen=True)
class LabelProfile:
    """The projection that profiles nuisances out of sums of residuals.

    Attributes:
        moves: U, (n, k).
        pulls: B, (n, k).
        inverse: M, (k, k).
    """

    moves: Array
    pulls: Array
    inverse: Array

    @classmethod
    def make(cls, labels: Labels, *, nuisances: bool) -> LabelProfile:
        """Return the projection of the ratio of sizes, with or without that of the nuisances.

        Example:
            >>> from ddphf.learning.labels import make_labels
            >>> labels = make_labels([True, False] * 10)
            >>> labels.residual @ LabelProfile.make(labels, nuisances=False).pulls
            array([0.])
        """
        columns = [labels.slope[:, None]]
        if nuisances:
            columns.append(labels.changes.astype(float))
        moves = np.concatenate(columns, axis=1)
        pulls = moves / labels.spread[:, None]
        prior = np.diag(np.append(0.0, np.ones(moves.shape[1] - 1)))
        inverse: Array = np.asarray(np.linalg.inv(prior + moves.T @ pulls), dtype=np.float64)
        return cls(moves, pulls, inverse)

    def sums(self, sums: AnyArray, moved: Array, pulled: AnyArray) -> AnyArray:
        """Return F'r' from F'r.

        Args:
            sums: F'r, (m, ...).
            moved: F'U, (m, k).
            pulled: B'r, (k, ...).
        """
        return np.asarray(sums - (moved @ self.inverse) @ pulled)

    def variance(self, variance: Array, moved: Array) -> Array:
        """Return the covariance of F'r' from that of F'r, (m, m), and F'U, (m, k)."""
        return np.asarray(variance - moved @ self.inverse @ moved.T)
