"""Profiles of a likelihood with several minima: the lowest fit at each held value.

A nuisance parameter that moves some bin the same way at +1 and -1 sigma may have a minimum on
either side. Which of them is lower changes along a profile, and a fit that starts at the best one
of all stays on its side. So the other sides are tried where a profile leaves the known values, and
what is found there is followed back between them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize, minimize_starts
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["lowest_beside", "lowest_of_sides", "on_other_sides"]


def on_other_sides(model: CompiledModel, point: Array, fixed: Mask) -> Array:
    """Return a point with one of the one-sided parameters at -1 or +1 sigma, shape (m, n).

    Args:
        model: The model.
        point: Shape (n,).
        fixed: Held parameters, shape (n,), which stay.
    """
    moves = [(i, side) for i in model.one_sided if not fixed[i] for side in (-1.0, 1.0)]
    out = np.repeat(point[None], len(moves), axis=0)
    for row, (i, side) in zip(out, moves, strict=True):
        row[i] = side
    return out


def lowest_of_sides(
    model: CompiledModel, minimum: Minimum, fixed: Mask, data: Array | None = None
) -> Minimum:
    """Return the lowest minimum that a fit and starts on its other sides lead to.

    Args:
        model: The model.
        minimum: A certified fit.
        fixed: What it held, shape (n,).
        data: Main and auxiliary data; the observed by default.
    """
    return _lowest(model, minimum, on_other_sides(model, minimum.parameters, fixed), fixed, data)


def lowest_beside(
    model: CompiledModel,
    minimum: Minimum,
    parameter: int,
    known: Mapping[float, Array],
    *,
    fixed: Mask,
    data: Array | None = None,
) -> Minimum:
    """Return the lowest minimum with one parameter held that is found beside known ones.

    Args:
        model: The model.
        minimum: A certified fit, the parameter held.
        parameter: Its index.
        known: The minima at other values of it, by value.
        fixed: What the fit held, shape (n,).
        data: Main and auxiliary data; the observed by default.
    """
    value = float(minimum.parameters[parameter])
    below, above = [x for x in known if x < value], [x for x in known if x > value]
    if not (below and above):
        return lowest_of_sides(model, minimum, fixed, data)
    starts = np.stack([known[max(below)], known[min(above)]])
    starts[:, parameter] = value
    return _lowest(model, minimum, starts, fixed, data)


def _lowest(
    model: CompiledModel, minimum: Minimum, starts: Array, fixed: Mask, data: Array | None
) -> Minimum:
    if not model.one_sided:
        return minimum
    held = fixed | model.without_effect(minimum.parameters, fixed)
    found = minimize_starts(model, starts, fixed=held, data=data)
    lower = [m for m in found if m.converged and m.twice_nll < minimum.twice_nll - BELOW_FREE]
    if not lower:
        return minimum
    best = min(lower, key=lambda m: m.twice_nll)
    again = minimize(model, data=data, start=best.parameters, fixed=held)
    return again if again.converged and again.twice_nll < minimum.twice_nll else minimum
