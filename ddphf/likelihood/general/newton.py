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

from ddphf.arrays import Bool, Float, Int, JaxArray
from ddphf.likelihood import descent
from ddphf.likelihood.descent import Descent, Problem, Proposal
from ddphf.likelihood.general.arrowhead import (
    inverse,
    masked,
    multiply,
    read_diagonal,
    solve,
)
from ddphf.likelihood.general.bending import bend
from ddphf.likelihood.general.derivatives import Model, Point, evaluate
from ddphf.likelihood.general.layout import Codes
from ddphf.likelihood.general.likelihood import Scalar, Vector

__all__ = [
    "GeneralProblem",
    "GeneralResult",
    "is_physical",
    "make_result",
    "minimize_general",
    "minimize_general_batch",
]

MAX_STEPS = 32
"""A batch takes as many steps as its slowest row: one that needs more is fitted alone."""

FIRST_DAMPING, TENFOLD = 0.1, 10.0
"""Damping, relative to the diagonal, after the first rejected step that was bent already; each
further rejection makes it ten times as large. A tenth of the first is dropped."""
FAIR, GOOD = 0.5, 0.9
"""Actual over predicted gain from which the damping falls to a tenth, and to 0."""


GeneralProblem = Problem[Model, JaxArray]
"""Data are main and auxiliary."""


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


class _Own(NamedTuple):
    predicted: JaxArray
    damping: JaxArray
    bent: JaxArray


State = Descent[JaxArray, Point, _Own]


def is_physical(
    rate: Float[JaxArray, "bins"], counts: Float[JaxArray, "bins"]
) -> Bool[JaxArray, ""]:
    """Return whether no rate is negative, and none is 0 where events were seen."""
    return jnp.all((rate > 0) | ((rate == 0) & (counts <= 0)))


def _relax(damping: Scalar, agreement: Scalar) -> Scalar:
    """Return the damping after a step that was taken; agreement is actual over predicted gain."""
    lower = jnp.where(agreement > FAIR, damping / TENFOLD, damping)
    return jnp.where((agreement > GOOD) | (damping < FIRST_DAMPING / TENFOLD), 0.0, lower)


def minimize_general(codes: Codes, problem: GeneralProblem, start: Vector) -> GeneralResult:
    """Minimise -ln L of one data set.

    Args:
        codes: Static codes.
        problem: The model, main and auxiliary data, bounds and held parameters.
        start: Shape (n,); held parameters keep these values.
    """
    (arrays, cells), data, _, lower, upper = problem
    counts = data[: arrays.nominal.shape[0]]
    start, zero = problem.clip(start), jnp.zeros(())

    def accept(s: State, new: Point) -> JaxArray:
        better = is_physical(new.rate, counts) & descent.does_not_rise(s.found, new)
        return s.next.solved & (better | (s.steps == 0))

    def propose(before: State, now: State, better: JaxArray) -> Proposal[JaxArray, _Own]:
        x, point, last = now.x, now.found, before.next.own
        gained = before.found.value - point.value
        agreement = gained / jnp.maximum(last.predicted, descent.NEGLIGIBLE)
        # Rejected: bend the step along the bounds first, damp it if that does not help.
        damping = jnp.where(
            better,
            _relax(last.damping, agreement),
            jnp.where(last.bent, jnp.maximum(TENFOLD * last.damping, FIRST_DAMPING), last.damping),
        )
        bent = last.bent | ~better
        free = problem.free(x, point.gradient)
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
        edm = descent.known_edm(jnp.sum(point.gradient * newton))
        # A step this near that does not quarter the EDM is an end, as a rejected one.
        damping = jnp.where(descent.is_rounding(edm, before.next.edm), jnp.inf, damping)
        return Proposal(trial, solved, edm, _Own(gain, damping, bent))

    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    end = descent.iterate(
        lambda x: evaluate(codes, problem.model, x, data),
        Proposal(start, yes, jnp.full((), jnp.inf), _Own(zero, zero, no)),
        accept,
        propose,
        lambda s: (s.next.edm > descent.ENOUGH) & (s.next.own.damping < descent.NO_STEP),
        MAX_STEPS,
    )
    return make_result(problem, end.x, end.found, end.next.edm, end.steps)


def make_result(
    problem: GeneralProblem,
    x: Vector,
    point: Point,
    edm: Scalar,
    steps: Int[JaxArray, ""],
) -> GeneralResult:
    """Return a point with its certificate."""
    arrays, cells = problem.model
    free = problem.free(x, point.gradient)
    _, variance = inverse(point.hessian, cells, free)
    physical = is_physical(point.rate, problem.data[: arrays.nominal.shape[0]])
    return GeneralResult(
        parameters=x,
        edm=edm,
        projected=2.0 * jnp.max(jnp.abs(jnp.where(free, point.gradient, 0.0))),
        errors=jnp.sqrt(jnp.maximum(variance, 0.0)),
        stiffness=read_diagonal(point.hessian, cells, x.shape[0]),
        free=free,
        rates=point.rate,
        steps=steps,
        physical=physical & jnp.isfinite(point.value),
    )


@partial(jax.jit, static_argnums=0)
def minimize_general_batch(
    codes: Codes, problem: GeneralProblem, start: Float[JaxArray, "fits n"]
) -> GeneralResult:
    """Compiled batch: start, data, held parameters and bounds have a leading axis."""
    result: GeneralResult = jax.vmap(minimize_general, in_axes=(None, descent.BATCH, 0))(
        codes, problem, start
    )
    return result
