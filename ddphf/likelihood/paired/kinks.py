"""Where the profile has a corner: empty cells at the POI value that makes both rates 0.

An empty pair of bins without fakes gives one slope for mu > 0 and another for mu < 0. If 0 lies
between the total slopes, mu_hat is exactly 0, and that is its certificate.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood.paired.model import PairArrays, PairStructure, features

__all__ = ["one_sided_scores"]


def one_sided_scores(
    structure: PairStructure,
    arrays: PairArrays,
    poi: int,
    theta: Float[JaxArray, "*toys k"],
    gradient: Float[JaxArray, "*toys k"],
    empty: Bool[JaxArray, "*toys cells"],
    weights: tuple[JaxArray, JaxArray],
) -> tuple[JaxArray, JaxArray]:
    """Return d ln L / d POI on the right and on the left of a fit at held POI.

    Args:
        structure: Static structure.
        arrays: The model.
        poi: Index of the POI among the global parameters.
        theta: Where, shape (..., k).
        gradient: Gradient of -ln L there, shape (..., k).
        empty: Cells with no events and both rates 0, shape (..., M).
        weights: The weights n/rate - 1 that the gradient assumed, shapes (..., M).
    """
    tangent = jnp.zeros_like(theta).at[..., poi].set(1.0)
    have = [m is not None for m in arrays.matrices]

    def present(t: JaxArray) -> tuple[JaxArray, ...]:
        return tuple(f for f in features(structure, arrays.coefficients, t) if f is not None)

    phi, dphi = jax.jvp(present, (theta,), (tangent,))
    it, dit = iter(phi), iter(dphi)
    value = [next(it) @ arrays.matrices[i] if have[i] else None for i in range(6)]
    change = [next(dit) @ arrays.matrices[i] if have[i] else jnp.zeros(()) for i in range(6)]
    u_b, u_a, s_b, s_a = value[0], value[1], change[4], change[5]
    assert u_b is not None
    assert u_a is not None
    counted = weights[0] * s_b + weights[1] * s_a
    scores = []
    for sign in (1.0, -1.0):
        # The least b that keeps both rates >= 0, and >= 0 itself, as the POI leaves its value.
        db = jnp.maximum(jnp.maximum(-sign * s_b / u_b, -sign * s_a / u_a), 0.0)
        cost = (u_b + u_a) * db + sign * (s_b + s_a)
        slope = jnp.where(empty, -sign * cost - counted, 0.0)
        scores.append(-gradient[..., poi] + slope @ jnp.ones(slope.shape[-1]))
    return scores[0], scores[1]
