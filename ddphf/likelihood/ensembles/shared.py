r"""Ensembles: all toys share their expected information, and every toy is checked.

Toys drawn from one point have nearly one Hessian. Its inverse is computed once, and each toy
iterates :math:`\theta \leftarrow \theta - F^{-1} g` with its own profiled gradient; the error
shrinks by about :math:`1/\sqrt{\text{counts}}` per step, and a step costs one matrix product to
get the rates and one to get the gradient. The null (POI held) comes first, and the free fit starts
from it, where only the POI's derivative is left.

The first steps run in single precision, which is faster and loses nothing: the last ones, the
certificate and q0 are in double precision at the point itself. What is not certified here goes to
:mod:`ddphf.likelihood.paired.newton`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.arrays import Array, JaxArray, Mask, for_programs
from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.ensembles.points import evaluate, make_reference
from ddphf.likelihood.ensembles.ratio import Rates, difference, zero_in_subdifferential
from ddphf.likelihood.ensembles.rough import SHRINKS, Approach, Problem, Rough, SharedInputs
from ddphf.likelihood.paired.likelihood import PairLikelihood
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.profile import PairData, profile

__all__ = ["BlockResult", "fit_block", "share_inputs"]

MAX_STEPS = 40
"""In double precision; what is not certified then goes the careful way."""

_profile = jax.jit(profile, static_argnums=0, static_argnames="expected")


class BlockResult(NamedTuple):
    """Per toy: null and free fit.

    Attributes:
        null: Parameters of the null fit, shape (n, k).
        free: Parameters of the free fit, shape (n, k).
        edm_null: Shape (n,).
        edm_free: Shape (n,).
        difference: 2NLL(null) - 2NLL(free), shape (n,).
        at_zero: True where mu_hat is exactly the null value, because 0 lies in the
            subdifferential of the kink there.
        steps: Double precision steps of both loops.
        rough_steps: Single precision steps of both loops.
    """

    null: JaxArray
    free: JaxArray
    edm_null: JaxArray
    edm_free: JaxArray
    difference: JaxArray
    at_zero: JaxArray
    steps: JaxArray
    rough_steps: JaxArray


def share_inputs(
    pair: PairLikelihood, x: Array, rates: Array, auxiliary: Array, fixed: Mask
) -> SharedInputs:
    """Return what an ensemble drawn at ``x`` shares: start and expected information.

    Args:
        pair: The model.
        x: Shape (n,): the parameters that the toys are drawn from.
        rates: Expected main data there, shape (n_main,).
        auxiliary: Expected auxiliary data there.
        fixed: Held parameters, shape (n,), the POI not among them.
    """
    where = pair.places.global_
    arrays = pair.held(x, fixed)
    data = pair.split(np.concatenate([rates, auxiliary]))
    free = ~fixed[where]
    theta = x[where]
    # At expected data equal to the rates the profile sits at x itself.
    centre = np.where(pair.arrays.precision > 0, theta, data.centre)
    data = data._replace(centre=for_programs(centre))
    hessian = np.array(_profile(pair.structure, arrays, theta, data, expected=True).hessian)
    null = free.copy()
    if pair.poi is not None:
        null[pair.poi] = False
    return SharedInputs(
        theta=jnp.asarray(theta),
        b=jnp.asarray(x[pair.places.b]),
        inverse_null=jnp.asarray(_inverse(hessian, null)),
        inverse_free=jnp.asarray(_inverse(hessian, free)),
        reference=make_reference(pair.structure, arrays, jnp.asarray(theta)),
        tolerance=jnp.asarray(EDM_TOLERANCE),
        max_steps=jnp.asarray(MAX_STEPS),
    )


def _inverse(hessian: Array, free: Mask) -> Array:
    """Return the inverse over the free parameters, 0 elsewhere."""
    out = np.zeros_like(hessian)
    if free.any():
        block = hessian[np.ix_(free, free)]
        scale = 1 / np.sqrt(np.maximum(np.diag(block), 1e-300))
        inner = np.linalg.inv(block * np.outer(scale, scale))
        out[np.ix_(free, free)] = inner * np.outer(scale, scale)
    return out


class _Loop(NamedTuple):
    theta: JaxArray
    b: JaxArray
    edm: JaxArray
    before: JaxArray
    at: JaxArray
    b_at: JaxArray
    gradient: JaxArray
    steps: JaxArray


def _finish(
    problem: Problem, shared: SharedInputs, theta: JaxArray, b: JaxArray
) -> tuple[_Loop, Rates]:
    """Iterate in double precision until all are done; ``at`` is where the certificate was taken."""
    structure, arrays, data, inverse, hold = problem
    lower, upper = arrays.lower[None], arrays.upper[None]
    # Only what the next step needs is carried: copies of rates would cost more than the step.
    keep_b = structure.has("v_B") or structure.has("v_A")

    def step_from(
        theta: JaxArray, b: JaxArray, before: JaxArray, steps: JaxArray
    ) -> tuple[_Loop, Rates]:
        point = evaluate(structure, arrays, theta, data, b)
        step = jnp.where(hold[:, None], 0.0, point.gradient @ inverse)
        edm = jnp.sum(step * point.gradient, axis=-1) + point.edm_cells
        edm = jnp.where(jnp.isfinite(edm), edm, jnp.inf)
        wanted = theta - step
        trial = jnp.clip(wanted, lower, upper)
        # Not certified at a bound: there Newton's active set decides.
        edm = jnp.where(jnp.any(trial != wanted, axis=-1) & ~hold, jnp.inf, edm)
        trial = jnp.where(jnp.isfinite(trial), trial, theta)
        new_b = point.b if keep_b else b
        loop = _Loop(trial, new_b, edm, before, theta, b, point.gradient, steps + 1)
        return loop, Rates(point.rates, point.gammas, point.weights)

    def proceed(loop: _Loop) -> JaxArray:
        # A toy that goes nowhere (at a bound, say) must not keep its block: it gets a careful fit.
        left = (loop.edm > shared.tolerance) & (loop.edm < SHRINKS * loop.before) & ~hold
        return jnp.any(left) & (loop.steps < shared.max_steps)

    if not keep_b:
        b = b[:, :1]
    before = jnp.full(theta.shape[0], jnp.inf)
    first, rates = step_from(theta, b, before, jnp.zeros((), int))
    loop = jax.lax.while_loop(proceed, lambda s: step_from(s.theta, s.b, s.edm, s.steps)[0], first)
    # Mostly the first step of this precision is the last one, and its rates are at hand.
    rates = jax.lax.cond(
        loop.steps > 1,
        lambda at, b: step_from(at, b, before, loop.steps)[1],
        lambda at, b: rates,
        loop.at,
        loop.b_at,
    )
    return loop, rates


@partial(jax.jit, static_argnums=(0, 1))
def fit_block(
    structure: PairStructure,
    poi: int,
    arrays: PairArrays,
    shared: SharedInputs,
    data: PairData,
) -> BlockResult:
    """Fit a block of toys, null and free.

    Args:
        structure: Static structure.
        poi: Index of the POI among the global parameters.
        arrays: The model.
        shared: What the ensemble shares.
        data: The toys: n and aux of shape (n, M), centre of shape (n, k).
    """
    n = data.n[0].shape[0]
    rough = Rough(structure, poi, arrays, shared, data)
    nobody = jnp.zeros(n, bool)
    theta = jnp.broadcast_to(shared.theta, (n, structure.n_global))
    b = jnp.broadcast_to(shared.b, (n, structure.n_cells))
    rough_steps = jnp.zeros((), int)

    def take(
        rough: Approach, inverse: JaxArray, hold: JaxArray, theta: JaxArray, b: JaxArray
    ) -> Any:
        # Held parameters keep their double precision values.
        moved = (jnp.diag(inverse) > 0)[None] & ~hold[:, None]
        new_b = rough.b.astype(float) if rough.b.shape == b.shape else b
        return jnp.where(moved, rough.theta.astype(float), theta), new_b

    plain = not (structure.has("v_B") or structure.has("v_A"))
    if structure.n_global > 1 or not plain:
        near = rough.null(nobody)
        rough_steps = rough_steps + near.steps
        theta, b = take(near, shared.inverse_null, nobody, theta, b)
    problem = Problem(structure, arrays, data, shared.inverse_null, nobody)
    null, at_null = _finish(problem, shared, theta, b)
    at_zero = zero_in_subdifferential(structure, arrays, poi, null.at, null.gradient, data, at_null)
    step = jnp.where(at_zero[:, None], 0.0, null.gradient @ shared.inverse_free)
    start = jnp.clip(null.at - step, arrays.lower[None], arrays.upper[None])
    near = rough.free(start, null.b, jnp.sum(step * null.gradient, axis=-1), at_zero)
    theta, b = take(near, shared.inverse_free, at_zero, start, null.b)
    problem = problem._replace(inverse=shared.inverse_free, hold=at_zero)
    free, at_free = _finish(problem, shared, theta, b)
    edm_free = jnp.where(at_zero, null.edm, free.edm)
    value = difference(structure, arrays, data, (null.at, at_null), (free.at, at_free))
    # Both values are at most one EDM above their minima; q0 takes the predicted minima.
    value = jnp.where(at_zero, 0.0, value + edm_free - null.edm)
    return BlockResult(
        null=null.at,
        free=jnp.where(at_zero[:, None], null.at, free.at),
        edm_null=null.edm,
        edm_free=edm_free,
        difference=value,
        at_zero=at_zero,
        steps=null.steps + free.steps,
        rough_steps=rough_steps + near.steps,
    )
