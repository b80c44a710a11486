"""Newton steps along the bounds: what meets one stays there, the others are solved again."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.general.arrowhead import Arrowhead, multiply, solve
from ddphf.likelihood.general.layout import Cells
from ddphf.likelihood.general.likelihood import Flags, Vector

__all__ = ["bend"]

MAX_TURNS = 16
"""Bounds that one step may meet; it ends at the last, and the next step goes on from there."""


class _Path(NamedTuple):
    taken: JaxArray
    moving: JaxArray
    share: JaxArray
    turns: JaxArray


def bend(
    matrix: Arrowhead,
    cells: Cells,
    gradient: Vector,
    free: Flags,
    step: Vector,
    room: Float[JaxArray, "2 n"],
) -> Vector:
    """Bend a step along the bounds that it crosses.

    The step goes to the first bound; the parameter that meets it stays there, the others are solved
    again, and so on. Cutting each parameter at its own bound would leave the others a move that
    compensated what was cut off, which may lead uphill however short it is.

    Args:
        matrix: Of the quadratic model, positive definite over the free directions.
        cells: The split.
        gradient: Shape (n,).
        free: Directions of the step.
        step: To subtract, shape (n,).
        room: Least and largest step of each parameter, shape (2, n).
    """

    def advance(taken: JaxArray, ahead: JaxArray, moving: JaxArray, turns: JaxArray) -> _Path:
        left = jnp.where(ahead > 0, room[1], room[0]) - taken
        reach = jnp.where(moving & (ahead != 0), left / ahead, jnp.inf)
        share = jnp.minimum(1.0, jnp.min(reach))
        met = reach <= share
        taken = jnp.where(met, taken + left, taken + share * ahead)
        return _Path(taken, moving & ~met, share, turns + 1)

    def turn(s: _Path) -> _Path:
        rest = gradient - multiply(matrix, cells, s.taken)
        ahead = solve(matrix, cells, rest, s.moving, jnp.zeros(()))
        return advance(s.taken, ahead, s.moving, s.turns)

    return jax.lax.while_loop(
        lambda s: (s.share < 1) & (s.turns < MAX_TURNS),
        turn,
        advance(jnp.zeros_like(step), step, free, jnp.zeros((), int)),
    ).taken
