"""Damped Newton on the pair's profile: bounds by an active set, steps that must not raise -ln L.

One data set per call; ``jax.vmap`` makes it a batch. Data, templates, starting points, bounds and
the fixed mask are inputs, so one compilation serves every fit of a structure.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import JaxArray
from ddphf.likelihood.certificate import EDM_ROUNDING, free_directions
from ddphf.likelihood.factorization import cho_solve, cholesky
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.profile import PairData, Profile, profile

__all__ = ["CELL_BOUNDS", "NewtonResult", "minimize_profile", "minimize_profiles"]

CELL_BOUNDS = ("b_lower", "b_upper", "gamma_lower", "gamma_upper")
MAX_STEPS = 100
ENOUGH = 1e-14
"""EDM at which another Newton step is below rounding."""


class NewtonResult(NamedTuple):
    """Where Newton stopped, and its own certificate (2NLL units); leading axes if batched.

    Attributes:
        theta: Global parameters.
        value: -ln L without constants.
        gradient: Gradient of -ln L.
        edm: g^T H^-1 g over the free directions; inf where H is not positive definite.
        projected: Largest absolute component of the gradient of 2NLL over the free directions.
        steps: Newton steps.
        b: Background factor of each cell.
        gamma: For B and A, the channel's own factors (1 where absent).
        rates: For B and A.
        hessian: Of -ln L.
        weights: For B and A, n / rate - 1 (at a rate held at 0, what stationarity implies).
    """

    theta: JaxArray
    value: JaxArray
    gradient: JaxArray
    edm: JaxArray
    projected: JaxArray
    steps: JaxArray
    b: JaxArray
    gamma: tuple[JaxArray, JaxArray]
    rates: tuple[JaxArray, JaxArray]
    hessian: JaxArray
    weights: tuple[JaxArray, JaxArray]


class _State(NamedTuple):
    theta: JaxArray
    now: Profile
    trial: JaxArray
    solved: JaxArray
    damping: JaxArray
    edm: JaxArray
    steps: JaxArray
    stuck: JaxArray


def solve_masked(
    hessian: JaxArray, gradient: JaxArray, free: JaxArray, damping: JaxArray
) -> JaxArray:
    """Solve (H + damping diag|H|) p = g over the free directions, 0 elsewhere; NaN if not PD.

    Scaled to a unit diagonal first: mu and the nuisances may differ by many orders of magnitude.
    """
    diagonal = jnp.diag(hessian)
    scale = jnp.where(free & (diagonal > 0), jax.lax.rsqrt(jnp.maximum(diagonal, 1e-300)), 1.0)
    both = free[:, None] & free[None, :]
    scaled = jnp.where(both, hessian * scale[:, None] * scale[None, :], 0.0)
    matrix = scaled + jnp.diag(jnp.where(free, damping, 1.0))
    right = jnp.where(free, gradient * scale, 0.0)
    return scale * cho_solve(cholesky(matrix), right[:, None])[:, 0]


def minimize_profile(
    structure: PairStructure,
    arrays: PairArrays,
    theta: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: PairData,
) -> NewtonResult:
    """Minimise the profile of one data set.

    Args:
        structure: Static structure.
        arrays: The model.
        theta: Starting point, shape (k,); held parameters keep these values.
        fixed: True for parameters to hold, shape (k,).
        lower: Bounds, shape (k,); they may be narrower than the model's.
        upper: Bounds.
        data: One data set.
    """
    theta = jnp.where(fixed, theta, jnp.clip(theta, lower, upper))

    zero = jnp.zeros(())

    # The start is the first trial, so that a profile is compiled in one place: it is what takes
    # the compiler's time.
    def body(state: _State) -> _State:
        new = profile(structure, arrays, state.trial, data)
        slack = 1e-13 * (1.0 + jnp.abs(state.now.value))
        better = state.solved & new.feasible & (new.value <= state.now.value + slack)
        better = better | (state.steps < 0)
        theta, now = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (state.trial, new), (state.theta, state.now)
        )
        damping = jnp.where(
            better,
            jnp.where(state.damping < 1e-4, 0.0, state.damping / 10.0),
            jnp.maximum(state.damping * 10.0, 1e-3),
        )
        free = free_directions(theta, now.gradient, fixed, lower, upper)
        newton = solve_masked(now.hessian, now.gradient, free, zero)
        edm = jnp.sum(jnp.where(free, now.gradient * newton, 0.0))
        edm = jnp.where(jnp.isfinite(edm) & (edm >= 0), edm, jnp.inf)
        stuck = (state.damping > 1e12) | ((edm < EDM_ROUNDING) & (edm > 0.25 * state.edm))
        step = solve_masked(now.hessian, now.gradient, free, damping)
        solved = jnp.all(jnp.isfinite(step))
        trial = jnp.where(free & solved, jnp.clip(theta - step, lower, upper), theta)
        return _State(theta, now, trial, solved, damping, edm, state.steps + 1, stuck)

    empty = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype),
        jax.eval_shape(partial(profile, structure), arrays, theta, data),
    )
    state = _State(
        theta, empty, theta, jnp.ones((), bool), zero, jnp.full((), jnp.inf),
        jnp.full((), -1), jnp.zeros((), bool),
    )  # fmt: skip
    state = jax.lax.while_loop(
        lambda s: (s.edm > ENOUGH) & (s.steps < MAX_STEPS) & ~s.stuck, body, state
    )
    now = state.now
    free = free_directions(state.theta, now.gradient, fixed, lower, upper)
    edm = jnp.where(now.feasible & jnp.isfinite(now.value), state.edm, jnp.inf)
    ones = jnp.ones(structure.n_cells)
    gamma = tuple(ones if s.gamma is None else s.gamma * ones for s in now.cell.sides)
    return NewtonResult(
        theta=state.theta,
        value=now.value,
        gradient=now.gradient,
        edm=edm,
        projected=2.0 * jnp.max(jnp.abs(jnp.where(free, now.gradient, 0.0)), initial=0.0),
        steps=state.steps,
        b=now.cell.b,
        gamma=(gamma[0], gamma[1]),
        rates=(now.cell.sides[0].rate, now.cell.sides[1].rate),
        hessian=now.hessian,
        weights=(now.cell.sides[0].w, now.cell.sides[1].w),
    )


@partial(jax.jit, static_argnums=0)
def minimize_one(
    structure: PairStructure,
    arrays: PairArrays,
    theta: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: PairData,
) -> NewtonResult:
    """Compiled :func:`minimize_profile`."""
    return minimize_profile(structure, arrays, theta, fixed, lower, upper, data)


@partial(jax.jit, static_argnums=0)
def minimize_profiles(
    structure: PairStructure,
    arrays: PairArrays,
    theta: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: PairData,
    cells: tuple[Any, ...],
) -> NewtonResult:
    """Compiled batch: all but the arrays have a leading axis.

    ``cells`` are the bounds of the cells' parameters, in the order of :data:`CELL_BOUNDS`: equal
    ones hold a parameter, another one in each item.
    """

    def one(
        theta: JaxArray,
        fixed: JaxArray,
        lower: JaxArray,
        upper: JaxArray,
        data: PairData,
        cells: Any,
    ) -> Any:
        own = arrays._replace(**dict(zip(CELL_BOUNDS, cells, strict=True)))
        return minimize_profile(structure, own, theta, fixed, lower, upper, data)

    result: NewtonResult = jax.vmap(one)(theta, fixed, lower, upper, data, cells)
    return result
