"""A pair between pyhf's parameter and data vectors and the matrices of the fast path, and its fits.

One data set is fitted as carefully as it needs: kinks, then Newton, then a bracket in mu.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.arrays import Array, Mask, for_programs, on_host
from ddphf.likelihood.certificate import EDM_TOLERANCE, free_directions
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.paired.kinks import one_sided_scores
from ddphf.likelihood.paired.model import (
    PairArrays,
    PairPlaces,
    PairStructure,
)
from ddphf.likelihood.paired.newton import NewtonResult, minimize_one
from ddphf.likelihood.paired.profile import PairData

__all__ = ["PairFit", "PairLikelihood", "fit_pair"]

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


@dataclass(frozen=True)
class PairLikelihood:
    """A recognised pair.

    Attributes:
        structure: Static structure.
        arrays: The matrices.
        places: Where everything lies in pyhf's vectors.
        poi: Index of the POI among the global parameters, or None.
        n_main: Number of main-data bins.
        init: Starting values of all parameters.
    """

    structure: PairStructure
    arrays: PairArrays
    places: PairPlaces
    poi: int | None
    n_main: int
    init: Array

    def split(self, data: Any) -> PairData:
        """Split data, shape (..., n_main + n_aux), into the pair's pieces (numpy)."""
        data = np.asarray(data, dtype=float)
        aux = data[..., self.n_main :]

        def take(index: Any) -> Any:
            # A view where the bins are consecutive, as they are in a channel.
            first, last = int(index[0]), int(index[-1])
            if last - first == len(index) - 1 and np.all(np.diff(index) == 1):
                return data[..., first : last + 1]
            return data[..., index]

        def pick(index: Any, other: float) -> Any:
            if aux.shape[-1] == 0:
                return np.full((*data.shape[:-1], len(index)), other)
            return np.where(index >= 0, aux[..., index], other)

        return PairData(
            n=(take(self.places.bins[0]), take(self.places.bins[1])),
            aux=tuple(  # type: ignore[arg-type]
                None if width is None else pick(index, 1.0)
                for index, width in zip(self.places.gamma_data, self.arrays.width, strict=True)
            ),
            centre=pick(self.places.global_data, 0.0),
        )

    def held(self, x: Array, fixed: Mask) -> PairArrays:
        """Return the arrays with held cell parameters as equal bounds; the same shapes."""
        arrays, places = self.arrays, self.places
        if not fixed[places.b].any() and not any(fixed[g[g >= 0]].any() for g in places.gamma):
            return arrays
        is_b = fixed[places.b]
        lower: list[Any] = []
        upper: list[Any] = []
        for index, low, high in zip(
            places.gamma, arrays.gamma_lower, arrays.gamma_upper, strict=True
        ):
            if low is None or high is None:
                lower.append(None)
                upper.append(None)
                continue
            hold = (index >= 0) & fixed[index]
            lower.append(np.where(hold, x[index], low))
            upper.append(np.where(hold, x[index], high))
        return arrays._replace(
            b_lower=for_programs(np.where(is_b, x[places.b], arrays.b_lower)),
            b_upper=for_programs(np.where(is_b, x[places.b], arrays.b_upper)),
            gamma_lower=(lower[0], lower[1]),
            gamma_upper=(upper[0], upper[1]),
        )

    def fit(self, data: Array, x: Array, fixed: Mask) -> PairFit:
        """Fit one data set from ``x``, shape (n,), with ``fixed`` parameters held there."""
        where = self.places.global_
        return fit_pair(
            self.structure, self.held(x, fixed), self.poi, x[where], fixed[where], self.split(data)
        )

    def parameters(self, result: NewtonResult, x: Array, fixed: Mask) -> tuple[Array, Mask]:
        """Return all parameters, shape (..., n), and the cells in which a rate is held at 0.

        Args:
            result: One fit, or many with a leading axis.
            x: Shape (..., n): values of held parameters.
            fixed: Held parameters, shape (..., n).
        """
        x, places = x.copy(), self.places

        def put(index: Any, values: Any) -> None:
            x[..., index] = np.where(fixed[..., index], x[..., index], values)

        put(places.global_, np.asarray(result.theta))
        b = np.asarray(result.b)
        dark = (np.asarray(result.rates[0]) <= 0) | (np.asarray(result.rates[1]) <= 0)
        low, high = self.arrays.b_lower, self.arrays.b_upper
        dark = dark & ~fixed[..., places.b] & (b > low)
        # One rounding step up, so that the rate is 0 or above in any order of summation.
        b = np.where(dark, b * (1 + 4 * np.finfo(float).eps), b)
        put(places.b, np.clip(b, low, high))
        for gamma, index in zip(result.gamma, places.gamma, strict=True):
            put(index[index >= 0], np.asarray(gamma)[..., index >= 0])
        return x, dark

    def errors(self, result: NewtonResult, fixed: Mask) -> Array:
        """Return errors of the global parameters from the profile's Hessian, shape (..., k).

        0 for held parameters, those at a bound, and where the Hessian is singular.
        """
        theta, gradient = np.asarray(result.theta), np.asarray(result.gradient)
        lower, upper = self.arrays.lower, self.arrays.upper
        held = fixed[..., self.places.global_]
        free = free_directions(theta, gradient, held, on_host(lower), on_host(upper))
        hessian = np.asarray(result.hessian)
        diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
        scale = np.where(free, 1 / np.sqrt(np.maximum(diagonal, 1e-300)), 0.0)
        block = hessian * scale[..., :, None] * scale[..., None, :]
        block = block + np.eye(theta.shape[-1]) * ~free[..., None]
        try:
            inverse = np.linalg.inv(block)
        except np.linalg.LinAlgError:
            if theta.ndim == 1:
                return np.zeros(len(theta))
            rows = (jax.tree.map(lambda leaf, j=j: leaf[j], result) for j in range(len(theta)))
            return np.stack([self.errors(r, f) for r, f in zip(rows, fixed, strict=True)])
        variance = np.diagonal(inverse, axis1=-2, axis2=-1)
        return np.asarray(scale * np.sqrt(np.maximum(variance, 0.0)))
