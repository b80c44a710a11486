r"""The Hessian of the profile, cell by cell: a Schur complement without special cases in its sum.

The cell's parameters are eliminated: the factor of each channel first, which leaves an effective
curvature :math:`e_X` along a shift of its rate, then b, with :math:`K = e_B u_B^2 + e_A u_A^2`:

.. math::  H = E\,D D^T + P Q^T + Q P^T - Q Q^T / K + \ldots, \qquad
           D = u_A \nabla\lambda_B - u_B \nabla\lambda_A .

What E, P and 1/K are depends on what is held in the cell: docs/engine.md has the five cases. In
this form an empty bin whose rate is held at 0, of infinite curvature, has finite terms.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.paired.cells import TINY, Cell, Side, SideSolution

__all__ = ["Response", "curvature", "respond"]


class Response(NamedTuple):
    """How a channel's rates answer to theta, its own factor eliminated; docs/engine.md.

    Attributes:
        e: Effective curvature of -ln L along a shift of the rate, shape (M,).
        slope: Gradient of the rate at fixed b and factor, shape (M, k).
        tilt: Mixed derivative of ln L by b and theta, without that of the rate itself, (M, k).
        terms: What the elimination of the factor adds to the Hessian, shapes (k, k).
    """

    e: JaxArray
    slope: JaxArray
    tilt: JaxArray
    terms: list[JaxArray]


def respond(
    b: Float[JaxArray, "cells"],
    side: Side,
    solution: SideSolution,
    jacobians: tuple[JaxArray | None, JaxArray | None, JaxArray | None],
    expected: bool,
) -> Response:
    """Return the response of a channel from the derivatives of u, v and c by theta."""
    du, dv, dc = jacobians
    assert du is not None
    if expected:
        alpha = 1.0 / jnp.maximum(solution.rate, TINY)
        w = jnp.zeros_like(alpha)
    else:
        alpha = jnp.where(side.n > 0, side.n / jnp.maximum(solution.rate**2, TINY), 0.0)
        w = solution.w
    slope = b[:, None] * du
    if dc is not None:
        slope = slope + dc
    tilt = w[:, None] * du
    if side.v is None:
        return Response(alpha, slope, tilt, [])
    assert dv is not None
    assert solution.gamma is not None
    assert solution.kappa is not None
    slope = slope + solution.gamma[:, None] * dv
    free = jnp.isfinite(solution.kappa)
    kappa = jnp.where(free, solution.kappa, 1.0)
    h = alpha * side.v**2 + kappa
    share = jnp.where(free, alpha * side.v / h, 0.0)
    inverse = jnp.where(free, 1.0 / h, 0.0)
    mixed = slope.T @ ((share * w)[:, None] * dv)
    return Response(
        e=jnp.where(free, alpha * kappa / h, alpha),
        slope=slope,
        tilt=tilt - (share * side.u * w)[:, None] * dv,
        terms=[mixed, mixed.T, -(dv.T @ ((w * w * inverse)[:, None] * dv))],
    )


def curvature(
    cell: Cell, sides: tuple[Side, Side], jacobians: list[JaxArray | None], expected: bool
) -> Float[JaxArray, "k k"]:
    """Return the Schur complement's data part, shape (k, k); docs/engine.md has its cases."""
    s_b, s_a = (
        respond(cell.b, side, solution, (du, dv, dc), expected)
        for side, solution, du, dv, dc in zip(
            sides, cell.sides, jacobians[:2], jacobians[2:4], jacobians[4:], strict=True
        )
    )
    u_b, u_a = sides[0].u, sides[1].u
    k = s_b.e * u_b**2 + s_a.e * u_a**2
    safe = jnp.maximum(k, TINY)
    held_b, held_a = (jnp.isinf(x.info) for x in cell.sides)
    free = cell.free & ((k > 0) | held_b | held_a)

    def by_case(at_b: JaxArray | float, at_a: JaxArray | float, inside: JaxArray) -> JaxArray:
        """A rate of B held at 0, one of A held at 0, both positive; 0 where b is tied."""
        positive = jnp.where(free, inside, 0.0)
        return jnp.where(held_b & free, at_b, jnp.where(held_a & free, at_a, positive))

    both = by_case(s_a.e / u_b**2, s_b.e / u_a**2, s_b.e * s_a.e / safe)
    contrast = u_a[:, None] * s_b.slope - u_b[:, None] * s_a.slope
    terms = [*s_b.terms, *s_a.terms, contrast.T @ (both[:, None] * contrast)]
    terms += [x.slope.T @ (jnp.where(free, 0.0, x.e)[:, None] * x.slope) for x in (s_b, s_a)]
    if not expected:
        p_b = by_case(1.0 / u_b, 0.0, s_b.e * u_b / safe)
        p_a = by_case(0.0, 1.0 / u_a, s_a.e * u_a / safe)
        tilt = jnp.where(free[:, None], s_b.tilt + s_a.tilt, 0.0)
        mixed = (p_b[:, None] * s_b.slope + p_a[:, None] * s_a.slope).T @ tilt
        terms += [mixed, mixed.T, -(tilt.T @ (by_case(0.0, 0.0, 1.0 / safe)[:, None] * tilt))]
    return functools.reduce(operator.add, terms)
