"""Profile (MINOS-like) errors: where -2 ln L, everything else refitted, has risen by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from ddphf.exceptions import FitError
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.sides import lowest_beside

__all__ = ["profile_errors"]

MAX_VALUES = 200

FIRST_STEP = 0.1
"""Where a parameter has no error from the Hessian, of itself or of 1, whichever is larger."""

NO_ROOM, ROOT = 1e-10, 1e-12
"""Distance in a parameter, relative to 1 or itself, within which an edge and a root are looked for
no further, and the root's relative precision: errors are printed to six digits."""

LARGE = 1e6
"""Stands for an infinite rise while a root is looked for."""


def profile_errors(
    model: CompiledModel,
    minimum: Minimum,
    parameter: int,
    *,
    rise: float = 1.0,
) -> tuple[float | None, float | None]:
    """Return the lower (<= 0) and upper (>= 0) error of one parameter.

    Args:
        model: The model.
        minimum: Its certified minimum.
        parameter: Index in ``model.parameters``.
        rise: Rise of -2 ln L: 1 for 68.27 %, 3.841 for 95 %.

    Returns:
        None on a side where the rise is not reached inside the parameter's bounds, nor before a
        rate would become negative: the likelihood ends there. Where it falls to 0, because events
        are where nothing would be expected, the rise is reached before.

    Raises:
        FitError: A fit on the way has no certificate.
    """
    held = model.parameters.fixed.copy()
    held[parameter] = True
    near = minimum.parameters
    best = float(near[parameter])
    known = {best: near}
    scale = float(minimum.errors[parameter])
    scale = scale if scale > 0 else max(abs(best), 1.0) * FIRST_STEP
    seen = model.data[: model.n_main] > 0

    def above(value: float) -> float:
        nonlocal near
        values = near.copy()
        values[parameter] = value
        fit = minimize(model, start=values, fixed=held)
        if not fit.converged:
            rates = model.rates(fit.parameters)
            if np.any(rates < 0) or np.any(rates[seen] == 0):  # no probability at this value
                return float("inf")
            raise FitError(
                f"profile of '{model.parameters.names[parameter]}' at {value:.6g}: {fit.status}"
            )
        fit = lowest_beside(model, fit, parameter, known, fixed=held)
        near = known[value] = fit.parameters
        return fit.twice_nll - minimum.twice_nll - rise

    step, table = scale * np.sqrt(rise), model.parameters
    return (
        _crossing(above, best, -rise, -step, float(table.lower[parameter])),
        _crossing(above, best, -rise, step, float(table.upper[parameter])),
    )


def _crossing(
    above: Callable[[float], float], best: float, start: float, step: float, bound: float
) -> float | None:
    inside, below, at_edge = best, start, False
    for _ in range(MAX_VALUES):
        outside = inside + step
        if (outside - bound) * step > 0:
            outside = bound
        if abs(outside - inside) <= NO_ROOM * max(1.0, abs(inside)):
            return None
        rise = above(outside)
        if np.isinf(rise):  # some rate would be negative, or 0 under events: come closer
            at_edge, step = True, 0.5 * (outside - inside)
            continue
        if rise >= 0:
            return _root(above, {inside: below, outside: rise}) - best
        if outside == bound:
            return None
        inside, below, step = outside, rise, step if at_edge else 2 * step
    return None


def _root(above: Callable[[float], float], ends: dict[float, float]) -> float:
    """Return where the rise is reached, between two values at which it is known.

    At the minimum itself, on a corner, a fit may find no point inside its edges.
    """

    def value(x: float) -> float:
        return ends[x] if x in ends else min(above(x), LARGE)

    tolerance = NO_ROOM * max(1.0, *map(abs, ends))
    return float(brentq(value, *ends, xtol=tolerance, rtol=ROOT))
