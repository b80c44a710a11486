"""Directions that the data do not determine: dead parameters, singular Hessians, valleys.

A certificate is local and knows nothing of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError
from ddphf.likelihood.certificate import Minimum, measure_rounding
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct.matrix import factorise, factorise_raised
from ddphf.likelihood.reference import ReferenceModel
from ddphf.text import list_names

__all__ = ["find_dead", "moved_to", "refuse_flat", "refuse_singular"]

INFLATION = 1e5
"""An error so many times larger than with all others held is suspected."""

SINGULAR_TANGENT = 1e6
"""The same of an error from the derivatives of the rates alone. What is left of the slope at a
minimum bends the Hessian along a curved valley, the more the fewer the counts; of these it bends
none, and along a flat direction rounding leaves 3e6 or more, whatever the counts."""

NUMERIC = 1e7
"""An error so many times that with all others held is rounding: its matrix is singular in double
precision."""

SINGULAR = 1e-13
"""Eigenvalue of the Hessian, scaled to a unit diagonal, below which a direction is flat."""

Refit = Callable[[Array, Mask], Minimum | None]
"""A fit from a point with some parameters held; None where no engine is fast enough."""


def refuse_flat(
    reference: ReferenceModel,
    model: CompiledModel | None,
    minimum: Minimum,
    fixed: Mask,
    what: str,
    refit: Refit,
) -> None:
    """Refuse a minimum that is a valley: other parameters can take over what one does.

    Args:
        reference: The measurement.
        model: The same compiled, or None: then the Hessian alone shows what to suspect.
        minimum: Certified.
        fixed: Shape (n,): the parameters that the fit held.
        what: Name of the fit, for the message.
        refit: Follows what may be a valley.

    Raises:
        FitError: Names them.
    """
    # Whether an error is true (a narrow valley at large counts) or rounding (a flat one) only a
    # step along it tells.
    inflation = minimum.errors * np.sqrt(np.maximum(minimum.stiffness, 0.0))
    suspected = np.flatnonzero(inflation > INFLATION)
    table = reference.parameters
    reach = table.upper - table.lower
    sure = (minimum.errors > reach) | (inflation > NUMERIC)
    flat = [int(i) for i in suspected if sure[i]]
    if not flat and model is not None:
        tangent = _inflation_of_tangent(model, minimum, fixed)
        suspected = np.flatnonzero((inflation > INFLATION) | (tangent > SINGULAR_TANGENT))
    if not flat and len(suspected):
        # The one with the least room: what takes over its effect meets no bound before it does.
        room = reach[suspected] * np.sqrt(minimum.stiffness[suspected])
        if _is_valley(reference, minimum, fixed, int(suspected[np.argmin(room)]), refit):
            flat = suspected.tolist()
    if flat:
        _refuse_undetermined(reference, flat, what)


def refuse_singular(reference: ReferenceModel, point: Array, fixed: Mask, what: str) -> None:
    """Refuse where a fit failed because the Hessian vanishes along some parameters.

    Args:
        reference: The measurement.
        point: Where the fit stopped, shape (n,).
        fixed: Held parameters, shape (n,).
        what: Name of the fit, for the message.

    Raises:
        FitError: Names them.
    """
    table = reference.parameters
    free = np.flatnonzero(~fixed & (point > table.lower) & (point < table.upper))
    hessian = reference.hessian(point)[np.ix_(free, free)]
    if not free.size or not np.all(np.isfinite(hessian)) or np.any(np.diag(hessian) <= 0):
        return
    scale = 1.0 / np.sqrt(np.diag(hessian))
    values, vectors = np.linalg.eigh(hessian * scale[:, None] * scale[None, :])
    if abs(values[0]) <= SINGULAR * len(free):
        _refuse_undetermined(reference, free[np.abs(vectors[:, 0]) > 0.1], what)


def _refuse_undetermined(reference: ReferenceModel, which: Iterable[int], what: str) -> None:
    names = [reference.parameters.names[i] for i in which]
    raise FitError(
        f"{reference.measurement}, {what}: the data do not determine {list_names(names)}: "
        "another parameter can take over their effect; fix one of them"
    )


def _inflation_of_tangent(model: CompiledModel, minimum: Minimum, fixed: Mask) -> Array:
    """Return errors in units of those with all others held, from the expected Hessian, shape (n,).

    It is made of the derivatives of the rates and of the constraints' curvature. 0 where a
    parameter has no error.
    """
    direct = model.direct
    at = direct.evaluate(minimum.parameters[None], model.data).row(0)
    expected = direct.information(at, direct.rate_slopes(at))
    stiffness = direct.split.diagonal(expected)
    free = ~fixed & (minimum.errors > 0) & (stiffness > 0)
    factored = factorise(expected, direct.split, free)
    factored = factored or factorise_raised(expected, direct.split, free)
    if factored is None:
        return np.zeros(len(free))
    return np.sqrt(np.maximum(factored.variances() * stiffness, 0.0))


def _is_valley(
    reference: ReferenceModel, minimum: Minimum, fixed: Mask, index: int, refit: Refit
) -> bool:
    """Whether 2NLL stays where it is one error (or half the way to a bound) away.

    In growing steps, each from where the last one points to: a valley is followed along its
    floor, which a single step of the full length would leave.
    """
    table, best = reference.parameters, minimum.parameters
    room = (best[index] - table.lower[index], table.upper[index] - best[index])
    last = min(float(minimum.errors[index]), 0.5 * float(max(room)))
    first = min(10.0 / float(np.sqrt(minimum.stiffness[index])), last)
    sign = 1.0 if room[1] >= room[0] else -1.0
    held = fixed.copy()
    held[index] = True
    direction = np.zeros(len(best))
    for step in np.geomspace(first, last, 2 + int(np.log10(last / first))):
        start = np.clip(best + direction * step, table.lower, table.upper)
        start = np.where(held, best, start)
        there = refit(moved_to(start, index, float(best[index] + sign * step)), held)
        if there is None or not there.converged:
            return False
        if there.twice_nll - minimum.twice_nll > 0.01 * (step / minimum.errors[index]) ** 2 + (
            measure_rounding(reference)
        ):
            return False
        direction = (there.parameters - best) / step
    return True


def moved_to(parameters: Array, index: int, value: float) -> Array:
    """Return the parameters with another value of one of them.

    Example:
        >>> moved_to(np.zeros(2), 1, 3.0)
        array([0., 3.])
    """
    moved = parameters.copy()
    moved[index] = value
    return moved


def find_dead(reference: ReferenceModel, start: Array, fixed: Mask) -> Mask:
    """Return True for free unconstrained parameters that change no expected count, shape (n,).

    :meth:`CompiledModel.without_effect` with pyhf's rates: one call for each parameter takes long.

    Args:
        reference: The measurement.
        start: Values of the held parameters, shape (n,): at mu = 0 what scales the signal is dead.
        fixed: Held parameters, shape (n,).
    """
    table, config = reference.parameters, reference.model.config
    inside = 0.5 * (table.lower + table.upper) + 0.1234
    constrained = np.zeros_like(fixed)
    for name in config.par_order:
        constrained[config.par_slice(name)] = config.param_set(name).constrained
    # A free factor that starts at 0 hides what it multiplies.
    around = np.where((table.init == 0) & ~constrained, inside + 1.0, table.init)
    around = np.where(fixed, start, around)
    before, dead = reference.rates(around), np.zeros_like(fixed)
    for index in np.flatnonzero(~fixed & ~constrained):
        moved = moved_to(around, int(index), float(inside[index]))
        dead[index] = np.array_equal(before, reference.rates(moved))
    return dead
