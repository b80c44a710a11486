"""Parameters that may give a row's likelihood several minima, and fits that look on either side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.likelihood.rows.fits import RowFits, fit_rows
from ddphf.likelihood.rows.model import RowData, RowModel
from ddphf.masses.scan import MassScan, Sample
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["find_sides", "fit_lowest"]

NOTICED = 0.2
"""Poisson errors of the bins that move the same way, together: below it no minimum can hide."""


def find_sides(scan: MassScan) -> dict[str, Mask]:
    """Return the correlated errors whose up and down move bins the same way.

    There may be a minimum on either side of such a one.

    Args:
        scan: The scan.

    Returns:
        By name, the hypotheses where that is so, shape (n,); names without any are left out.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> find_sides(small_scan())
        {}
    """
    found: dict[str, Mask] = {}
    for sample in scan.samples:
        for name in sample.nuisances:
            up, down = (side - sample.yields for side in _ends(sample, name))
            same_way = np.where(up * down > 0, np.minimum(np.abs(up), np.abs(down)), 0.0)
            size = np.sqrt(np.sum(same_way**2 / np.maximum(sample.yields, 1.0), axis=1))
            found[name] = found.get(name, np.zeros(len(scan), dtype=bool)) | (size > NOTICED)
    return {name: rows for name, rows in found.items() if rows.any()}


def _ends(sample: Sample, name: str) -> tuple[Array, Array]:
    """Return the yields at +1 and -1 sigma; one name may be histosys and normsys."""
    up, down = sample.yields, sample.yields
    for shift in sample.shifts:
        if shift.name == name:
            up, down = shift.up, shift.down
    for norm in sample.norms:
        if norm.name == name:
            up, down = up * norm.up[:, None], down * norm.down[:, None]
    return up, down


def fit_lowest(
    model: RowModel,
    data: RowData,
    start: Array,
    held: Mask,
    sides: Sequence[int],
    *,
    row: IntArray | int,
) -> RowFits:
    """Fit, and begin again on either side of some parameters: the lowest minima are returned.

    Args:
        model: The rows.
        data: One per fit.
        start: Global parameters to begin at, shape (fits, k).
        held: Those that stay there, shape (k,).
        sides: Numbers of the parameters; where there are none one start is enough.
        row: Row of each fit, or of all.
    """
    best = fit_rows(model, data, start, held, row=row)
    for own in (False, True):  # all others at the start, then where they are best
        for k in sides:
            for side in (-1.0, 1.0):
                begin = (best.theta if own else start).copy()
                begin[:, k] = side
                again = fit_rows(model, data, begin, held, row=row)
                better = again.ok & (~best.ok | (2.0 * (again.value - best.value) < -BELOW_FREE))
                for values, new in zip(best.columns(), again.columns(), strict=True):
                    values[better] = new[better]
    return best
