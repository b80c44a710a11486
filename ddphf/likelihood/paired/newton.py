"""Damped Newton on the pair's profile: bounds by an active set, steps that must not raise -ln L.

One data set per call; ``jax.vmap`` makes it a batch. Data, templates, starting points, bounds and
the fixed mask are inputs, so one compilation serves every fit of a structure.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood import descent
from ddphf.likelihood.descent import Descent, Problem, Proposal
from ddphf.likelihood.factorization import cho_solve, cholesky
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.profile import PairData, Profile, profile

__all__ = [
    "CELL_BOUNDS",
    "NewtonResult",
    "PairProblem",
    "minimize_one",
    "minimize_profile",
    "minimize_profiles",
]

PairProblem = Problem[PairArrays, PairData]

CELL_BOUNDS = ("b_lower", "b_upper", "gamma_lower", "gamma_upper")
MAX_STEPS = 100
"""Newton needs about ten; one data set at a time, more cost nothing but their time."""
FIRST_DAMPING, LAST_DAMPING, TENFOLD = 1e-3, 1e-4, 10.0
"""Damping, relative to the diagonal, of the first step after a rejected one, and below which it is
dropped; each rejection makes it ten times as large, each success a tenth."""


Both = tuple[JaxArray, JaxArray]
"""For B and A."""


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
    gamma: Both
    rates: Both
    hessian: JaxArray
    weights: Both


class _Own(NamedTuple):
    damping: JaxArray
    stuck: JaxArray


State = Descent[JaxArray, Profile, _Own]


def solve_masked(
    hessian: Float[JaxArray, "k k"],
    gradient: Float[JaxArray, "k"],
    free: Bool[JaxArray, "k"],
    damping: Float[JaxArray, ""],
) -> Float[JaxArray, "k"]:
    """Solve (H + damping diag|H|) p = g over the free directions, 0 elsewhere; NaN if not PD.

    Scaled to a unit diagonal first: mu and the nuisances may differ by many orders of magnitude.
    """
    diagonal = jnp.diag(hessian)
    scale = jnp.where(
        free & (diagonal > 0), jax.lax.rsqrt(jnp.maximum(diagonal, descent.NEGLIGIBLE)), 1.0
    )
    both = free[:, None] & free[None, :]
    scaled = jnp.where(both, hessian * scale[:, None] * scale[None, :], 0.0)
    matrix = scaled + jnp.diag(jnp.where(free, damping, 1.0))
    right = jnp.where(free, gradient * scale, 0.0)
    return scale * cho_solve(cholesky(matrix), right[:, None])[:, 0]


def _damp(damping: JaxArray, better: JaxArray) -> JaxArray:
    """Return the damping of the next step."""
    relaxed = jnp.where(damping < LAST_DAMPING, 0.0, damping / TENFOLD)
    return jnp.where(better, relaxed, jnp.maximum(damping * TENFOLD, FIRST_DAMPING))


def minimize_profile(
    structure: PairStructure, problem: PairProblem, start: Float[JaxArray, "k"]
) -> NewtonResult:
    """Minimise the profile of one data set.

    Args:
        structure: Static structure.
        problem: The model, one data set, bounds and held parameters.
        start: Starting point, shape (k,); held parameters keep these values.
    """
    start, zero = problem.clip(start), jnp.zeros(())

    def accept(s: State, new: Profile) -> JaxArray:
        return (s.next.solved & new.feasible & descent.does_not_rise(s.found, new)) | (s.steps == 0)

    def propose(before: State, now: State, better: JaxArray) -> Proposal[JaxArray, _Own]:
        theta, at, last = now.x, now.found, before.next
        damping = _damp(last.own.damping, better)
        free = problem.free(theta, at.gradient)
        newton = solve_masked(at.hessian, at.gradient, free, zero)
        edm = descent.known_edm(jnp.sum(jnp.where(free, at.gradient * newton, 0.0)))
        stuck = (last.own.damping > descent.NO_STEP) | descent.is_rounding(edm, last.edm)
        step = solve_masked(at.hessian, at.gradient, free, damping)
        solved = jnp.all(jnp.isfinite(step))
        moved = jnp.clip(theta - step, problem.lower, problem.upper)
        trial = jnp.where(free & solved, moved, theta)
        return Proposal(trial, solved, edm, _Own(damping, stuck))

    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    end = descent.iterate(
        lambda theta: profile(structure, problem.model, theta, problem.data),
        Proposal(start, yes, jnp.full((), jnp.inf), _Own(zero, no)),
        accept,
        propose,
        lambda s: (s.next.edm > descent.ENOUGH) & ~s.next.own.stuck,
        MAX_STEPS + 1,
    )
    return _result(structure, problem, end)


def _result(structure: PairStructure, problem: PairProblem, end: State) -> NewtonResult:
    now = end.found
    free = problem.free(end.x, now.gradient)
    ones = jnp.ones(structure.n_cells)
    gamma = tuple(ones if s.gamma is None else s.gamma * ones for s in now.cell.sides)
    return NewtonResult(
        theta=end.x,
        value=now.value,
        gradient=now.gradient,
        edm=jnp.where(now.feasible & jnp.isfinite(now.value), end.next.edm, jnp.inf),
        projected=2.0 * jnp.max(jnp.abs(jnp.where(free, now.gradient, 0.0)), initial=0.0),
        steps=end.steps - 1,
        b=now.cell.b,
        gamma=(gamma[0], gamma[1]),
        rates=(now.cell.sides[0].rate, now.cell.sides[1].rate),
        hessian=now.hessian,
        weights=(now.cell.sides[0].w, now.cell.sides[1].w),
    )


@partial(jax.jit, static_argnums=0)
def minimize_one(
    structure: PairStructure, problem: PairProblem, start: Float[JaxArray, "k"]
) -> NewtonResult:
    """Compiled :func:`minimize_profile`."""
    return minimize_profile(structure, problem, start)


@partial(jax.jit, static_argnums=0)
def minimize_profiles(
    structure: PairStructure,
    problem: PairProblem,
    start: Float[JaxArray, "fits k"],
    cells: tuple[Any, ...],
) -> NewtonResult:
    """Compiled batch: all but the model's arrays have a leading axis.

    ``cells`` are the bounds of the cells' parameters, in the order of :data:`CELL_BOUNDS`: equal
    ones hold a parameter, another one in each item.
    """

    def one(problem: PairProblem, start: JaxArray, cells: Any) -> NewtonResult:
        own = problem.model._replace(**dict(zip(CELL_BOUNDS, cells, strict=True)))
        return minimize_profile(structure, problem._replace(model=own), start)

    result: NewtonResult = jax.vmap(one, in_axes=(descent.BATCH, 0, 0))(problem, start, cells)
    return result
