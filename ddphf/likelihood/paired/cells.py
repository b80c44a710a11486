r"""The bins' own parameters in closed form: one cell of a pair, eliminated.

A cell is bin ``i`` of both channels. Its rates are

.. math::  \lambda_X = b\,u_X + \gamma_X v_X + c_X, \qquad X \in \{B, A\},

with the symmetric background ``b`` free and shared, and an optional factor ``gamma_X`` on the fakes
of each channel with a Poisson (``shapesys``) or Gaussian (``staterror``) constraint. Everything is
element-wise, so the arrays may have any common shape; the last axis is the bin.

Each elimination is the root of ``a/z + n/(z + d) = U``, which is a quadratic with one root where
both rates are positive (derived). Both rates come out without
cancellation and are never negative, whatever the sign of ``d``.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood import precision  # noqa: F401

__all__ = [
    "TINY",
    "Cell",
    "Side",
    "SideSolution",
    "pole_between",
    "solve_plain",
    "solve_side",
    "tiny",
    "two_poles",
]

PerCell = Float[JaxArray, "*#cells"]

TINY = 1e-300
"""In the place of a rate of 0 below a fraction whose numerator is then 0 too."""


def tiny(x: JaxArray) -> float:
    """Return the smallest normal number of the precision of ``x``."""
    return float(jnp.finfo(jnp.result_type(x)).tiny)


class Side(NamedTuple):
    """One channel of a cell, all arrays broadcastable to (..., M).

    Attributes:
        n: Observed counts.
        u: Coefficient of the shared ``b``.
        c: The part of the rate that the cell's own parameters do not touch.
        v: Coefficient of the channel's own factor; 0 where a bin has none. None: no bin has one.
        aux: Auxiliary datum of that factor: counts (Poisson) or its centre (Gaussian).
        width: tau (Poisson: aux ~ Poisson(gamma tau)) or sigma (Gaussian).
        lower: Lower bound of the factor.
        upper: Upper bound of the factor.
    """

    n: JaxArray
    u: JaxArray
    c: JaxArray
    v: JaxArray | None = None
    aux: JaxArray | None = None
    width: JaxArray | None = None
    lower: JaxArray | None = None
    upper: JaxArray | None = None


class SideSolution(NamedTuple):
    """A channel at given ``b``, its own factor profiled.

    Attributes:
        rate: Expected counts, never negative.
        w: ``n / rate - 1``, the derivative of ln L with respect to the rate.
        info: Curvature of -ln L along a shift of the rate, the channel's own factor profiled.
        gamma: The factor (1 where there is none).
        kappa: Curvature of the factor's own constraint; inf where it is at a bound or absent.
    """

    rate: JaxArray
    w: JaxArray
    info: JaxArray
    gamma: JaxArray | None
    kappa: JaxArray | None


class Cell(NamedTuple):
    """The eliminated parameters: ``b``, whether it is free, and both channels."""

    b: JaxArray
    free: JaxArray
    sides: tuple[SideSolution, SideSolution]


def two_poles(a: PerCell, n: PerCell, u: PerCell, d: PerCell) -> tuple[JaxArray, JaxArray]:
    """Return ``z`` and ``z + d`` where ``a/z + n/(z + d) = u``, both >= 0.

    Args:
        a: Counts at the pole z = 0, >= 0.
        n: Counts at the pole z = -d, >= 0.
        u: Positive.
        d: Any sign.

    Example:
        >>> z, m = two_poles(jnp.array(12.0), jnp.array(18.0), jnp.array(2.0), jnp.array(1.7175037))
        >>> round(float(z), 5), round(float(m), 5)
        (14.01764, 15.73515)
    """
    ud = u * d
    least = tiny(ud)
    delta = ud - (n - a)
    root = jnp.sqrt(delta * delta + 4.0 * a * n)
    low = a + n - ud + root
    high = a + n + ud + root
    # Of the two sums at most one cancels, the one whose linear term is negative; its partner is
    # then at least n + a, and the product of both roots gives the small one exactly.
    z = jnp.where(a + n < ud, 4.0 * a * ud / jnp.maximum(root - (a + n - ud), least), low)
    m = jnp.where(a + n < -ud, -4.0 * n * ud / jnp.maximum(root - (a + n + ud), least), high)
    return z / (2.0 * u), m / (2.0 * u)


def pole_between(a: PerCell, n: PerCell, u: PerCell, reach: PerCell) -> tuple[JaxArray, JaxArray]:
    """Return ``z`` and ``reach - z`` where ``a/z - n/(reach - z) = u``, both >= 0.

    The left side falls from +inf to -inf between the poles, so there is one root for any ``u``.

    Args:
        a: Counts at the pole z = 0, >= 0.
        n: Counts at the pole z = reach, >= 0.
        u: Any sign.
        reach: Distance of the poles, >= 0.

    Example:
        >>> z, rest = pole_between(*map(jnp.array, (12.0, 18.0, -2.0, 10.0)))
        >>> round(float(z), 5), round(float(12 / z - 18 / rest), 5)
        (5.63941, -2.0)
    """
    ud = u * reach
    least = tiny(ud)
    root = jnp.sqrt(jnp.square(ud + n - a) + 4.0 * a * n)
    safe = jnp.where(u == 0, 1.0, 2.0 * u)
    # u z^2 - (u reach + a + n) z + a reach = 0, and the same for reach - z with a, n and u -> -u.
    # Of the two forms of a root the one without a difference of equal numbers.
    far, near = a + n + ud, a + n - ud
    z = jnp.where(far >= 0, 2.0 * a * reach / jnp.maximum(far + root, least), (far - root) / safe)
    y = jnp.where(
        near >= 0, 2.0 * n * reach / jnp.maximum(near + root, least), (root - near) / safe
    )
    return z, y


def weight(
    n: Float[JaxArray, "*#cells"], rate: Float[JaxArray, "*#cells"]
) -> Float[JaxArray, "*cells"]:
    """Return ``n / rate - 1``; an empty bin gives -1 at any rate."""
    return jnp.where(n > 0, n / jnp.maximum(rate, tiny(rate)), 0.0) - 1.0


def solve_plain(b_side: Side, a_side: Side) -> tuple[JaxArray, JaxArray, JaxArray]:
    """Return ``b`` and the two rates of a cell without factors of its own, ``b`` unbounded."""
    x = b_side.c / b_side.u
    y = a_side.c / a_side.u
    z, m = two_poles(a_side.n, b_side.n, b_side.u + a_side.u, x - y)
    return z - y, m * b_side.u, z * a_side.u


def solve_side(
    side: Side, b: Float[JaxArray, "*cells"], *, gaussian: bool = False, scaled: bool = False
) -> SideSolution:
    """Profile a channel's own factor at given ``b``.

    The factor's profile is convex, so clipping the root to its bounds is exact.

    Args:
        side: The channel.
        b: Shared background.
        gaussian: Whether the factor's constraint is Gaussian.
        scaled: Whether ``v`` may be below 0, as a signal's: costs a second root. Without it a bin
            with ``v < 0`` has no factor, and its rate is not that of the model.
    """
    shift = b * side.u + side.c
    if side.v is None:
        rate = jnp.maximum(shift, 0.0)
        return SideSolution(
            rate, weight(side.n, rate), side.n / jnp.maximum(rate * rate, tiny(rate)), None, None
        )
    assert side.aux is not None
    assert side.width is not None
    assert side.lower is not None
    assert side.upper is not None
    has = side.v != 0 if scaled else side.v > 0
    v = jnp.where(has, side.v, 1.0)
    # Where nothing is multiplied (a signal at mu = 0) the constraint alone says what the factor is.
    alone = side.aux if gaussian else side.aux / side.width
    if gaussian:
        spread = jnp.square(side.width * v)
        q = shift + v * side.aux - spread
        root = jnp.sqrt(q * q + 4.0 * side.n * spread)
        rate = 0.5 * jnp.where(
            q >= 0, q + root, 4.0 * side.n * spread / jnp.maximum(root - q, tiny(q))
        )
        gamma = (rate - shift) / v
    else:
        size = jnp.abs(v) if scaled else v
        gamma, over = two_poles(side.aux, side.n, side.width + size, shift / size)
        if scaled:  # the factor of what takes away lies between the poles
            reach = jnp.maximum(shift / size, 0.0)
            under, rest = pole_between(side.aux, side.n, side.width + v, reach)
            gamma, over = jnp.where(v > 0, gamma, under), jnp.where(v > 0, over, rest)
        rate = over * size
    gamma = jnp.where(has, gamma, alone)
    clipped = jnp.clip(gamma, side.lower, side.upper)
    own = (
        1.0 / jnp.square(side.width)
        if gaussian
        else side.aux / jnp.maximum(gamma * gamma, tiny(gamma))
    )
    inside = (clipped == gamma) & (has | ((side.lower < side.upper) & (own > 0)))
    v = jnp.where(has, v, 0.0)
    rate = jnp.where(inside & has, rate, jnp.maximum(shift + clipped * v, 0.0))
    alpha = side.n / jnp.maximum(rate * rate, tiny(rate))
    kappa = jnp.where(inside, own, jnp.inf)
    # alpha kappa / (kappa + alpha v^2): a free factor takes its share of a shift of the rate.
    shared = alpha * own / jnp.maximum(own + alpha * v * v, tiny(alpha))
    info = jnp.where(inside & has, shared, alpha)
    return SideSolution(rate, weight(side.n, rate), info, clipped, kappa)
