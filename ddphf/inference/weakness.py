"""Where bounds know more of a parameter than the data do, and whose bounds they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ddphf.inference.suspicions import list_names
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel

__all__ = ["warn_of_weakness"]


def warn_of_weakness(
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
