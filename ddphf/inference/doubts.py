"""Doubts about certified fits: other minima, bounds that they are at, rates at 0, rounding.

A certificate is local. Where a nuisance parameter moves some bin the same way at +1 and -1 sigma
there may be a minimum on either side. A factor that ends at its bound may have left its work to
another that multiplies the same yields. Stock optimizers report whichever they fall into.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ddphf.arrays import Mask
from ddphf.exceptions import FitError
from ddphf.inference.attempts import Attempts, Fit, moved_to, refuse_flat
from ddphf.likelihood.certificate import Minimum, measure_rounding
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import edge_terms
from ddphf.likelihood.fits import minimize, minimize_starts
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Stage
from ddphf.statistics.signed import BELOW_FREE
from ddphf.text import list_names

__all__ = ["leads_lower", "try_other_starts", "warn_of_fits"]

Move = tuple[int, float, bool]
"""A parameter, where it starts, and whether all others start where they are best."""


def try_other_starts(attempts: Attempts, fit: Fit, fixed: Mask, what: str, say: Stage) -> Fit:
    """Return the lowest minimum that a fit and other starts lead to.

    Args:
        attempts: Of the measurement.
        fit: A fit that succeeded.
        fixed: Shape (n,): the parameters that it held.
        what: Its name, for messages.
        say: Called with a line where there are other starts.

    Returns:
        That fit itself, or a lower one with a warning; a failure where another minimum, as good,
        is a valley.
    """
    reference, minimum = attempts.reference, fit.minimum
    table = reference.parameters
    stuck = _find_stuck(reference, minimum)
    if attempts.model is None:
        if not reference.one_sided:
            return fit
        return fit.warned(
            "one-sided variations may make several minima, and one start was tried: "
            + list_names([table.names[i] for i in reference.one_sided])
        )
    sides, middle = reference.one_sided, (table.lower + table.upper) / 2
    moves = [(i, side, own) for own in (False, True) for i in sides for side in (-1.0, 1.0)]
    moves += [(i, middle[i], False) for i in stuck]
    if not moves:
        return fit
    say(f"{reference.measurement}: {what}, {len(moves)} more starts")
    fixed = fixed | attempts.model.without_effect(minimum.parameters, fixed)
    try:
        best = _descend(attempts, attempts.model, minimum, fixed, moves, what)
    except FitError as error:
        return replace(fit, failure=str(error))
    if best is minimum:
        return fit
    names = list_names([table.names[i] for i in (*sides, *stuck)])
    return replace(fit, minimum=best).warned(
        f"{what}: the likelihood has several minima ({names}); other starts lowered 2NLL by "
        f"{minimum.twice_nll - best.twice_nll:.4g}, and the lowest found is reported: check these "
        "parameters"
    )


def _descend(
    attempts: Attempts,
    model: CompiledModel,
    minimum: Minimum,
    fixed: Mask,
    moves: list[Move],
    what: str,
) -> Minimum:
    """Return the lowest minimum.

    Raises:
        FitError: One that is as good is a valley.
    """
    best = minimum
    while moves:
        starts = [
            moved_to(best.parameters if own else model.parameters.init, i, x) for i, x, own in moves
        ]
        held = np.where(fixed, minimum.parameters, np.stack(starts))
        found = minimize_starts(model, held, fixed=fixed, near=best.parameters)
        good = [m for m in found if m.converged and m.twice_nll < best.twice_nll + BELOW_FREE]
        for trial in good:
            if np.any(np.abs(trial.parameters - best.parameters) > 0.01 * best.errors):
                # As good, but elsewhere.
                trial = minimize(model, start=trial.parameters, fixed=fixed)
                refuse_flat(attempts.reference, model, trial, fixed, what, attempts.first)
        lowest = min(good, key=lambda m: m.twice_nll, default=best)
        if not lowest.twice_nll < best.twice_nll - BELOW_FREE:
            break
        best = minimize(model, start=lowest.parameters, fixed=fixed)
        moves = [move for move in moves if move[2]]  # from there on
    return best


def leads_lower(model: CompiledModel | None, null: Minimum, free: Minimum) -> bool:
    """Return whether the free fit ends lower if it starts at the null.

    That the null itself is lower tells it. With one-sided variations it may lie in another
    minimum, which only is lower once the POI is free.
    """
    if null.twice_nll - free.twice_nll < -BELOW_FREE:
        return True
    if model is None or not model.one_sided:
        return False
    (again,) = minimize_starts(model, null.parameters[None])
    return again.converged and again.twice_nll < free.twice_nll - BELOW_FREE


def _find_stuck(reference: ReferenceModel, minimum: Minimum) -> list[int]:
    """Return the free factors of whole samples that a minimum leaves at a bound.

    Per-bin factors are left out: at low counts many of them sit there.
    """
    config, found = reference.model.config, []
    for name in config.par_order:
        where = config.par_slice(name)
        if where.stop - where.start == 1 and not config.param_set(name).constrained:
            found += [where.start] if minimum.at_bound[where.start] else []
    return found


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
