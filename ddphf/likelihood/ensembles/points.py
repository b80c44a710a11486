r"""One evaluation of an ensemble: the profiled gradient of many toys at once, and their cells.

:func:`evaluate` is the law, in any precision. :func:`deviation_gradient` is for rough steps in
single precision: it works with differences to the rates of a reference point, so that rounding is
relative to the fluctuations (1e-2 at 1e4 counts) and not to the counts. For a cell with rates
:math:`\lambda_B = b\,u_B + c`, :math:`\lambda_A = b\,u_A`, and :math:`U = u_A + u_B`,
:math:`n = n_A + n_B`, :math:`q = u_B n + U c`, the stationary b gives (derived; no term cancels)

.. math::  U (n_A - \lambda_A) = n_A u_B - n_B u_A
           + \frac{2 U u_A\, c\, n_B}{q + \sqrt{q^2 - 4 U u_B c\, n_B}}.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.paired.cells import Side, tiny
from ddphf.likelihood.paired.model import PairArrays, PairStructure, features
from ddphf.likelihood.paired.profile import (
    PairData,
    lower_b,
    pair_sides,
    solve_cells,
    solve_sides,
)

__all__ = [
    "Point",
    "Reference",
    "deviation_gradient",
    "evaluate",
    "in_rows",
    "make_reference",
    "row_sum",
]


LEAST_SHARE = 0.1
"""Of b, what a step leaves at least."""


class Point(NamedTuple):
    """An evaluation of n toys.

    Attributes:
        gradient: Of the profiled -ln L, shape (n, k).
        edm_cells: What the cells add to the EDM, shape (n,); inf where a bound of b acts.
        b: Background factors, shape (n, M).
        rates: For B and A, shape (n, M).
        gammas: For B and A, the channel's own factors, or None.
        weights: For B and A, n / rate - 1.
    """

    gradient: JaxArray
    edm_cells: JaxArray
    b: JaxArray
    rates: tuple[JaxArray, JaxArray]
    gammas: tuple[JaxArray | None, JaxArray | None]
    weights: tuple[JaxArray, JaxArray]


class Reference(NamedTuple):
    """Where an ensemble starts: a point without signal.

    Attributes:
        features: Features of u_B and u_A there, shape (features,) each.
        u: u_B and u_A there, shape (M,) each.
        slope: Shape (M, k): -ln L's gradient per unit of n_A u_B - n_B u_A, cells eliminated.
    """

    features: tuple[JaxArray, JaxArray]
    u: tuple[JaxArray, JaxArray]
    slope: JaxArray


def in_rows(arrays: PairArrays) -> PairArrays:
    """Put the axis of many data sets in front of what all share, so that no rank is promoted.

    The matrices stay: they are factors of matrix products.
    """
    shared = arrays._replace(matrices=())
    rows: PairArrays = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], shared)
    return rows._replace(matrices=arrays.matrices)


def row_sum(x: Float[JaxArray, "toys m"]) -> Float[JaxArray, "toys"]:
    """Return the sums over the last axis."""
    # A dot product vectorises on every device; XLA's CPU row reduction does not.
    return x @ jnp.ones(x.shape[-1], x.dtype)


def _plain_cells(
    s_b: Side, s_a: Side
) -> tuple[JaxArray, tuple[JaxArray, JaxArray], tuple[JaxArray, JaxArray]]:
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


def evaluate(
    structure: PairStructure,
    arrays: PairArrays,
    theta: Float[JaxArray, "toys k"],
    data: PairData,
    b: Float[JaxArray, "#toys #cells"],
) -> Point:
    """Evaluate at theta, shape (n, k), from cells at b, shape (n, M)."""
    dtype, arrays = theta.dtype, in_rows(arrays)

    def phi_of(t: JaxArray) -> tuple[JaxArray | None, ...]:
        return features(structure, arrays.coefficients, t)

    phi, pullback = jax.vjp(phi_of, theta)
    sides = pair_sides(structure, arrays, phi, data)
    s_b, s_a = sides
    edm_cells = jnp.zeros(theta.shape[0], dtype)
    gammas: tuple[JaxArray | None, JaxArray | None] = (None, None)
    if s_b.v is None and s_a.v is None:
        if structure.has("c_A"):
            cell = solve_cells(structure, arrays, sides)
            b, solutions = cell.b, cell.sides
            rates = (solutions[0].rate, solutions[1].rate)
            weights = (solutions[0].w, solutions[1].w)
        else:
            b, rates, weights = _plain_cells(s_b, s_a)
            low, high = lower_b(arrays), arrays.b_upper
            out = (b < low) | (b > high)
            edm_cells = jnp.where(jnp.any(out, axis=-1), jnp.inf, edm_cells)
    else:
        low, high = lower_b(arrays).astype(dtype), arrays.b_upper.astype(dtype)
        # Two Newton steps while theta still moves far (and single precision makes them cheap).
        for last in (False, True) if dtype == jnp.float32 else (True,):
            x_b, x_a = solve_sides(structure, sides, b)
            slope = s_b.u * x_b.w + s_a.u * x_a.w
            curvature = s_b.u**2 * x_b.info + s_a.u**2 * x_a.info
            step = slope / jnp.maximum(curvature, tiny(curvature))
            # A step may not cross 0: the rates stay positive, and Newton recovers from below.
            new = jnp.clip(jnp.maximum(b + step, LEAST_SHARE * b), low, high)
            move = new - b
            if not last:
                b = new
        edm_cells = row_sum(jnp.where(curvature > 0, slope * step, 0.0))
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
    return Point(gradient, edm_cells, b, rates, gammas, weights)


def make_reference(
    structure: PairStructure, arrays: PairArrays, theta: Float[JaxArray, "k"]
) -> Reference:
    """Return what toys started at theta, shape (k,), share."""

    def u_of(t: JaxArray) -> tuple[JaxArray, JaxArray]:
        phi = features(structure, arrays.coefficients, t)
        (f_b, f_a), (to_b, to_a) = phi[:2], arrays.matrices[:2]
        assert f_b is not None
        assert f_a is not None
        return f_b @ jnp.asarray(to_b), f_a @ jnp.asarray(to_a)

    phi = features(structure, arrays.coefficients, theta)
    u_b, u_a = u_of(theta)
    d_b, d_a = jax.jacfwd(u_of)(theta)
    slope = (u_a[:, None] * d_b - u_b[:, None] * d_a) / (u_b * u_a * (u_b + u_a))[:, None]
    assert phi[0] is not None
    assert phi[1] is not None
    return Reference((phi[0], phi[1]), (u_b, u_a), slope)


def deviation_gradient(
    structure: PairStructure,
    arrays: PairArrays,
    reference: Reference,
    contrast: Float[JaxArray, "toys cells"],
    theta: Float[JaxArray, "toys k"],
    data: PairData,
) -> Float[JaxArray, "toys k"]:
    """Return the gradient of the profiled -ln L, shape (n, k), for cells with signal in B alone.

    Args:
        structure: Static structure; without c_B the fit is one without signal.
        arrays: The model, in the precision to work in.
        reference: Close to theta.
        contrast: n_A u_B - n_B u_A at the reference, shape (n, M), from exact numbers.
        theta: Where, shape (n, k).
        data: The toys.
    """
    (n_b, n_a), arrays = data.n, in_rows(arrays)
    to_b, to_a, to_c = arrays.matrices[0], arrays.matrices[1], arrays.matrices[4]
    assert to_b is not None
    assert to_a is not None
    phi, pullback = jax.vjp(lambda t: features(structure, arrays.coefficients, t), theta)
    assert phi[0] is not None
    assert phi[1] is not None
    d_b = (phi[0] - reference.features[0][None]) @ to_b
    d_a = (phi[1] - reference.features[1][None]) @ to_a
    u_b, u_a = reference.u[0][None] + d_b, reference.u[1][None] + d_a
    total = u_b + u_a
    excess = contrast + n_a * d_b - n_b * d_a
    common = 1.0 / (total * u_b * u_a)
    scores: list[JaxArray | None] = [None] * 6
    if phi[4] is not None:
        assert to_c is not None
        c = phi[4] @ to_c
        spread, shift = total * c, u_b * (n_a + n_b)
        q = shift + spread
        root = jnp.sqrt(jnp.square(shift - spread) + 4.0 * spread * u_b * n_a)
        least = tiny(q)
        # Times -2 u_B: the sum root + q cancels only where q < 0, and there nothing is lost.
        pull = jnp.where(q > 0, -4.0 * spread * u_b * n_b / jnp.maximum(root + q, least), root - q)
        excess = excess - 0.5 * pull * u_a / u_b
        # Stationarity of b: u_B w_B + u_A w_A = 0, where A has a rate.
        missing = excess / total
        rate = n_a - missing
        w_b = jnp.where(
            rate > 0,
            -missing * u_a / (u_b * jnp.maximum(rate, least)),
            jnp.where(n_b > 0, n_b / jnp.maximum(c, least), 0.0) - 1.0,
        )
        scores[4] = w_b @ to_c.T
    weight = excess * common
    scores[0] = -(weight * u_a) @ to_b.T
    scores[1] = (weight * u_b) @ to_a.T
    score: JaxArray
    (score,) = pullback(tuple(scores))
    return arrays.precision * (theta - data.centre) - score
