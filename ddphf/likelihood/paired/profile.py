r"""The pair's likelihood with every cell eliminated: value, gradient and Hessian in theta alone.

``b`` and the channels' own factors are profiled exactly (:mod:`ddphf.likelihood.paired.cells`), so
what is left is a function of the k global parameters. Its Hessian is the Schur complement of the
arrowhead (:mod:`ddphf.likelihood.paired.curvature`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.deviance import deviance
from ddphf.likelihood.paired.cells import TINY, Cell, Side, SideSolution, solve_plain, solve_side
from ddphf.likelihood.paired.curvature import curvature
from ddphf.likelihood.paired.model import PairArrays, PairStructure, features

__all__ = ["PairData", "Profile", "find_roots", "pair_sides", "profile", "solve_cells"]

FLOOR = 1e-8
"""A lower bound of the factor b at or below this only keeps pyhf's logarithms finite: read as 0."""
ROUNDING_OF_RATES = 1e-12
"""A rate this far below 0, relative to its terms, is 0."""
FLAT = 1e-3
"""Slope of ln L along b, per u_B + u_A, below which a step under rounding is the end."""


BRACKET = 1e-12
"""How far above the largest b that events could ask for the bracket ends, relative and absolute."""
MAX_STEPS, STILL = 80, 1e-15
"""Steps towards b at most (a bracket of doubles is halved 60 times), and the relative move that is
none in any cell."""
NOTHING = 1e-30
"""b below this may move by any part of itself."""


class PairData(NamedTuple):
    """One data set (or a batch, with leading axes).

    Attributes:
        n: For B and A, observed counts, shape (M,).
        aux: For B and A, the auxiliary data of the channel's own factor, shape (M,), or None.
        centre: Auxiliary data of the global parameters, shape (k,); 0 where unconstrained.
    """

    n: tuple[JaxArray, JaxArray]
    aux: tuple[JaxArray | None, JaxArray | None]
    centre: JaxArray


class Profile(NamedTuple):
    """Value (-ln L without constants), gradient and Hessian of the profile; the cells."""

    value: JaxArray
    gradient: JaxArray
    hessian: JaxArray
    cell: Cell
    feasible: JaxArray


def pair_sides(
    structure: PairStructure,
    arrays: PairArrays,
    phi: tuple[JaxArray | None, ...],
    data: PairData,
) -> tuple[Side, Side]:
    """Return both channels' coefficients from the features ``phi``."""
    values = [
        None if f is None or m is None else f @ jnp.asarray(m, f.dtype)
        for f, m in zip(phi, arrays.matrices, strict=True)
    ]
    sides = []
    for x in range(2):
        u, v, c = values[x], values[2 + x], values[4 + x]
        assert u is not None
        sides.append(
            Side(
                n=data.n[x],
                u=u,
                c=jnp.zeros((), u.dtype) if c is None else c,
                v=v,
                aux=data.aux[x],
                width=arrays.width[x],
                lower=arrays.gamma_lower[x],
                upper=arrays.gamma_upper[x],
            )
        )
    del structure
    return sides[0], sides[1]


def solve_sides(
    structure: PairStructure, sides: tuple[Side, Side], b: Float[JaxArray, "*cells"]
) -> tuple[SideSolution, SideSolution]:
    """Return both channels at given ``b``, their own factors profiled."""
    one, other = (
        solve_side(side, b, gaussian=gaussian, scaled=scaled)
        for side, gaussian, scaled in zip(sides, structure.gaussian, structure.scaled, strict=True)
    )
    return one, other


def lower_b(arrays: PairArrays) -> Float[JaxArray, "*cells"]:
    """Return the lower bounds of b, with pyhf's floors read as 0."""
    return jnp.where(arrays.b_lower <= FLOOR, 0.0, arrays.b_lower)


def solve_cells(structure: PairStructure, arrays: PairArrays, sides: tuple[Side, Side]) -> Cell:
    """Eliminate every cell exactly, bounds included.

    The profile over ``b`` is convex, so a bound is met by clipping, and Newton inside a shrinking
    bracket finds the root where the channels have factors of their own.
    """
    low, high = lower_b(arrays), arrays.b_upper
    s_b, s_a = sides
    if s_b.v is None and s_a.v is None:
        root, rate_b, rate_a = solve_plain(s_b, s_a)
        # The bounds of b act only where they exclude the root; positivity is in the root itself.
        b = jnp.clip(root, jnp.maximum(low, jnp.maximum(-s_b.c / s_b.u, -s_a.c / s_a.u)), high)
        inside = (root >= low) & (root <= high)
        rates = [
            jnp.where(inside, rate_b, jnp.maximum(b * s_b.u + s_b.c, 0.0)),
            jnp.where(inside, rate_a, jnp.maximum(b * s_a.u + s_a.c, 0.0)),
        ]
        solutions = []
        for side, rate in zip(sides, rates, strict=True):
            w = jnp.where(side.n > 0, side.n / jnp.maximum(rate, TINY), 0.0) - 1.0
            info = jnp.where(side.n > 0, side.n / jnp.maximum(rate * rate, TINY), 0.0)
            solutions.append(SideSolution(rate, w, info, None, None))
        solved = Cell(b, inside, (solutions[0], solutions[1]))
    else:
        b, _ = find_roots(structure, sides, low, high)
        both = solve_sides(structure, sides, b)
        inside = (b > low) & (b < high)
        solved = Cell(b, inside, both)
    return _complete_weights(solved, sides)


def _complete_weights(cell: Cell, sides: tuple[Side, Side]) -> Cell:
    """Give an empty bin held at rate 0 the weight that stationarity of ``b`` implies."""
    s_b, s_a = sides
    x_b, x_a = cell.sides
    zero_b = (s_b.n == 0) & (x_b.rate <= 0) & cell.free
    zero_a = (s_a.n == 0) & (x_a.rate <= 0) & cell.free & ~zero_b
    # The held channel's multiplier: u_B w_B + u_A w_A = 0, where its own w would be -1 at most.
    w_b = jnp.where(zero_b, jnp.maximum(x_b.w, -x_a.w * s_a.u / s_b.u), x_b.w)
    w_a = jnp.where(zero_a, jnp.maximum(x_a.w, -x_b.w * s_b.u / s_a.u), x_a.w)
    infinite = jnp.inf
    x_b = x_b._replace(w=w_b, info=jnp.where(zero_b, infinite, x_b.info))
    x_a = x_a._replace(w=w_a, info=jnp.where(zero_a, infinite, x_a.info))
    return cell._replace(sides=(x_b, x_a))


def find_roots(
    structure: PairStructure,
    sides: tuple[Side, Side],
    low: Float[JaxArray, "*#cells"],
    high: Float[JaxArray, "*#cells"],
) -> tuple[JaxArray, JaxArray]:
    """Return b of every cell where the channels have factors of their own, and the steps taken."""

    def slope(b: JaxArray) -> tuple[JaxArray, JaxArray]:
        x_b, x_a = solve_sides(structure, sides, b)
        d = sides[0].u * x_b.w + sides[1].u * x_a.w
        k = sides[0].u ** 2 * x_b.info + sides[1].u ** 2 * x_a.info
        return d, k

    s_b, s_a = sides
    # A free factor can lift a rate to 0 and above, so only bins without one limit b from below;
    # one of something negative takes as little away as its lower bound does.
    floors, lifts = [], []
    for s, scaled in zip(sides, structure.scaled, strict=True):
        tied = lifted = -s.c / s.u
        if s.v is not None and scaled:
            assert s.lower is not None
            assert s.upper is not None
            tied = jnp.where(s.v > 0, -jnp.inf, -(s.c + s.lower * s.v) / s.u)
            lifted = jnp.where(s.v > 0, lifted, -(s.c + s.upper * s.v) / s.u)
        elif s.v is not None:
            tied = jnp.where(s.v > 0, -jnp.inf, tied)
        floors.append(tied)
        lifts.append(jnp.maximum(lifted, 0.0))
    start_low = jnp.maximum(low, jnp.maximum(floors[0], floors[1]))
    lift = lifts[0] + lifts[1]
    total = (s_b.n + s_a.n) / (s_b.u + s_a.u)
    start_high = jnp.minimum(high, jnp.maximum(start_low, total + lift) * (1 + BRACKET) + BRACKET)
    start_high = jnp.maximum(start_high, start_low)
    guess = [s if s.v is None else s._replace(c=s.c + s.v) for s in sides]
    root, _, _ = solve_plain(guess[0], guess[1])
    b = jnp.clip(root, start_low, start_high)
    shape = jnp.broadcast_shapes(b.shape, s_b.n.shape)

    def body(state: Any) -> Any:
        lo, hi, b, i, _ = state
        d, k = slope(b)
        lo, hi = jnp.where(d > 0, b, lo), jnp.where(d > 0, hi, b)
        step = b + d / jnp.maximum(k, TINY)
        # A step below rounding is an end, though b is now an end of the bracket too: halving it
        # would throw the root away. Not beside a pole, where steps are small and the slope is not.
        small = jnp.abs(step - b) <= jnp.finfo(b.dtype).eps * jnp.abs(b)
        done = small & (jnp.abs(d) <= FLAT * (s_b.u + s_a.u))
        # b = lo is kept where the slope is negative at the lower end itself: a bound.
        good = (step > lo) & (step < hi)
        new = jnp.where(done, b, jnp.where(good, step, 0.5 * (lo + hi)))
        moved = jnp.max(jnp.abs(new - b) / (jnp.abs(new) + NOTHING))
        return lo, hi, new, i + 1, moved

    lo = jnp.broadcast_to(start_low, shape)
    hi = jnp.broadcast_to(start_high, shape)
    d_low, _ = slope(lo)
    at_low = d_low <= 0
    d_high, _ = slope(jnp.minimum(hi, high))
    at_high = (d_high >= 0) & (hi >= high)
    state = (lo, hi, jnp.broadcast_to(b, shape), 0, jnp.asarray(1.0))
    _, _, b, steps, _ = jax.lax.while_loop(
        lambda s: (s[3] < MAX_STEPS) & (s[4] > STILL), body, state
    )
    return jnp.where(at_low, lo, jnp.where(at_high, high, b)), jnp.asarray(steps)


def profile(
    structure: PairStructure,
    arrays: PairArrays,
    theta: Float[JaxArray, "k"],
    data: PairData,
    *,
    expected: bool = False,
) -> Profile:
    """Return the profiled -ln L at theta, shape (k,), with exact first and second derivatives.

    Args:
        structure: Static structure.
        arrays: The model.
        theta: Global parameters.
        data: One data set.
        expected: Replace the observed by the expected information (at data equal to the rates).
    """

    def phi_of(t: JaxArray) -> tuple[JaxArray | None, ...]:
        return features(structure, arrays.coefficients, t)

    phi = phi_of(theta)
    sides = pair_sides(structure, arrays, phi, data)
    cell = solve_cells(structure, arrays, sides)
    cotangents = _cotangents(cell)
    dphi = jax.jacfwd(phi_of)(theta)
    d2phi = jax.jacfwd(jax.jacfwd(phi_of))(theta)
    pull = theta - data.centre
    gradient = arrays.precision * pull
    hessian = jnp.diag(arrays.precision)
    jacobians: list[JaxArray | None] = []
    for role in range(6):
        matrix = arrays.matrices[role]
        if matrix is None:
            jacobians.append(None)
            continue
        score = matrix @ jnp.broadcast_to(cotangents[role], (structure.n_cells,))
        gradient = gradient - score @ dphi[role]
        if not expected:
            hessian = hessian - jnp.tensordot(score, d2phi[role], axes=1)
        jacobians.append(jnp.asarray(matrix).T @ dphi[role])
    hessian = hessian + curvature(cell, sides, jacobians, expected)
    value = 0.5 * jnp.sum(arrays.precision * pull * pull)
    feasible = jnp.all(sides[0].u > 0) & jnp.all(sides[1].u > 0)
    kinds = zip(structure.gaussian, structure.scaled, strict=True)
    for side, solution, (gaussian, scaled) in zip(sides, cell.sides, kinds, strict=True):
        value = value + jnp.sum(deviance(side.n, solution.rate))
        if side.v is not None:
            legal = _has_rates(cell.b, side, solution) if scaled else jnp.all(side.v >= 0)
            feasible = feasible & legal
            value = value + jnp.sum(_constraint(side, solution, gaussian))
    return Profile(value, gradient, hessian, cell, feasible)


def _cotangents(cell: Cell) -> list[JaxArray]:
    """Return d ln L / d(u_B, u_A, v_B, v_A, c_B, c_A) per cell."""
    x_b, x_a = cell.sides
    out = [cell.b * x_b.w, cell.b * x_a.w]
    for x in (x_b, x_a):
        out.append(jnp.zeros(()) if x.gamma is None else x.gamma * x.w)
    return [*out, x_b.w, x_a.w]


def _has_rates(b: JaxArray, side: Side, solution: SideSolution) -> JaxArray:
    """Return whether nothing below 0 was cut to a rate of 0 where a factor scales it down."""
    assert side.v is not None
    assert solution.gamma is not None
    below = jnp.minimum(solution.gamma * side.v, 0.0)
    least = -ROUNDING_OF_RATES * (jnp.abs(b * side.u) + jnp.abs(side.c) - below)
    return jnp.all((side.v >= 0) | (b * side.u + side.c + below >= least))


def _constraint(side: Side, solution: SideSolution, gaussian: bool) -> JaxArray:
    assert solution.gamma is not None
    assert side.width is not None
    assert side.aux is not None
    assert side.v is not None
    if gaussian:
        pull = (solution.gamma - side.aux) / side.width
        return 0.5 * pull * pull
    return deviance(side.aux, solution.gamma * side.width)
