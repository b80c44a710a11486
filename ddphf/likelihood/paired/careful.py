"""One data set of a pair, as carefully as it needs: kinks, then Newton, then a bracket in mu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.paired.kinks import one_sided_scores
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.newton import NewtonResult, minimize_one
from ddphf.likelihood.paired.profile import PairData

__all__ = ["PairFit", "fit_pair"]

BISECTIONS = 200
"""A bracket of doubles is halved no more often than some 1 100 times; it ends long before that."""
DOUBLINGS = 60
"""Steps outwards, each twice as long: 1e18 expected errors."""
ASIDE = 1e-3
"""Start beside a corner, in units of the POI or of its error, whichever is smaller."""
FLATTEST = 1e-12
"""Curvature in the POI below which the first step outwards is 1e6."""
ENOUGH_GAIN = 1e-3
"""What a better point inside the bracket could gain, in units of EDM_TOLERANCE: no certificate
depends on it then."""

Run = Callable[[Any, Any, Any, Any], NewtonResult]
"""Fit from a start, with what is held and the bounds, all numpy."""

_scores = jax.jit(one_sided_scores, static_argnums=(0, 2))


class PairFit(NamedTuple):
    """A fit and how it was found.

    Attributes:
        result: Where it stopped.
        at_kink: Whether the POI sits on a corner, certified by the slopes on both sides.
        careful: Whether plain Newton was not enough.
    """

    result: NewtonResult
    at_kink: bool
    careful: bool


def fit_pair(
    structure: PairStructure,
    arrays: PairArrays,
    poi: int | None,
    theta: Any,
    fixed: Any,
    data: PairData,
) -> PairFit:
    """Fit one data set.

    Args:
        structure: Static structure.
        arrays: The model; fixed cells have equal lower and upper bounds.
        poi: Index of the POI among the global parameters, or None.
        theta: Start, shape (k,), numpy.
        fixed: Held parameters, shape (k,), numpy.
        data: One data set, numpy arrays.
    """
    theta, lower, upper = np.array(theta), np.array(arrays.lower), np.array(arrays.upper)

    def run(start: Any, held: Any, lower: Any, upper: Any) -> NewtonResult:
        problem = Problem(arrays, data, held, lower, upper)
        result: NewtonResult = minimize_one(structure, problem, start)
        return result

    if poi is None or fixed[poi]:
        return PairFit(run(theta, fixed, lower, upper), False, False)
    empty = (np.asarray(data.n[0]) == 0) & (np.asarray(data.n[1]) == 0)
    kinked = bool(empty.any()) and lower[poi] <= 0 <= upper[poi]
    if kinked:
        held, at = fixed.copy(), theta.copy()
        held[poi], at[poi] = True, 0.0
        null = run(at, held, lower, upper)
        dark = empty & (np.asarray(null.rates[0]) <= 0) & (np.asarray(null.rates[1]) <= 0)
        if dark.any():
            right, left = map(
                float,
                _scores(structure, arrays, poi, null.theta, null.gradient, dark, null.weights),
            )
            if right <= 0 <= left and left > right:
                return PairFit(null, True, False)
            # The profile has one maximum: the slope at 0 says on which side it is.
            if right > 0:
                lower[poi] = 0.0
            else:
                upper[poi] = 0.0
            theta = np.array(null.theta)
            theta[poi] = ASIDE * np.sign(right if right > 0 else left)
            theta[poi] /= max(1.0, float(np.sqrt(abs(null.hessian[poi, poi]))))
    free = run(theta, fixed, lower, upper)
    # A one-sided bound is no bound of the model: stopping there is no certificate.
    if float(free.edm) < EDM_TOLERANCE and not (kinked and float(free.theta[poi]) == 0.0):
        return PairFit(free, False, False)
    return _bracket(run, poi, np.array(free.theta), fixed, arrays)


def _bracket(run: Run, poi: int, theta: Any, fixed: Any, arrays: PairArrays) -> PairFit:
    """Find the POI where the profiled score changes sign, corners included.

    The other parameters are fitted at every trial POI. The profile has one maximum, so the sign of
    the score brackets it; at a corner the bracket closes on the corner itself.
    """
    held = fixed.copy()
    held[poi] = True
    lower, upper = np.array(arrays.lower), np.array(arrays.upper)

    def at(value: float) -> NewtonResult:
        nonlocal theta
        theta = theta.copy()
        theta[poi] = value
        fit = run(theta, held, lower, upper)
        if np.isfinite(fit.edm):
            theta = np.array(fit.theta)
        result: NewtonResult = fit
        return result

    def score(fit: NewtonResult) -> float:
        return -float(fit.gradient[poi])

    now = at(
        float(np.clip(0.0 if not np.isfinite(theta[poi]) else theta[poi], lower[poi], upper[poi]))
    )
    if not np.isfinite(now.value):
        return PairFit(now, False, True)
    sign = np.sign(score(now))
    if sign == 0:
        return PairFit(now, False, True)
    step = 1.0 / np.sqrt(max(float(now.hessian[poi, poi]), FLATTEST))
    inner, outer = now, now
    for _ in range(DOUBLINGS):
        value = float(np.clip(float(inner.theta[poi]) + sign * step, lower[poi], upper[poi]))
        outer = at(value)
        if np.sign(score(outer)) != sign or value in (lower[poi], upper[poi]):
            break
        inner, step = outer, 2 * step
    a, b = float(inner.theta[poi]), float(outer.theta[poi])
    if np.sign(score(outer)) == sign:  # the maximum is at the bound itself
        return PairFit(outer, False, True)
    for _ in range(BISECTIONS):
        middle = 0.5 * (a + b)
        if middle in (a, b):
            break
        fit = at(middle)
        if np.sign(score(fit)) == sign:
            a, inner = middle, fit
        else:
            b, outer = middle, fit
        # What a better point inside the bracket could gain is at most width x slope.
        gain = 2 * abs(b - a) * max(abs(score(inner)), abs(score(outer)))
        if gain < ENOUGH_GAIN * EDM_TOLERANCE:
            break
    best = inner if float(inner.value) <= float(outer.value) else outer
    gain = 2 * abs(b - a) * max(abs(score(inner)), abs(score(outer)))
    edm = jnp.asarray(max(gain, float(best.edm)))
    return PairFit(best._replace(edm=edm), True, True)
