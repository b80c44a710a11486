"""Damped Newton for any compiled model: arrowhead steps, bounds by an active set.

A step is accepted only where no rate is negative and -ln L does not rise, so that the path never
leaves the region where the likelihood is a probability. One data set per call; ``jax.vmap`` makes
it a batch. Data, templates, bounds, starting point and the fixed mask are inputs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.likelihood.arrays import Codes, ModelArrays
from ddphf.likelihood.arrowhead import Arrowhead, Cells, arrowhead, inverse_diagonal, solve
from ddphf.likelihood.pair_newton import ROUNDING

__all__ = ["GeneralResult", "certify_point", "minimize_general", "minimize_general_batch"]

Array = Any
MAX_STEPS = 200
ENOUGH = 1e-14


class GeneralResult(NamedTuple):
    """A point and its certificate, in units of -2 ln L.

    Attributes:
        parameters: Shape (n,).
        edm: g^T H^-1 g / 2 over the free directions; inf where H is not positive definite.
        projected: Largest absolute component of the gradient over the free directions.
        errors: Shape (n,): square root of the diagonal of the inverse Hessian of -ln L; 0 where
            not free.
        free: Shape (n,): the free directions.
        rates: Shape (bins,).
        steps: Newton steps.
        physical: Whether no rate is negative, and none is 0 where events were seen.
    """

    parameters: Array
    edm: Array
    projected: Array
    errors: Array
    free: Array
    rates: Array
    steps: Array
    physical: Array


class _State(NamedTuple):
    x: Array
    value: Array
    rate: Array
    gradient: Array
    hessian: Arrowhead
    damping: Array
    edm: Array
    steps: Array


def _free(x: Array, gradient: Array, fixed: Array, lower: Array, upper: Array) -> Array:
    pushed = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
    return ~fixed & ~pushed


def _physical(rate: Array, counts: Array) -> Array:
    return jnp.all((rate > 0) | ((rate == 0) & (counts <= 0)))


def _edm(cells: Cells, state_gradient: Array, hessian: Arrowhead, free: Array) -> Array:
    step = solve(hessian, cells, state_gradient, free, jnp.zeros(()))
    edm = jnp.sum(jnp.where(free, state_gradient * step, 0.0))
    return jnp.where(jnp.isfinite(edm) & (edm >= 0), edm, jnp.inf)


def minimize_general(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: Array,
    fixed: Array,
    lower: Array,
    upper: Array,
    data: Array,
) -> GeneralResult:
    """Minimise -ln L of one data set.

    Args:
        codes: Static codes.
        arrays: The model.
        cells: Global and local parameters.
        start: Shape (n,); held parameters keep these values.
        fixed: True for parameters to hold, shape (n,).
        lower: Bounds, shape (n,).
        upper: Bounds.
        data: Main and auxiliary data.
    """
    counts = data[: arrays.nominal.shape[0]]
    x = jnp.where(fixed, start, jnp.clip(start, lower, upper))

    def evaluate(x: Array) -> tuple[Array, Array, Array, Arrowhead]:
        return arrowhead(codes, arrays, cells, x, data)

    def body(s: _State) -> _State:
        free = _free(s.x, s.gradient, fixed, lower, upper)
        step = solve(s.hessian, cells, s.gradient, free, s.damping)
        solved = jnp.all(jnp.isfinite(step))
        trial = jnp.where(free & solved, jnp.clip(s.x - step, lower, upper), s.x)
        value, rate, gradient, hessian = evaluate(trial)
        slack = 1e-13 * (1.0 + jnp.abs(s.value))
        better = solved & _physical(rate, counts) & (value <= s.value + slack)
        new = (trial, value, rate, gradient, hessian)
        old = (s.x, s.value, s.rate, s.gradient, s.hessian)
        x, value, rate, gradient, hessian = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), new, old
        )
        damping = jnp.where(
            better,
            jnp.where(s.damping < 1e-4, 0.0, s.damping / 10.0),
            jnp.maximum(10.0 * s.damping, 1e-3),
        )
        edm = _edm(cells, gradient, hessian, _free(x, gradient, fixed, lower, upper))
        # A step this near that does not quarter the EDM shows rounding: an end, as a rejected one.
        damping = jnp.where((edm < ROUNDING) & (edm > 0.25 * s.edm), jnp.inf, damping)
        return _State(x, value, rate, gradient, hessian, damping, edm, s.steps + 1)

    value, rate, gradient, hessian = evaluate(x)
    edm = _edm(cells, gradient, hessian, _free(x, gradient, fixed, lower, upper))
    state = _State(x, value, rate, gradient, hessian, jnp.zeros(()), edm, jnp.zeros((), int))
    state = jax.lax.while_loop(
        lambda s: (s.edm > ENOUGH) & (s.steps < MAX_STEPS) & (s.damping < 1e12), body, state
    )
    return _result(cells, state, fixed, lower, upper, counts)


def _result(
    cells: Cells, state: _State, fixed: Array, lower: Array, upper: Array, counts: Array
) -> GeneralResult:
    free = _free(state.x, state.gradient, fixed, lower, upper)
    variance = inverse_diagonal(state.hessian, cells, free)
    return GeneralResult(
        parameters=state.x,
        edm=_edm(cells, state.gradient, state.hessian, free),
        projected=2.0 * jnp.max(jnp.abs(jnp.where(free, state.gradient, 0.0))),
        errors=jnp.sqrt(jnp.maximum(variance, 0.0)),
        free=free,
        rates=state.rate,
        steps=state.steps,
        physical=_physical(state.rate, counts) & jnp.isfinite(state.value),
    )


@partial(jax.jit, static_argnums=0)
def minimize_one(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: Array,
    fixed: Array,
    lower: Array,
    upper: Array,
    data: Array,
) -> GeneralResult:
    """Compiled :func:`minimize_general`."""
    return minimize_general(codes, arrays, cells, start, fixed, lower, upper, data)


@partial(jax.jit, static_argnums=0)
def minimize_general_batch(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: Array,
    fixed: Array,
    lower: Array,
    upper: Array,
    data: Array,
) -> GeneralResult:
    """Compiled batch: start, fixed, bounds and data have a leading axis."""
    result: GeneralResult = jax.vmap(minimize_general, in_axes=(None, None, None, 0, 0, 0, 0, 0))(
        codes, arrays, cells, start, fixed, lower, upper, data
    )
    return result


@partial(jax.jit, static_argnums=0)
def certify_point(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    x: Array,
    fixed: Array,
    lower: Array,
    upper: Array,
    data: Array,
) -> GeneralResult:
    """Return the certificate of a point found by other means, with the exact joint Hessian."""
    counts = data[: arrays.nominal.shape[0]]
    value, rate, gradient, hessian = arrowhead(codes, arrays, cells, x, data)
    zero = jnp.zeros(())
    state = _State(x, value, rate, gradient, hessian, zero, zero, jnp.zeros((), int))
    return _result(cells, state, fixed, lower, upper, counts)


@partial(jax.jit, static_argnums=0)
def global_covariance(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    x: Array,
    fixed: Array,
    lower: Array,
    upper: Array,
    data: Array,
) -> Array:
    """Return the inverse Hessian's global block, shape (k, k), 0 outside the free directions."""
    _, _, gradient, hessian = arrowhead(codes, arrays, cells, x, data)
    free = _free(x, gradient, fixed, lower, upper)

    def column(parameter: Array) -> Array:
        right = jnp.zeros_like(x).at[parameter].set(1.0)
        return solve(hessian, cells, right, free, jnp.zeros(()))[cells.global_]

    return jax.vmap(column)(cells.global_)
