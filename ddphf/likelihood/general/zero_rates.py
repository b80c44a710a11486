r"""Fits that end where the rate of an empty bin is 0: an interior point method.

Without events a bin adds its rate to -ln L, so the best rate may be 0, on the edge of where the
likelihood is a probability: a bound on a combination of parameters that no box describes. With
:math:`d_i` the rates of the empty bins and the distances to the bounds of the parameters,
-ln L :math:`- \epsilon \sum_i \ln d_i` is minimised for falling :math:`\epsilon`, with Newton steps
that carry the multiplier of every :math:`d_i` (Nocedal and Wright, Numerical Optimization, ch. 19).
What is left at the end is at most :math:`2 \epsilon` per :math:`d_i` in -2 ln L: it is part of the
EDM, and every rate is still positive.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood.descent import NEGLIGIBLE, Descent, Proposal, does_not_rise, iterate
from ddphf.likelihood.general.arrowhead import (
    across,
    add_diagonal,
    along,
    read_diagonal,
    solve,
)
from ddphf.likelihood.general.derivatives import Point, evaluate
from ddphf.likelihood.general.layout import Codes
from ddphf.likelihood.general.likelihood import Scalar, Vector, rates
from ddphf.likelihood.general.newton import (
    GeneralProblem,
    GeneralResult,
    is_physical,
    make_result,
)

__all__ = ["minimize_at_zero"]


MAX_STEPS = 400
"""About ten steps for each of some ten epsilons; narrow curved valleys take a few hundred."""
FIRST = 0.1
"""Epsilon at the start: a tenth of an event."""
LAST = 1e-9
"""Sum of epsilon over all distances at the end: a tenth of EDM_TOLERANCE."""
CENTRED = 0.1
"""EDM, in units of epsilon, from which on epsilon falls."""
FALL, POWER = 0.1, 1.5
"""Epsilon falls to a tenth or to this power of itself, whichever is smaller (Nocedal and Wright,
eq. 19.18 and below)."""
WALL = 0.99
"""Share of the way to the first edge that a step may go."""
SHORTER, LONGER, SHORTEST = 0.5, 4.0, 1e-12
"""Factors of a step's length after a rejected and a good one, and the length that is none."""
SPREAD = 1e3
"""A multiplier stays within this factor of epsilon / distance."""
INWARDS = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 0.0)
"""Steps tried, in expected standard deviations, from a start at the edge."""
THIN = 1e-2
"""Rates of empty bins below this are pulled up at the start: above, the barrier is no wall."""
MARGIN, MARGIN_OF_BOX = 1e-2, 0.1
"""Least distance of a start to a bound, relative to 1 or the start, and at most of the box."""


class _Distances(NamedTuple):
    """What must stay positive, or something of each: multipliers, changes."""

    rate: JaxArray
    lower: JaxArray
    upper: JaxArray


class _Place(NamedTuple):
    """A trial: parameters, multipliers, and the epsilon that it is for."""

    x: JaxArray
    multiplier: _Distances
    epsilon: JaxArray


class _Own(NamedTuple):
    """Whether the value before belongs to another epsilon, the share of a step, the end."""

    fresh: JaxArray
    share: JaxArray
    done: JaxArray


State = Descent[_Place, Point, _Own]


class _Barrier(NamedTuple):
    """A problem with what must stay positive: the empty bins that can move, the free parameters."""

    codes: Codes
    problem: GeneralProblem
    guarded: JaxArray
    free: JaxArray

    @property
    def counts(self) -> JaxArray:
        """Main data."""
        return self.problem.data[: self.guarded.shape[0]]

    @property
    def held(self) -> _Distances:
        """Which distances there are."""
        return _Distances(self.guarded, self.free, self.free)

    @property
    def walls(self) -> JaxArray:
        """Bins whose rate must stay positive: those with events too."""
        return self.guarded | (self.counts > 0)

    def distances(self, x: Vector, rate: Float[JaxArray, "bins"]) -> _Distances:
        """Return the distances, 1 where there is none."""
        all_ = _Distances(rate, x - self.problem.lower, self.problem.upper - x)
        kept: _Distances = jax.tree.map(lambda d, h: jnp.where(h, d, 1.0), all_, self.held)
        return kept

    def evaluate(self, place: _Place) -> Point:
        """Return -ln L with the barrier; of an empty bin it is that of epsilon events."""
        x, multiplier, epsilon = place
        cells, n_bins = self.problem.model.cells, self.guarded.shape[0]
        events = jnp.where(self.guarded, epsilon, self.counts)
        data = self.problem.data.at[:n_bins].set(events)
        point = evaluate(self.codes, self.problem.model, x, data, multiplier.rate)
        _, low, high = self.distances(x, point.rate)
        value = -epsilon * jnp.sum(jnp.log(low) + jnp.log(high))
        slope = epsilon * jnp.where(self.free, 1.0 / high - 1.0 / low, 0.0)
        curvature = multiplier.lower / low + multiplier.upper / high
        return point._replace(
            value=point.value + value,
            gradient=point.gradient + slope,
            hessian=add_diagonal(point.hessian, cells, curvature),
            information=add_diagonal(point.information, cells, curvature),
        )

    def is_inside(self, x: Vector, rate: Float[JaxArray, "bins"]) -> Bool[JaxArray, ""]:
        """Return whether all that must be positive is."""
        _, _, fixed, lower, upper = self.problem
        return jnp.all((rate > 0) | ~self.walls) & jnp.all(((x > lower) & (x < upper)) | fixed)

    def longest(self, x: Vector, rate: Float[JaxArray, "bins"], change: _Distances) -> Scalar:
        """Return the share of a step that stays before the first edge, at most 1."""
        used = jax.tree.map(
            lambda c, d, h: jnp.max(jnp.where(h, -c / d, 0.0), initial=0.0),
            change,
            self.distances(x, rate)._replace(rate=rate),
            self.held._replace(rate=self.walls),
        )
        most = jnp.maximum(jnp.max(jnp.stack(used)), NEGLIGIBLE)
        return jnp.minimum(1.0, WALL / most)


def _follow(
    z: Float[JaxArray, "d"],
    c: Float[JaxArray, "d"],
    d: Float[JaxArray, "d"],
    h: Bool[JaxArray, "d"],
    length: Scalar,
    epsilon: Scalar,
) -> Float[JaxArray, "d"]:
    """Return the multipliers z after a step's length, where distances d change by c."""
    aim = z + length * ((epsilon - z * c) / d - z)
    # A rate is not linear, so that the step may miss: stay near epsilon / distance.
    ahead = epsilon / jnp.maximum(d + length * c, NEGLIGIBLE)
    return jnp.where(h, jnp.clip(aim, (1.0 / SPREAD) * ahead, SPREAD * ahead), 0.0)


@partial(jax.jit, static_argnums=0)
def minimize_at_zero(codes: Codes, problem: GeneralProblem, start: Vector) -> GeneralResult:
    """Minimise -ln L of one data set over the parameters that make no rate negative.

    Args:
        codes: Static codes.
        problem: As of :func:`ddphf.likelihood.general.newton.minimize_general`.
        start: The same.

    Returns:
        The point; its EDM includes what the remaining distance to rates of 0 is worth.
    """
    (arrays, cells), _, fixed, lower, upper = problem
    fixed = fixed | ~(lower < upper)
    problem = problem._replace(fixed=fixed)
    margin = jnp.minimum(MARGIN * jnp.maximum(1.0, jnp.abs(start)), MARGIN_OF_BOX * (upper - lower))
    inner = problem._replace(lower=lower + margin, upper=upper - margin)
    x, guarded = _move_inside(codes, inner, inner.clip(start))
    barrier = _Barrier(codes, problem, guarded, ~fixed)
    held, zero = barrier.held, jnp.zeros(())
    n_distances = sum(jnp.sum(h.astype(float)) for h in held)
    last = LAST / jnp.maximum(n_distances, 1.0)

    def accept(s: State, new: Point) -> JaxArray:
        inside = barrier.is_inside(s.next.trial.x, new.rate)
        return s.next.solved & inside & (s.next.own.fresh | does_not_rise(s.found, new))

    def propose(before: State, now: State, better: JaxArray) -> Proposal[_Place, _Own]:
        (x, multiplier, _), point = now.x, now.found
        epsilon, share = before.next.trial.epsilon, before.next.own.share
        # Shorter steps, not damped ones: damping would measure by the steep walls.
        share = jnp.where(better, jnp.minimum(1.0, LONGER * share), SHORTER * share)

        newton = solve(point.hessian, cells, point.gradient, barrier.free, zero)
        edm = jnp.sum(point.gradient * newton)
        positive = jnp.isfinite(edm) & (edm >= 0)
        centred = better & positive & (edm <= CENTRED * epsilon)
        fallen = jnp.maximum(last, jnp.minimum(FALL * epsilon, epsilon**POWER))

        step = jax.lax.cond(
            positive,
            lambda: newton,
            lambda: solve(point.information, cells, point.gradient, barrier.free, zero),
        )
        solved = jnp.all(jnp.isfinite(step))
        step = jnp.where(solved & barrier.free, step, 0.0)
        change = _Distances(-along(cells, point.slope, step), -step, step)
        length = share * barrier.longest(x, point.rate, change)
        followed = jax.tree.map(
            lambda z, c, d, h: _follow(z, c, d, h, length, epsilon),
            multiplier, change, barrier.distances(x, point.rate), held,
        )  # fmt: skip
        trial = _Place(
            jnp.where(centred, x, x - length * step),
            jax.tree.map(lambda a, b: jnp.where(centred, a, b), multiplier, followed),
            jnp.where(centred, fallen, epsilon),
        )
        own = _Own(centred, share, centred & (epsilon <= last))
        return Proposal(trial, centred | solved, edm, own)

    first = jnp.maximum(FIRST, last)
    multiplier = jax.tree.map(
        lambda d, h: jnp.where(h, first / jnp.maximum(d, NEGLIGIBLE), 0.0),
        barrier.distances(x, rates(codes, arrays, x)),
        held,
    )
    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    own = _Own(yes, jnp.ones(()), no)
    end = iterate(
        barrier.evaluate,
        Proposal(_Place(x, multiplier, first), yes, jnp.full((), jnp.inf), own),
        accept,
        propose,
        lambda s: ~s.next.own.done & (s.next.own.share > SHORTEST),
        MAX_STEPS,
    )
    return _at_the_edge(barrier, end)


def _at_the_edge(barrier: _Barrier, end: State) -> GeneralResult:
    """Return the end with its certificate, parameters beside a bound put there."""
    codes, problem, _, free = barrier
    (arrays, cells), data, _, lower, upper = problem
    (x, multiplier, _), (_, _, done) = end.x, end.next.own
    result = make_result(problem, x, end.found, end.next.edm, end.steps)
    # Parameters at a bound are put there, unless that costs a rate its sign; it is worth epsilon.
    _, z_low, z_high = multiplier
    low, high = free & (x - lower < z_low), free & (upper - x < z_high)
    snapped = jnp.where(low, lower, jnp.where(high, upper, x))
    rate = rates(codes, arrays, snapped)
    legal = is_physical(rate, barrier.counts)
    # What the multipliers leave of the gradient; the barrier's own is steep next to an edge.
    bare = evaluate(codes, problem.model, x, data)
    walls = across(cells, bare.slope, multiplier.rate, len(x)) + z_low - z_high
    left = jnp.where(free & ~low & ~high, bare.gradient - walls, 0.0)
    return result._replace(
        projected=2.0 * jnp.max(jnp.abs(left)),
        parameters=jnp.where(legal, snapped, x),
        rates=jnp.where(legal, rate, end.found.rate),
        errors=jnp.where(low | high, 0.0, result.errors),
        stiffness=read_diagonal(bare.hessian, cells, len(x)),
        free=free & ~low & ~high,
        edm=jnp.where(done, result.edm + 2.0 * LAST, jnp.inf),
    )


def _move_inside(codes: Codes, problem: GeneralProblem, x: JaxArray) -> tuple[JaxArray, JaxArray]:
    """Return a start with positive rates, and which bins are empty and can change their rate."""
    (arrays, cells), data, fixed, lower, upper = problem
    counts = data[: arrays.nominal.shape[0]]
    point = evaluate(codes, problem.model, x, data)
    f_local = jnp.concatenate([~fixed, jnp.zeros(1, bool)])[cells.local]
    f_local = jnp.concatenate([f_local, jnp.zeros((1, f_local.shape[1]), bool)])[cells.of_bin]
    j_global = jnp.where(~fixed[cells.global_][None], point.slope[0], 0.0)
    j_local = jnp.where(f_local, point.slope[1], 0.0)
    moves = jnp.any(j_global != 0, axis=1) | jnp.any(j_local != 0, axis=1)
    guarded = (counts <= 0) & moves
    thin = (guarded & (point.rate < THIN)).astype(float)
    pull = across(cells, (j_global, j_local), thin, len(x))
    # The width of the box stands in for what the data do not say.
    matrix = add_diagonal(point.information, cells, 1.0 / (upper - lower) ** 2)
    step = solve(matrix, cells, pull, ~fixed, jnp.zeros(()))
    step = step / jnp.sqrt(jnp.maximum(jnp.sum(pull * step), NEGLIGIBLE))
    step = jnp.where(~fixed & jnp.isfinite(step), step, 0.0)
    trials = jnp.clip(
        x[None] + jnp.asarray(INWARDS)[:, None] * step[None], lower[None], upper[None]
    )
    trials = jnp.where(fixed[None], x[None], trials)
    rate = jax.vmap(lambda p: rates(codes, arrays, p))(trials)
    seen = jnp.all((rate > 0) | (counts <= 0)[None], axis=1)
    least = jnp.min(jnp.where(guarded[None], jnp.minimum(rate, THIN), THIN), axis=1)
    return trials[jnp.argmax(jnp.where(seen, least, -jnp.inf))], guarded
