"""Profile (MINOS-like) errors: where -2 ln L, everything else refitted, has risen by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from ddphf.exceptions import FitError
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.minimum import Array, Mask, Minimum

__all__ = ["profile_errors"]


def profile_errors(
    model: CompiledModel,
    minimum: Minimum,
    parameter: int,
    *,
    data: Array | None = None,
    fixed: Mask | None = None,
    rise: float = 1.0,
) -> tuple[float | None, float | None]:
    """Return the lower (<= 0) and upper (>= 0) error of one parameter.

    Args:
        model: The model.
        minimum: Its certified minimum.
        parameter: Index in ``model.parameters``.
        data: Main and auxiliary data; the observed by default.
        fixed: Held parameters of that fit; the measurement's by default.
        rise: Rise of -2 ln L: 1 for 68.27 %, 3.841 for 95 %.

    Returns:
        None on a side where the rise is not reached inside the parameter's bounds.

    Raises:
        FitError: A fit on the way has no certificate.
    """
    held = (model.parameters.fixed if fixed is None else fixed).copy()
    held[parameter] = True
    start = minimum.parameters.copy()
    best = float(start[parameter])
    scale = float(minimum.errors[parameter])
    scale = scale if scale > 0 else max(abs(best), 1.0) * 0.1

    def above(value: float) -> float:
        values = minimum.parameters.copy()
        values[parameter] = value
        fit = model.minimize(data=data, start=values, fixed=held)
        if not fit.converged:
            raise FitError(
                f"profile of '{model.parameters.names[parameter]}' at {value:.6g}: {fit.status}"
            )
        return fit.twice_nll - minimum.twice_nll - rise

    return (
        _crossing(above, best, -scale * np.sqrt(rise), float(model.parameters.lower[parameter])),
        _crossing(above, best, scale * np.sqrt(rise), float(model.parameters.upper[parameter])),
    )


def _crossing(
    above: Callable[[float], float], best: float, step: float, bound: float
) -> float | None:
    inside = best
    for _ in range(60):
        outside = best + step
        if (outside - bound) * step > 0:
            outside = bound
        if outside == inside:
            return None
        if above(outside) >= 0:
            root = brentq(above, inside, outside, xtol=1e-10 * max(1.0, abs(outside)), rtol=1e-12)
            return float(root) - best
        if outside == bound:
            return None
        inside, step = outside, 2 * step
    return None
