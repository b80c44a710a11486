"""Damped Newton for any compiled model: arrowhead steps, bounds by an active set.

A step that fails is bent along the bounds (:mod:`ddphf.likelihood.general.bending`), then damped.
One is accepted only where no rate is negative and -ln L does not rise, so that the path never
leaves the region where the likelihood is a probability. One data set per call; ``jax.vmap`` makes
it a batch. Data, templates, bounds, starting point and the fixed mask are inputs.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import JaxArray
from ddphf.likelihood.certificate import EDM_ROUNDING, free_directions
from ddphf.likelihood.general.arrays import Codes, ModelArrays
from ddphf.likelihood.general.arrowhead import (
    Cells,
    inverse,
    masked,
    multiply,
    read_diagonal,
    solve,
)
from ddphf.likelihood.general.bending import bend
from ddphf.likelihood.general.derivatives import Point, evaluate

__all__ = [
    "GeneralResult",
    "is_physical",
    "make_result",
    "minimize_general",
    "minimize_general_batch",
]

MAX_STEPS = 32
"""A batch takes as many steps as its slowest row: one that needs more is fitted alone."""

ENOUGH = 1e-14
FIRST_DAMPING = 0.1


class GeneralResult(NamedTuple):
    """A point and its certificate, in units of -2 ln L.

    Attributes:
        parameters: Shape (n,).
        edm: g^T H^-1 g / 2 over the free directions; inf where H is not positive definite.
        projected: Largest absolute component of the gradient over the free directions.
        errors: Shape (n,): square root of the diagonal of the inverse Hessian of -ln L; 0 where
            not free.
        stiffness: Shape (n,): diagonal of the Hessian of -ln L.
        free: Shape (n,): the free directions.
        rates: Shape (bins,).
        steps: Newton steps.
        physical: Whether no rate is negative, and none is 0 where events were seen.
    """

    parameters: JaxArray
    edm: JaxArray
    projected: JaxArray
    errors: JaxArray
    stiffness: JaxArray
    free: JaxArray
    rates: JaxArray
    steps: JaxArray
    physical: JaxArray


class _State(NamedTuple):
    x: JaxArray
    point: Point
    trial: JaxArray
    solved: JaxArray
    predicted: JaxArray
    damping: JaxArray
    bent: JaxArray
    edm: JaxArray
    steps: JaxArray


def is_physical(rate: JaxArray, counts: JaxArray) -> JaxArray:
    """Return whether no rate is negative, and none is 0 where events were seen."""
    return jnp.all((rate > 0) | ((rate == 0) & (counts <= 0)))


def _relax(damping: JaxArray, agreement: JaxArray) -> JaxArray:
    """Return the damping after a step that was taken; agreement is actual over predicted gain."""
    lower = jnp.where(agreement > 0.5, damping / 10.0, damping)
    return jnp.where((agreement > 0.9) | (damping < FIRST_DAMPING / 10), 0.0, lower)


def _edm(gradient: JaxArray, step: JaxArray) -> JaxArray:
    edm = jnp.sum(gradient * step)
    return jnp.where(jnp.isfinite(edm) & (edm >= 0), edm, jnp.inf)


def minimize_general(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: JaxArray,
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

    zero = jnp.zeros(())

    def body(s: _State) -> _State:
        new = evaluate(codes, arrays, cells, s.trial, data)
        slack = 1e-13 * (1.0 + jnp.abs(s.point.value))
        better = is_physical(new.rate, counts) & (new.value <= s.point.value + slack)
        better = s.solved & (better | (s.steps == 0))
        agreement = (s.point.value - new.value) / jnp.maximum(s.predicted, 1e-300)
        x, point = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (s.trial, new), (s.x, s.point)
        )
        # Rejected: bend the step along the bounds first, damp it if that does not help.
        damping = jnp.where(
            better,
            _relax(s.damping, agreement),
            jnp.where(s.bent, jnp.maximum(10.0 * s.damping, FIRST_DAMPING), s.damping),
        )
        bent = s.bent | ~better
        free = free_directions(x, point.gradient, fixed, lower, upper)
        newton = solve(point.hessian, cells, point.gradient, free, zero)
        positive = jnp.all(jnp.isfinite(newton))
        # Where the Hessian is indefinite the expected one, which never is, gives the direction.
        matrix = jax.tree.map(
            lambda h, e: jnp.where(positive, h, e), point.hessian, point.information
        )
        step = jax.lax.cond(
            positive & (damping == 0),
            lambda: newton,
            lambda: solve(matrix, cells, point.gradient, free, damping),
        )
        damped = masked(matrix, cells, free, damping)
        room = jnp.where(
            bent, jnp.stack([x - upper, x - lower]), jnp.array([[-jnp.inf], [jnp.inf]])
        )
        step = bend(damped, cells, point.gradient, free, step, room)
        solved = jnp.all(jnp.isfinite(step))
        trial = jnp.where(free & solved, jnp.clip(x - step, lower, upper), x)
        moved = x - trial
        gain = jnp.sum(moved * (point.gradient - 0.5 * multiply(matrix, cells, moved)))
        edm = _edm(point.gradient, newton)
        # A step this near that does not quarter the EDM shows rounding: an end, as a rejected one.
        damping = jnp.where((edm < EDM_ROUNDING) & (edm > 0.25 * s.edm), jnp.inf, damping)
        return _State(x, point, trial, solved, gain, damping, bent, edm, s.steps + 1)

    empty = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype),
        jax.eval_shape(partial(evaluate, codes), arrays, cells, x, data),
    )
    no, far, none = jnp.zeros((), bool), jnp.full((), jnp.inf), jnp.zeros((), int)
    state = _State(x, empty, x, ~no, zero, zero, no, far, none)
    state = jax.lax.while_loop(
        lambda s: (s.edm > ENOUGH) & (s.steps < MAX_STEPS) & (s.damping < 1e12), body, state
    )
    return make_result(
        cells, state.x, state.point, state.edm, state.steps, fixed, lower, upper, counts
    )


def make_result(
    cells: Cells,
    x: JaxArray,
    point: Point,
    edm: JaxArray,
    steps: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    counts: JaxArray,
) -> GeneralResult:
    """Return a point with its certificate."""
    free = free_directions(x, point.gradient, fixed, lower, upper)
    _, variance = inverse(point.hessian, cells, free)
    return GeneralResult(
        parameters=x,
        edm=edm,
        projected=2.0 * jnp.max(jnp.abs(jnp.where(free, point.gradient, 0.0))),
        errors=jnp.sqrt(jnp.maximum(variance, 0.0)),
        stiffness=read_diagonal(point.hessian, cells, x.shape[0]),
        free=free,
        rates=point.rate,
        steps=steps,
        physical=is_physical(point.rate, counts) & jnp.isfinite(point.value),
    )


@partial(jax.jit, static_argnums=0)
def minimize_general_batch(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: JaxArray,
) -> GeneralResult:
    """Compiled batch: start, fixed, bounds and data have a leading axis."""
    result: GeneralResult = jax.vmap(minimize_general, in_axes=(None, None, None, 0, 0, 0, 0, 0))(
        codes, arrays, cells, start, fixed, lower, upper, data
    )
    return result
