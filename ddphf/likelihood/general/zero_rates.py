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

from ddphf.arrays import JaxArray
from ddphf.likelihood.general.arrays import Codes, ModelArrays, rates
from ddphf.likelihood.general.arrowhead import (
    Cells,
    across,
    add_diagonal,
    along,
    read_diagonal,
    solve,
)
from ddphf.likelihood.general.derivatives import Point, evaluate
from ddphf.likelihood.general.newton import GeneralResult, is_physical, make_result

__all__ = ["minimize_at_zero"]


MAX_STEPS = 400
FIRST, LAST = 0.1, 1e-9
"""Epsilon at the start, and its sum over all distances at the end."""
INWARDS = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 0.0)
"""Steps tried, in expected standard deviations, from a start at the edge."""


class _Distances(NamedTuple):
    """What must stay positive, or something of each: multipliers, changes."""

    rate: JaxArray
    lower: JaxArray
    upper: JaxArray


class _State(NamedTuple):
    x: JaxArray
    point: Point
    multiplier: _Distances
    epsilon: JaxArray
    trial: JaxArray
    trial_multiplier: _Distances
    fresh: JaxArray
    solved: JaxArray
    share: JaxArray
    edm: JaxArray
    done: JaxArray
    steps: JaxArray


@partial(jax.jit, static_argnums=0)
def minimize_at_zero(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    start: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: JaxArray,
) -> GeneralResult:
    """Minimise -ln L of one data set over the parameters that make no rate negative.

    Args:
        codes: Static codes.
        arrays: The model.
        cells: Global and local parameters.
        start: Shape (n,); held parameters keep these values.
        fixed: True for parameters to hold, shape (n,).
        lower: Bounds, shape (n,).
        upper: Bounds.
        data: Main and auxiliary data.

    Returns:
        The point; its EDM includes what the remaining distance to rates of 0 is worth.
    """
    n_bins = arrays.nominal.shape[0]
    counts = data[:n_bins]
    fixed = fixed | ~(lower < upper)
    free = ~fixed
    edge = jnp.minimum(1e-2 * jnp.maximum(1.0, jnp.abs(start)), 0.1 * (upper - lower))
    x = jnp.where(fixed, start, jnp.clip(start, lower + edge, upper - edge))
    x, guarded = _move_inside(codes, arrays, cells, x, fixed, lower + edge, upper - edge, data)
    held = _Distances(guarded, free, free)
    last = LAST / jnp.maximum(sum(jnp.sum(h) for h in held), 1)

    def distances(x: JaxArray, rate: JaxArray) -> _Distances:
        all_ = _Distances(rate, x - lower, upper - x)
        kept: _Distances = jax.tree.map(lambda d, h: jnp.where(h, d, 1.0), all_, held)
        return kept

    def around(x: JaxArray, epsilon: JaxArray, multiplier: _Distances) -> Point:
        """Return -ln L with the barrier; of an empty bin it is that of epsilon events."""
        barrier = data.at[:n_bins].set(jnp.where(guarded, epsilon, counts))
        point = evaluate(codes, arrays, cells, x, barrier, multiplier.rate)
        _, low, high = distances(x, point.rate)
        value = -epsilon * jnp.sum(jnp.log(low) + jnp.log(high))
        slope = epsilon * jnp.where(free, 1.0 / high - 1.0 / low, 0.0)
        curvature = multiplier.lower / low + multiplier.upper / high
        return point._replace(
            value=point.value + value,
            gradient=point.gradient + slope,
            hessian=add_diagonal(point.hessian, cells, curvature),
            information=add_diagonal(point.information, cells, curvature),
        )

    def body(s: _State) -> _State:
        new = around(s.trial, s.epsilon, s.trial_multiplier)
        slack = 1e-13 * (1.0 + jnp.abs(s.point.value))
        inside = jnp.all((new.rate > 0) | ~(guarded | (counts > 0)))
        inside = inside & jnp.all(((s.trial > lower) & (s.trial < upper)) | fixed)
        better = s.solved & inside & (s.fresh | (new.value <= s.point.value + slack))
        x, point, multiplier = jax.tree.map(
            lambda a, b: jnp.where(better, a, b),
            (s.trial, new, s.trial_multiplier),
            (s.x, s.point, s.multiplier),
        )
        # Shorter steps, not damped ones: damping would measure by the steep walls.
        share = jnp.where(better, jnp.minimum(1.0, 4.0 * s.share), 0.5 * s.share)

        newton = solve(point.hessian, cells, point.gradient, free, jnp.zeros(()))
        edm = jnp.sum(point.gradient * newton)
        positive = jnp.isfinite(edm) & (edm >= 0)
        centred = better & positive & (edm <= 0.1 * s.epsilon)
        fallen = jnp.maximum(last, jnp.minimum(0.1 * s.epsilon, s.epsilon**1.5))

        step = jax.lax.cond(
            positive,
            lambda: newton,
            lambda: solve(point.information, cells, point.gradient, free, jnp.zeros(())),
        )
        solved = jnp.all(jnp.isfinite(step))
        step = jnp.where(solved & free, step, 0.0)
        here = distances(x, point.rate)
        change = _Distances(-along(cells, point.slope, step), -step, step)
        # Not further than 99 % of the way to the first edge; of bins with events neither.
        walls = held._replace(rate=guarded | (counts > 0))
        used = jax.tree.map(
            lambda c, d, h: jnp.max(jnp.where(h, -c / d, 0.0), initial=0.0),
            change,
            here._replace(rate=point.rate),
            walls,
        )
        length = share * jnp.minimum(1.0, 0.99 / jnp.maximum(jnp.max(jnp.stack(used)), 1e-300))

        def follow(z: JaxArray, c: JaxArray, d: JaxArray, h: JaxArray) -> JaxArray:
            aim = z + length * ((s.epsilon - z * c) / d - z)
            # A rate is not linear, so that the step may miss: stay near epsilon / distance.
            ahead = s.epsilon / jnp.maximum(d + length * c, 1e-300)
            return jnp.where(h, jnp.clip(aim, 1e-3 * ahead, 1e3 * ahead), 0.0)

        return _State(
            x=x,
            point=point,
            multiplier=multiplier,
            epsilon=jnp.where(centred, fallen, s.epsilon),
            trial=jnp.where(centred, x, x - length * step),
            trial_multiplier=jax.tree.map(
                lambda a, b: jnp.where(centred, a, b),
                multiplier,
                jax.tree.map(follow, multiplier, change, here, held),
            ),
            fresh=centred,
            solved=centred | solved,
            share=share,
            edm=edm,
            done=centred & (s.epsilon <= last),
            steps=s.steps + 1,
        )

    first = jnp.maximum(FIRST, last)
    multiplier = jax.tree.map(
        lambda d, h: jnp.where(h, first / jnp.maximum(d, 1e-300), 0.0),
        distances(x, rates(codes, arrays, x)),
        held,
    )
    empty = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(around, x, first, multiplier)
    )
    yes, no = jnp.ones((), bool), jnp.zeros((), bool)
    state = _State(
        x,
        empty,
        multiplier,
        first,
        x,
        multiplier,
        yes,
        yes,
        jnp.ones(()),
        jnp.full((), jnp.inf),
        no,
        jnp.zeros((), int),
    )
    state = jax.lax.while_loop(
        lambda s: ~s.done & (s.steps < MAX_STEPS) & (s.share > 1e-12), body, state
    )
    result = make_result(
        cells, state.x, state.point, state.edm, state.steps, fixed, lower, upper, counts
    )
    # Parameters at a bound are put there, unless that costs a rate its sign; it is worth epsilon.
    _, z_low, z_high = state.multiplier
    low, high = free & (state.x - lower < z_low), free & (upper - state.x < z_high)
    snapped = jnp.where(low, lower, jnp.where(high, upper, state.x))
    rate = rates(codes, arrays, snapped)
    legal = is_physical(rate, counts)
    # What the multipliers leave of the gradient; the barrier's own is steep next to an edge.
    bare = evaluate(codes, arrays, cells, state.x, data)
    walls = across(cells, bare.slope, state.multiplier.rate, len(x)) + z_low - z_high
    left = jnp.where(free & ~low & ~high, bare.gradient - walls, 0.0)
    return result._replace(
        projected=2.0 * jnp.max(jnp.abs(left)),
        parameters=jnp.where(legal, snapped, state.x),
        rates=jnp.where(legal, rate, state.point.rate),
        errors=jnp.where(low | high, 0.0, result.errors),
        stiffness=read_diagonal(bare.hessian, cells, len(x)),
        free=free & ~low & ~high,
        edm=jnp.where(state.done, result.edm + 2.0 * LAST, jnp.inf),
    )


def _move_inside(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    x: JaxArray,
    fixed: JaxArray,
    lower: JaxArray,
    upper: JaxArray,
    data: JaxArray,
) -> tuple[JaxArray, JaxArray]:
    """Return a start with positive rates, and which bins are empty and can change their rate."""
    counts = data[: arrays.nominal.shape[0]]
    point = evaluate(codes, arrays, cells, x, data)
    f_local = jnp.concatenate([~fixed, jnp.zeros(1, bool)])[cells.local]
    f_local = jnp.concatenate([f_local, jnp.zeros((1, f_local.shape[1]), bool)])[cells.of_bin]
    j_global = jnp.where(~fixed[cells.global_], point.slope[0], 0.0)
    j_local = jnp.where(f_local, point.slope[1], 0.0)
    moves = jnp.any(j_global != 0, axis=1) | jnp.any(j_local != 0, axis=1)
    guarded = (counts <= 0) & moves
    thin = (guarded & (point.rate < 1e-2)).astype(float)
    pull = across(cells, (j_global, j_local), thin, len(x))
    # The width of the box stands in for what the data do not say.
    matrix = add_diagonal(point.information, cells, 1.0 / (upper - lower) ** 2)
    step = solve(matrix, cells, pull, ~fixed, jnp.zeros(()))
    step = step / jnp.sqrt(jnp.maximum(jnp.sum(pull * step), 1e-300))
    step = jnp.where(~fixed & jnp.isfinite(step), step, 0.0)
    trials = jnp.clip(x + jnp.asarray(INWARDS)[:, None] * step, lower, upper)
    trials = jnp.where(fixed, x, trials)
    rate = jax.vmap(lambda p: rates(codes, arrays, p))(trials)
    seen = jnp.all((rate > 0) | (counts <= 0), axis=1)
    least = jnp.min(jnp.where(guarded, jnp.minimum(rate, 1e-2), 1e-2), axis=1)
    return trials[jnp.argmax(jnp.where(seen, least, -jnp.inf))], guarded
