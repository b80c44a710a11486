"""What a user should know of certified fits: bounds that they are at, rates at 0, rounding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ddphf.arrays import Mask
from ddphf.likelihood.certificate import Minimum, measure_rounding
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import edge_terms
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.text import list_names

__all__ = ["warn_of_fits"]

NO_BACKGROUND = 1e-6
"""A lower bound of a per-bin factor below this only keeps logarithms finite."""

NOTICEABLE = 1e-3
"""Rounding of q0 that is said."""


def warn_of_fits(
    reference: ReferenceModel, model: CompiledModel | None, free: Minimum, null: Minimum | None
) -> Iterator[str]:
    """Yield sentences about certified fits.

    Args:
        reference: The measurement.
        model: The same compiled, where it compiles.
        free: Its fit with everything free.
        null: Its fit at mu = 0, where there is one.
    """
    if null is not None and (noise := measure_rounding(reference)) > NOTICEABLE:
        yield f"the counts are so large that rounding alone moves q0 by about {noise:.1g}"
    yield from _warn_of_weakness(reference, model, free)
    table = reference.parameters
    held = table.fixed.copy()
    yield from _warn_of_bounds(reference, model, "free", free, held)
    if null is not None and table.poi is not None:
        held[table.poi] = True
        yield from _warn_of_bounds(reference, model, "null", null, held)


def _warn_of_bounds(
    reference: ReferenceModel,
    model: CompiledModel | None,
    fit: str,
    minimum: Minimum,
    fixed: Mask,
) -> Iterator[str]:
    if bins := _find_bins_at_zero(reference, model, minimum, fixed):
        yield (
            f"{fit} fit: without the condition that no rate is negative it would go on: the "
            f"expected rate of {list_names(bins)} is held at 0, and errors hold on the other side "
            "only"
        )
    if names := list(_name_bounds(reference, minimum)):
        yield (
            f"{fit} fit: {len(names)} parameter{'s' * (len(names) > 1)} at a bound of the "
            f"measurement: {list_names(names)}"
        )


def _find_bins_at_zero(
    reference: ReferenceModel, model: CompiledModel | None, minimum: Minimum, fixed: Mask
) -> list[str]:
    """Return the empty bins whose rate a fit holds at 0; in a pair that is ordinary.

    Args:
        reference: The measurement.
        model: The same compiled, where it compiles.
        minimum: Of the fit.
        fixed: Shape (n,): the parameters that it held.
    """
    if model is None or model.pair is not None:
        return []
    free = ~fixed & ~minimum.at_bound
    held = edge_terms(model.direct, minimum.parameters, free, model.data).multiplier > 0
    return [
        f"channel '{channel}', bin {index}"
        for channel, where in reference.channel_slices.items()
        for index in np.flatnonzero(held[where])
    ]


def _name_bounds(reference: ReferenceModel, minimum: Minimum) -> Iterator[str]:
    """Yield the parameters at a bound of the measurement."""
    table = reference.parameters
    # Per-bin factors at a lower bound of 1e-10 are bins without background: no bound.
    natural = (table.lower >= 0) & (table.lower < NO_BACKGROUND)
    natural &= minimum.parameters <= table.lower
    if table.poi is not None:
        natural[table.poi] = False
    for index in np.flatnonzero(minimum.at_bound & ~natural):
        yield table.names[index]


def _warn_of_weakness(
    reference: ReferenceModel, model: CompiledModel | None, free: Minimum
) -> Iterator[str]:
    """Yield sentences about errors wider than the bounds, and about a bound that is pyhf's.

    Args:
        reference: The measurement.
        model: The same compiled, where it compiles.
        free: Its fit with everything free.
    """
    table, poi = reference.parameters, reference.parameters.poi
    if poi is not None and free.at_bound[poi] and model is not None:
        if free.errors[poi] == 0:
            yield from _weak_at_bound(model, free, poi)
        if not reference.states_poi_bounds and free.parameters[poi] >= table.upper[poi]:
            yield (
                f"free fit: the upper bound {table.upper[poi]:g} of '{table.names[poi]}' is "
                "pyhf's default, the measurement states none; --poi-bounds LOW,HIGH sets others"
            )
    reach = table.upper - table.lower
    if weak := np.flatnonzero(free.errors > reach).tolist():
        first = weak[0]
        yield (
            f"free fit: the error of {list_names([table.names[i] for i in weak])} is wider than "
            f"the bounds ({free.errors[first]:.4g} of '{table.names[first]}', which may move by "
            f"{reach[first]:.4g}): the data hardly constrain it"
        )


def _weak_at_bound(model: CompiledModel, free: Minimum, poi: int) -> Iterator[str]:
    """At a bound no error tells, 2NLL has a slope: how far does it rise to the other bound?"""
    table = model.parameters
    at_lower = free.parameters[poi] <= table.lower[poi]
    start, fixed = free.parameters.copy(), table.fixed.copy()
    start[poi] = float(table.upper[poi] if at_lower else table.lower[poi])
    fixed[poi] = True
    moved = minimize(model, start=start, fixed=fixed)
    rise = moved.twice_nll - free.twice_nll
    if moved.converged and rise < 1.0:
        yield (
            f"free fit: '{table.names[poi]}' is at its bound {free.parameters[poi]:g}, and its "
            f"error there is wider than the bounds: 2NLL rises by {rise:.3g} up to "
            f"{start[poi]:g}, so the data hardly constrain it"
        )
