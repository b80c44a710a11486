"""Many refits of one model where its likelihood has several minima: each is the lowest found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.inference.refits import Refits
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize_starts
from ddphf.likelihood.sides import on_other_sides, other_minima
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["lower_refits", "lower_scan"]

OUT_OF_REACH = 4.0
"""In 2NLL: so far above a refit no minimum of the unshifted fit becomes the lower one by it."""

MOST_MINIMA = 32
"""Of one fit; five parameters with two sides each have as many."""


def lower_refits(
    model: CompiledModel, refits: Refits, free: Minimum, held: Mask, fixed: Mask, data: Array
) -> tuple[Refits, int]:
    """Return refits near a fit, and how many are lower from one of its other minima.

    Which minimum a start leads to is no impact of a parameter.

    Args:
        model: The model.
        refits: As they are.
        free: The fit from which they started.
        held: What it held, shape (n,).
        fixed: What the refits held, shape (m, n).
        data: Their data, shape (m, n_main + n_aux).
    """
    points, values = refits.points.copy(), refits.twice_nll.copy()
    if model.one_sided:
        for other in _explore(model, free, held):
            rows = np.flatnonzero(other.twice_nll < values + OUT_OF_REACH)  # not where NaN
            starts = np.where(fixed[rows], points[rows], other.parameters)
            found = minimize_starts(
                model, starts, fixed=fixed[rows], data=data[rows], near=other.parameters
            )
            for row, minimum in zip(map(int, rows), found, strict=True):
                if minimum.converged and minimum.twice_nll < values[row] - BELOW_FREE:
                    points[row], values[row] = minimum.parameters, minimum.twice_nll
    changed = int(np.sum(values < refits.twice_nll))
    return replace(refits, points=points, twice_nll=values), changed


def _explore(model: CompiledModel, free: Minimum, held: Mask) -> list[Minimum]:
    """Return the other minima of a fit: on its sides, on theirs, and so on."""
    found, left = [free], [free]
    while left and len(found) <= MOST_MINIMA:
        here = left.pop(0)
        starts = on_other_sides(model, here.parameters, held)
        for other in other_minima(model, here.parameters, starts, held):
            if all(abs(other.twice_nll - m.twice_nll) > BELOW_FREE for m in found):
                found.append(other)
                left.append(other)
    return found[1:]


def lower_scan(
    model: CompiledModel,
    refits: Refits,
    fixed: Mask,
    indices: Sequence[int],
    values: Array,
    shape: tuple[int, ...],
) -> tuple[Refits, int]:
    """Return refits on a grid, and how many are lower from other sides.

    The sides are tried in the corners of the grid, far from the fit; a lower minimum is followed
    from point to neighbour as long as it is lower there.

    Args:
        model: The model.
        refits: In the order of ``values``.
        fixed: What they held, shape (n,).
        indices: The scanned parameters.
        values: Shape (m, len(indices)).
        shape: Of the grid.
    """
    if not model.one_sided or not values.size:
        return refits, 0
    out = Refits(refits.points.copy(), refits.twice_nll.copy(), dict(refits.reasons))
    lowered: set[int] = set()

    def try_from(starts: Array, row: int) -> bool:
        starts = starts.copy()
        starts[:, list(indices)] = values[row]
        if np.isnan(out.twice_nll[row]):
            ends = [m for m in minimize_starts(model, starts, fixed=fixed) if m.converged]
        else:
            ends = other_minima(model, out.points[row], starts, fixed)
        best = min(ends, key=lambda m: m.twice_nll, default=None)
        if best is None or best.twice_nll >= out.twice_nll[row] - BELOW_FREE:
            return False
        out.points[row], out.twice_nll[row] = best.parameters, best.twice_nll
        out.reasons.pop(row, None)
        lowered.add(row)
        return True

    ends = np.all((values == values.min(axis=0)) | (values == values.max(axis=0)), axis=1)
    queue = [
        row for row in map(int, np.flatnonzero(ends & np.isfinite(out.twice_nll)))
        if try_from(on_other_sides(model, out.points[row], fixed), row)
    ]  # fmt: skip
    places = np.stack(np.unravel_index(np.arange(len(values)), shape), axis=1)
    while queue:
        row = queue.pop()
        beside = np.sum(np.abs(places - places[row]), axis=1) == 1
        queue += [
            near for near in map(int, np.flatnonzero(beside))
            if try_from(out.points[row][None], near)
        ]  # fmt: skip
    return out, len(lowered)
