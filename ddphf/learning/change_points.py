"""What a network without a penalty could reach: the largest t over change points (derived).

A 1-4-1 network with steep sigmoids is a step function with up to four steps. The infimum of the
unpenalised loss is therefore at most that of the best five segments, which grows with the events:
no chi2 is its null.
"""

from __future__ import annotations

import numpy as np

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.exceptions import InputError

__all__ = ["change_point_supremum"]


def change_point_supremum(
    values: Array, tested: Mask, share: Array | None = None, *, steps: int = 4
) -> tuple[float, float]:
    """Return the suprema of t_A and t_B over step functions of one variable, exactly.

    By dynamic programming over the events in their order; time and memory grow with their square
    and their number.

    Args:
        values: Of the variable, (n,).
        tested: Labels, (n,).
        share: pi of each event; N_B / N by default.
        steps: Change points of f and of g.

    Raises:
        InputError: A number of steps below 0.

    Example:
        >>> a, b = change_point_supremum(np.arange(4.0), np.array([True, True, False, False]))
        >>> round(a, 6), round(b, 6)
        (2.772589, 2.772589)
    """
    if steps < 0:
        raise InputError(f"change points: {steps}, expected 0 or more")
    order = np.argsort(values, kind="stable")
    x, y = np.asarray(values)[order], np.asarray(tested, dtype=bool)[order]
    pi = np.full(len(x), y.mean()) if share is None else np.asarray(share)[order]
    # Equal values stay together; a change point between two events of one label gains nothing.
    apart = np.flatnonzero(x[1:] > x[:-1]) + 1
    ends = np.concatenate([[0], apart, [len(x)]])
    sums = [np.concatenate([[0.0], np.cumsum(part)])[ends] for part in (~y, y, 1 - pi, pi)]
    return _best(sums[0], sums[2], steps), _best(sums[1], sums[3], steps)


def _best(counts: Array, expected: Array, steps: int) -> float:
    """Return 2 max sum [k ln(k / e) - k + e] over up to ``steps`` + 1 segments."""
    m = len(counts)
    best: AnyArray = np.full((steps + 1, m), -np.inf)
    logs = np.append(0.0, np.log(np.arange(1, round(float(counts[-1])) + 1)))
    for j in range(1, m):
        k = np.rint(counts[j] - counts[:j]).astype(np.int64)
        e = expected[j] - expected[:j]
        gain = k * (logs[k] - np.log(e)) - k + e
        best[0, j] = gain[0]
        best[1:, j] = np.max(best[:-1, :j] + gain, axis=1)
        best[1:, j] = np.maximum(best[1:, j], best[:-1, j])
    return 2 * float(best[-1, -1])
