"""Events as rows of one random label each: what a flip redraws, and where each row counts.

Event i has r_i = eps_B / eps_A at its leptons. The difference of a bin is

    D = sum_B 1 - sum_A r_i = sum_i (1 + r_i) (y_i - q_i),    V = sum_i (1 + r_i)^2 q_i (1 - q_i)

where y_i is 1 for the tested sample: given the events y_i is Bernoulli(q_i), with q_i = r_i /
(1 + r_i) without fakes, so that mean and variance are exact for any mixture of r_i in a bin. Other
sources of fluctuation are rows too: an event of a control region is a fair coin that adds or takes
its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from ddphf.arrays import AnyArray, Array, IntArray, Mask

__all__ = ["Cells", "LabelRows", "find_cells"]


@dataclass(frozen=True)
class LabelRows:
    """Rows with one random label each, in an order that does not depend on that of the input.

    Attributes:
        steps: c_i: the row adds c (y - q) to the difference of its bin, (n,).
        share: q_i, probability of y = 1 under the null, (n,).
        observed: What the row adds in the data, (n,).
        slopes: Relative change of the odds q / (1 - q) per sigma of each nuisance of the labels,
            (n, k), float32.
        shifts: Change of ``observed``'s expectation per sigma of each other nuisance, sparse
            (n, m).
        tested: y_i of the data, 0 for rows that are no events, (n,).
        event: Whether the row is an event and not a part of its error, (n,).
        expected: Variance that the expected fakes have as counts: that of a bin is not less,
            (n,).
        names: Of the k + m nuisances.
    """

    steps: Array
    share: Array
    observed: Array
    slopes: AnyArray
    shifts: Any
    tested: Mask
    event: Mask
    expected: Array
    names: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many rows there are."""
        return len(self.steps)

    @property
    def variance(self) -> Array:
        """Variance of what each row adds, (n,)."""
        return np.asarray(self.steps**2 * self.share * (1 - self.share))

    def take(self, order: AnyArray) -> LabelRows:
        """Return some rows, in an order."""
        return replace(
            self,
            steps=self.steps[order], share=self.share[order], observed=self.observed[order],
            slopes=self.slopes[order], shifts=self.shifts[order], tested=self.tested[order],
            event=self.event[order], expected=self.expected[order],
        )  # fmt: skip

    @classmethod
    def make(
        cls, ratio: Any, tested: Any, *, slopes: Any = None, names: Sequence[str] = ()
    ) -> LabelRows:
        """Return the rows of events without fakes.

        Args:
            ratio: r_i = eps_B / eps_A of each event, (n,), or one number.
            tested: Whether it is in the tested sample, (n,).
            slopes: Relative change of r_i per sigma of each nuisance, (n, k).
            names: Of the k nuisances; their numbers by default.

        Example:
            >>> rows = LabelRows.make([1.0, 0.5], [True, False])
            >>> rows.observed.tolist(), rows.variance.round(6).tolist()
            ([1.0, -0.5], [1.0, 0.5])
        """
        y = np.asarray(tested, dtype=bool)
        r = np.broadcast_to(np.asarray(ratio, dtype=float), y.shape)
        given = np.zeros((len(y), 0)) if slopes is None else np.asarray(slopes, dtype=float)
        return cls(
            1 + r, r / (1 + r), np.where(y, 1.0, -r), given.astype(np.float32),
            sparse.csr_matrix((len(y), 0)), y, np.ones(len(y), dtype=bool),
            np.zeros(len(y)), tuple(names) or tuple(map(str, range(given.shape[1]))),
        )  # fmt: skip


@dataclass(frozen=True)
class Cells:
    """Rows by the pattern of selections that they pass.

    Attributes:
        cell: Of each row, (n,); -1 for rows that pass none.
        passes: Which selections each cell passes, (selections, cells), float32.
    """

    cell: IntArray
    passes: AnyArray

    def inside(self, selection: int) -> Mask:
        """Return which rows pass one selection, (n,)."""
        known = np.append(self.passes[selection] > 0, False)  # cell -1 is the last
        return np.asarray(known[self.cell])


def find_cells(masks: Sequence[Mask] | Any, n: int) -> Cells:
    """Return the cells of selections: two rows share one where they pass the same selections.

    Args:
        masks: Of each selection, (n,) each; any iterable, one mask is held at a time.
        n: Rows.

    Example:
        >>> cells = find_cells([np.array([True, True, False]), np.array([False, True, False])], 3)
        >>> cells.cell.tolist(), cells.passes.tolist()
        ([0, 1, -1], [[1.0, 1.0], [0.0, 1.0]])
    """
    cell, count = np.zeros(n, dtype=np.int64), 1
    parents: list[IntArray] = []
    passed: list[Mask] = []
    for mask in masks:  # each mask splits the cells so far
        code = 2 * cell + mask
        there = np.bincount(code, minlength=2 * count) > 0
        found = np.flatnonzero(there)
        cell = (np.cumsum(there) - 1)[code]
        parents.append(found // 2)
        passed.append(found % 2 == 1)
        count = len(found)
    table = np.zeros((len(passed), count), dtype=np.float32)
    ancestor = np.arange(count)
    for number in reversed(range(len(passed))):
        table[number] = passed[number][ancestor]
        ancestor = parents[number][ancestor]
    used = table.any(axis=0)
    renumbered = np.where(used, np.cumsum(used) - 1, -1)
    return Cells(np.asarray(renumbered[cell], dtype=np.int64), table[:, used])
