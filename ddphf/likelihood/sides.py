"""Several minima of one likelihood: the lowest that starts on other sides lead to.

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
from ddphf.likelihood.direct.approach import approach
from ddphf.likelihood.direct.newton import TOGETHER
from ddphf.likelihood.fits import has_corners, minimize, minimize_starts
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["lowest_beside", "lowest_of_sides", "on_other_sides", "other_minima"]

SAME_SIDE = 0.5
"""So far out on a side, in sigma, a start at 1 leads back."""

ELSEWHERE = 1e-3
"""Of a parameter, or of 1: a cheap descent that ends nearer to a known minimum has found it."""

FEW = 8
"""Starts that full steps serve as fast as cheap ones, which take a Hessian first."""

ANOTHER = 0.2
"""In sigma: minima on two sides are further apart, in a parameter that has two."""


def on_other_sides(model: CompiledModel, point: Array, fixed: Mask) -> Array:
    """Return a point with one of the one-sided parameters at -1 or +1 sigma, shape (m, n).

    Args:
        model: The model.
        point: Shape (n,).
        fixed: Held parameters, shape (n,), which stay.
    """
    moves = [
        (i, side) for i in model.one_sided if not fixed[i]
        for side in (-1.0, 1.0) if side * point[i] < SAME_SIDE
    ]  # fmt: skip
    out = np.repeat(point[None], len(moves), axis=0)
    for row, (i, side) in zip(out, moves, strict=True):
        row[i] = side
    return out


def other_minima(
    model: CompiledModel, point: Array, starts: Array, fixed: Mask, data: Array | None = None
) -> list[Minimum]:
    """Return the minima that starts lead to, without errors, the lowest first.

    Args:
        model: The model.
        point: A known minimum, shape (n,), which is left out.
        starts: Shape (m, n).
        fixed: What is held, shape (n,).
        data: Main and auxiliary data, shape (n_main + n_aux,); the observed by default.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin())
        >>> best = minimize(model).parameters
        >>> other_minima(model, best, np.array([[0.5, 0.9]]), model.parameters.fixed)
        []
    """
    data = model.data if data is None else data
    held = fixed | model.without_effect(point, fixed)
    if len(starts) > FEW and not has_corners(model, data):
        # Most come back, and what comes back needs no certificate.
        problems = [model.problem(data, held)] * TOGETHER
        parts = [
            approach(problems[: len(some)], some, point, data)
            for some in (starts[i : i + TOGETHER] for i in range(0, len(starts), TOGETHER))
        ]
        starts = np.concatenate([starts[:0], *parts])
        starts = starts[_is_elsewhere(starts, point)]
    found = minimize_starts(model, starts, fixed=held, data=data)
    others = [m for m in found if m.converged and _is_elsewhere(m.parameters, point)]
    return sorted(others, key=lambda m: m.twice_nll)


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
    while True:  # from a lower one on: several parameters may have changed sides
        starts = on_other_sides(model, minimum.parameters, fixed)
        found = _lowest(model, minimum, starts, fixed, data)
        if found is minimum:
            return minimum
        minimum = found


def lowest_beside(
    model: CompiledModel, minimum: Minimum, parameter: int, known: Mapping[float, Array],
    *, fixed: Mask, data: Array | None = None,
) -> Minimum:  # fmt: skip
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
    sides = list(model.one_sided)
    moved = np.abs(starts[:, sides] - minimum.parameters[sides])
    starts = starts[np.any(moved > ANOTHER, axis=1)]
    return _lowest(model, minimum, starts, fixed, data)


def _is_elsewhere(points: Array, known: Array) -> Mask:
    far = np.abs(points - known) > ELSEWHERE * np.maximum(1.0, np.abs(known))
    return np.asarray(np.any(far, axis=-1))


def _lowest(
    model: CompiledModel, minimum: Minimum, starts: Array, fixed: Mask, data: Array | None
) -> Minimum:
    if not model.one_sided or not len(starts):
        return minimum
    others = other_minima(model, minimum.parameters, starts, fixed, data)
    if not others or others[0].twice_nll >= minimum.twice_nll - BELOW_FREE:
        return minimum
    held = fixed | model.without_effect(minimum.parameters, fixed)
    again = minimize(model, data=data, start=others[0].parameters, fixed=held)
    return again if again.converged and again.twice_nll < minimum.twice_nll else minimum
