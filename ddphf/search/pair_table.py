"""Scales of windows where many nuisances act on one bin each, as statistical errors of fakes do.

With a diagonal matrix S of the squared pulls of these, D = 1 + S, and G the pulls of the others,
what profiling leaves of a window's variance is a sum over its bins less some squares:

    P = D^-1 - D^-1 G (C + G' D^-1 G)^-1 G' D^-1
"""

from __future__ import annotations

import numpy as np

from ddphf.search.boxes import Boxes
from ddphf.search.field import Field
from ddphf.search.table import DEGENERATE, WindowTable, make_table, refuse_none_left
from ddphf.statistics.windows import sum_positions

__all__ = ["make_pair_table"]


def make_pair_table(boxes: Boxes, field: Field, n_correlated: int) -> WindowTable:
    """Return windows with their scales, as :func:`~ddphf.search.table.make_table` does.

    Args:
        boxes: The windows.
        field: Of the same shape, its nuisances constrained; all but the first act on one bin each.
        n_correlated: How many are the first.

    Raises:
        InputError: Shapes differ, or no window is left.

    Example:
        >>> from ddphf.search.boxes import make_boxes
        >>> from ddphf.search.field import make_field
        >>> from ddphf.search.nuisances import Nuisances
        >>> fakes = Nuisances.make((1, 2), fakes_tested=[[[3.0, 0.0]], [[0.0, 4.0]]])
        >>> field = make_field([[30, 40]], [[20, 30]], nuisances=fakes)
        >>> boxes = make_boxes((1, 2))
        >>> one, other = make_pair_table(boxes, field, 0), make_table(boxes, field)
        >>> bool(np.allclose(one.scales, other.scales, rtol=1e-12))
        True
    """
    pulls = field.profile.pulls
    if pulls.shape[1] == n_correlated:
        return make_table(boxes, field)
    common, own = pulls[:, :n_correlated], pulls[:, n_correlated:]
    rest = 1 / (1 + np.sum(own**2, axis=1))
    weighted = common * rest[:, None]
    matrix = np.eye(n_correlated) + common.T @ weighted
    rows = np.linalg.solve(np.linalg.cholesky(matrix), weighted.T)
    kept = np.where(field.filled.ravel(), rest, 0.0)
    scales = np.full(boxes.count, np.nan)
    n_empty = n_degenerate = 0
    for kind, size in enumerate(boxes.sizes):
        filled, left, *squares = (
            sum_positions(values.reshape(field.shape), size).ravel()
            for values in (field.filled.astype(float), kept, *rows)
        )
        left = left - sum(square**2 for square in squares)
        full = filled > 0.5
        good = full & (left >= DEGENERATE * filled)
        n_empty += int(np.sum(~full))
        n_degenerate += int(np.sum(full & ~good))
        place = slice(int(boxes.first[kind]), int(boxes.first[kind + 1]))
        scales[place][good] = 1 / np.sqrt(left[good])
    refuse_none_left(boxes.count, n_empty, n_degenerate)
    return WindowTable(boxes, field.filled, field.profile, scales, n_empty, n_degenerate)
