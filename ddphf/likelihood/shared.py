r"""Ensembles: all toys share their expected information, and every toy is checked.

Toys drawn from one point have nearly one Hessian. Its inverse is computed once, and each toy
iterates :math:`\theta \leftarrow \theta - F^{-1} g` with its own profiled gradient; the error
shrinks by about :math:`1/\sqrt{\text{counts}}` per step, and a step costs one matrix product to
get the rates and one to get the gradient. The null (POI held) comes first, and the free fit starts
from it, where only the POI's derivative is left.

The first steps run in single precision, which is faster and loses nothing: the last ones, the
certificate and q0 are in double precision at the point itself. What is not certified here goes to
:mod:`ddphf.likelihood.pair_newton`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.likelihood.cells import Side, solve_side, tiny
from ddphf.likelihood.kinks import one_sided_scores
from ddphf.likelihood.pair_model import PairArrays, PairStructure, features
from ddphf.likelihood.pair_profile import PairData, lower_b, pair_sides, solve_cells

__all__ = ["BlockResult", "SharedInputs", "fit_block"]

Array = Any
SINGLE_TOLERANCE = 1e-5
SINGLE_STEPS = 12


class SharedInputs(NamedTuple):
    """What the toys of an ensemble share.

    Attributes:
        theta: Starting point, shape (k,), POI at its null value.
        b: Expected background factors there, shape (M,).
        inverse_null: Inverse expected information with the POI held, shape (k, k), 0 where held.
        inverse_free: The same with the POI free.
        tolerance: EDM below which a toy is done, in units of 2NLL.
        stragglers: How many toys of a block may be left for another pass.
        max_steps: Steps in double precision.
    """

    theta: Array
    b: Array
    inverse_null: Array
    inverse_free: Array
    tolerance: Array
    stragglers: Array
    max_steps: Array


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
    """

    null: Array
    free: Array
    edm_null: Array
    edm_free: Array
    difference: Array
    at_zero: Array
    steps: Array


class _Point(NamedTuple):
    gradient: Array
    edm_cells: Array
    b: Array
    rates: tuple[Array, Array]
    gammas: tuple[Array | None, Array | None]
    weights: tuple[Array, Array]


def _row_sum(x: Array) -> Array:
    # A dot product vectorises on every device; XLA's CPU row reduction does not.
    return x @ jnp.ones(x.shape[-1], x.dtype)


def _plain_fast(s_b: Side, s_a: Side) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """Cells without fakes and with signal in B alone: one square root and four divisions."""
    total, n = s_b.u + s_a.u, s_a.n + s_b.n
    d = s_b.c / s_b.u
    ud = total * d
    delta = ud - (s_b.n - s_a.n)
    root = jnp.sqrt(delta * delta + 4.0 * s_a.n * s_b.n)
    linear = n - ud
    cancels = linear < 0
    top = jnp.where(cancels, 4.0 * s_a.n * ud, linear + root)
    low = jnp.where(cancels, jnp.maximum(root - linear, tiny(root)), 1.0)
    z = top / (2.0 * total * low)
    m = jnp.maximum(z + d, s_b.n / total)
    least = tiny(z)
    has_a = z > 0
    w_a = jnp.where(s_a.n > 0, s_a.n / jnp.maximum(s_a.u * z, least), 0.0) - 1.0
    # Stationarity of b: u_B w_B + u_A w_A = 0; the channel with a rate says what w is.
    w_b_own = jnp.where(s_b.n > 0, s_b.n / jnp.maximum(s_b.u * m, least), 0.0) - 1.0
    w_b = jnp.where(has_a, -w_a * s_a.u / s_b.u, w_b_own)
    w_a = jnp.where(has_a, w_a, -w_b_own * s_b.u / s_a.u)
    return z, (m * s_b.u, z * s_a.u), (w_b, w_a)


def _point(
    structure: PairStructure, arrays: PairArrays, theta: Array, data: PairData, b: Array
) -> _Point:
    """Return the profiled gradient, shape (n, k), and the cells at theta, shape (n, k)."""
    dtype = theta.dtype

    def phi_of(t: Array) -> tuple[Array | None, ...]:
        return features(structure, arrays.coefficients, t)

    phi, pullback = jax.vjp(phi_of, theta)
    sides = pair_sides(structure, arrays, phi, data)
    s_b, s_a = sides
    edm_cells = jnp.zeros(theta.shape[0], dtype)
    gammas: tuple[Array | None, Array | None] = (None, None)
    if s_b.v is None and s_a.v is None:
        if structure.has("c_A"):
            cell = solve_cells(structure, arrays, sides)
            b, solutions = cell.b, cell.sides
            rates = (solutions[0].rate, solutions[1].rate)
            weights = (solutions[0].w, solutions[1].w)
        else:
            b, rates, weights = _plain_fast(s_b, s_a)
            low, high = lower_b(arrays), arrays.b_upper
            out = (b < low) | (b > high)
            edm_cells = jnp.where(jnp.any(out, axis=-1), jnp.inf, edm_cells)
    else:
        low, high = lower_b(arrays).astype(dtype), arrays.b_upper.astype(dtype)
        # Two Newton steps while theta still moves far (and single precision makes them cheap).
        for last in (False, True) if dtype == jnp.float32 else (True,):
            x_b, x_a = (
                solve_side(s, b, gaussian=g) for s, g in zip(sides, structure.gaussian, strict=True)
            )
            slope = s_b.u * x_b.w + s_a.u * x_a.w
            curvature = s_b.u**2 * x_b.info + s_a.u**2 * x_a.info
            step = slope / jnp.maximum(curvature, tiny(curvature))
            # A step may not cross 0: the rates stay positive, and Newton recovers from below.
            new = jnp.clip(jnp.maximum(b + step, 0.1 * b), low, high)
            move = new - b
            if not last:
                b = new
        edm_cells = _row_sum(jnp.where(curvature > 0, slope * step, 0.0))
        # First order in the step of b: the gradient is that of the profile, not of a point nearby.
        weights = (x_b.w - x_b.info * s_b.u * move, x_a.w - x_a.info * s_a.u * move)
        rates = (x_b.rate, x_a.rate)
        gammas = (x_b.gamma, x_a.gamma)
        b = new
    ones = jnp.ones((), dtype)
    cotangents = [b * weights[0], b * weights[1]]
    for x in range(2):
        gamma = gammas[x]
        cotangents.append(weights[x] * (ones if gamma is None else gamma))
    cotangents += [weights[0], weights[1]]
    scores = tuple(
        None if m is None else c @ jnp.asarray(m, dtype).T
        for c, m in zip(cotangents, arrays.matrices, strict=True)
    )
    (score,) = pullback(scores)
    pull = theta - data.centre
    gradient = jnp.asarray(arrays.precision, dtype) * pull - score
    return _Point(gradient, edm_cells, b, rates, gammas, weights)


class _Rates(NamedTuple):
    rates: tuple[Array, Array]
    gammas: tuple[Array | None, Array | None]
    weights: tuple[Array, Array]


class _Loop(NamedTuple):
    theta: Array
    b: Array
    edm: Array
    at: Array
    b_at: Array
    gradient: Array
    steps: Array


def _iterate(
    structure: PairStructure,
    arrays: PairArrays,
    theta: Array,
    b: Array,
    data: PairData,
    inverse: Array,
    hold: Array,
    tolerance: Array,
    stragglers: Array,
    max_steps: Array,
) -> tuple[_Loop, _Rates]:
    """Iterate until all but a few toys are done; ``at`` is where the certificate was taken."""
    lower = jnp.asarray(arrays.lower, theta.dtype)
    upper = jnp.asarray(arrays.upper, theta.dtype)

    # Only what the next step needs is carried: copies of rates would cost more than the step.
    keep_b = structure.has("v_B") or structure.has("v_A")

    def step_from(theta: Array, b: Array, steps: Array) -> tuple[_Loop, _Rates]:
        point = _point(structure, arrays, theta, data, b)
        step = jnp.where(hold[:, None], 0.0, point.gradient @ inverse)
        edm = jnp.sum(step * point.gradient, axis=-1) + point.edm_cells
        edm = jnp.where(jnp.isfinite(edm), edm, jnp.inf)
        wanted = theta - step
        trial = jnp.clip(wanted, lower, upper)
        # Not certified at a bound: there Newton's active set decides.
        edm = jnp.where(jnp.any(trial != wanted, axis=-1) & ~hold, jnp.inf, edm)
        trial = jnp.where(jnp.isfinite(trial), trial, theta)
        new_b = point.b if keep_b else b
        loop = _Loop(trial, new_b, edm, theta, b, point.gradient, steps + 1)
        return loop, _Rates(point.rates, point.gammas, point.weights)

    def proceed(loop: _Loop) -> Array:
        left = jnp.sum((loop.edm > tolerance) & ~hold)
        return (left > stragglers) & (loop.steps < max_steps)

    if not keep_b:
        b = b[:, :1]
    first, rates = step_from(theta, b, jnp.zeros((), int))
    loop = jax.lax.while_loop(proceed, lambda s: step_from(s.theta, s.b, s.steps)[0], first)
    # Mostly the first step of this precision is the last one, and its rates are at hand.
    rates = jax.lax.cond(
        loop.steps > 1,
        lambda at, b: step_from(at, b, loop.steps)[1],
        lambda at, b: rates,
        loop.at,
        loop.b_at,
    )
    return loop, rates


def _log_ratio(new: Array, old: Array) -> Array:
    """Return ln(new / old) (1 where both are 0); a short series where all are close."""
    total = new + old
    t = jnp.where(total > 0, (new - old) / jnp.where(total > 0, total, 1.0), 0.0)

    def series(t: Array) -> Array:
        s = t * t
        value = jnp.zeros_like(s)
        for power in range(15, 1, -2):
            value = (value + 1.0 / power) * s
        return 2.0 * t * (1.0 + value)

    return jax.lax.cond(
        jnp.max(jnp.abs(t)) < 0.1,
        series,
        lambda t: jnp.where(jnp.abs(t) < 1, jnp.log1p(t) - jnp.log1p(-t), t * 1e30),
        t,
    )


def _difference(
    structure: PairStructure,
    arrays: PairArrays,
    data: PairData,
    null: tuple[Array, _Rates],
    free: tuple[Array, _Rates],
) -> Array:
    """Return 2NLL(null) - 2NLL(free), term by term: no difference of large sums."""
    (theta0, p0), (theta1, p1) = null, free
    total = jnp.zeros(theta0.shape[0])
    for x in range(2):
        n, r0, r1 = data.n[x], p0.rates[x], p1.rates[x]
        total = total + _row_sum(jnp.where(n > 0, n * _log_ratio(r1, r0), 0.0) - (r1 - r0))
        g0, g1, width, aux = p0.gammas[x], p1.gammas[x], arrays.width[x], data.aux[x]
        if g0 is None or g1 is None or width is None or aux is None:
            continue
        if structure.gaussian[x]:
            total = total + _row_sum((g0 - g1) * (0.5 * (g0 + g1) - aux) / width**2)
        else:
            total = total + _row_sum(aux * _log_ratio(g1, g0) - width * (g1 - g0))
    prior = (theta0 - theta1) * (0.5 * (theta0 + theta1) - data.centre) * arrays.precision
    return 2.0 * (total + _row_sum(prior))


def _kink(
    structure: PairStructure, arrays: PairArrays, poi: int, null: _Loop, data: PairData, p: _Rates
) -> Array:
    """Return True where 0 lies in the subdifferential in the POI at the null fit.

    Cells with both rates 0 give a different slope on either side.
    """
    theta = null.at
    empty = (data.n[0] + data.n[1] + p.rates[0] + p.rates[1]) == 0

    def find(empty: Array) -> Array:
        right, left = one_sided_scores(
            structure, arrays, poi, theta, null.gradient, empty, p.weights
        )
        return (right <= 0) & (left >= 0) & (left > right)

    return jax.lax.cond(
        jnp.any(empty), find, lambda e: jnp.zeros(e.shape[0], bool), jnp.asarray(empty)
    )


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
    single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (arrays, data))
    theta = jnp.broadcast_to(shared.theta, (n, structure.n_global))
    b = jnp.broadcast_to(shared.b, (n, structure.n_cells))
    nobody = jnp.zeros(n, bool)

    def run(
        theta: Array, b: Array, inverse: Array, hold: Array, *, moves: bool = True
    ) -> tuple[_Loop, _Rates]:
        low = partial(jnp.asarray, dtype=jnp.float32)
        if not moves:
            return _iterate(
                structure, arrays, theta, b, data, inverse, hold,
                shared.tolerance, shared.stragglers, shared.max_steps,
            )  # fmt: skip
        rough, _ = _iterate(
            structure, single[0], low(theta), low(b), single[1], low(inverse), hold,
            low(SINGLE_TOLERANCE), shared.stragglers, SINGLE_STEPS,
        )  # fmt: skip
        # Held parameters keep their double precision values.
        moved = (jnp.diag(inverse) > 0) & ~hold[:, None]
        theta = jnp.where(moved, rough.theta.astype(float), theta)
        return _iterate(
            structure, arrays, theta, rough.b.astype(float), data, inverse, hold,
            shared.tolerance, shared.stragglers, shared.max_steps,
        )  # fmt: skip

    plain = not (structure.has("v_B") or structure.has("v_A"))
    null, at_null = run(
        theta, b, shared.inverse_null, nobody, moves=structure.n_global > 1 or not plain
    )
    at_zero = _kink(structure, arrays, poi, null, data, at_null)
    start = null.at - jnp.where(at_zero[:, None], 0.0, null.gradient @ shared.inverse_free)
    start = jnp.clip(start, arrays.lower, arrays.upper)
    free, at_free = run(start, null.b, shared.inverse_free, at_zero)
    edm_free = jnp.where(at_zero, null.edm, free.edm)
    difference = _difference(structure, arrays, data, (null.at, at_null), (free.at, at_free))
    # Both values are at most one EDM above their minima; q0 takes the predicted minima.
    difference = jnp.where(at_zero, 0.0, difference + edm_free - null.edm)
    return BlockResult(
        null=null.at,
        free=jnp.where(at_zero[:, None], null.at, free.at),
        edm_null=null.edm,
        edm_free=edm_free,
        difference=difference,
        at_zero=at_zero,
        steps=null.steps + free.steps,
    )
