"""q0 of a block of toys from its two fits, and the toys whose mu_hat is exactly the null value."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood.ensembles.points import in_rows, row_sum
from ddphf.likelihood.paired.kinks import one_sided_scores
from ddphf.likelihood.paired.model import PairArrays, PairStructure
from ddphf.likelihood.paired.profile import PairData

__all__ = ["Rates", "difference", "log_ratio", "zero_in_subdifferential"]


CLOSE = 0.1
"""|t| of (1 + t) / (1 - t) up to which the series of ln has all digits: the first term left out is
t^16 / 17."""
IMPOSSIBLE = 1e30
"""ln of a ratio with one rate at 0: finite, so that 0 events times it are 0."""


class Rates(NamedTuple):
    """What q0 needs of a fit: see :class:`ddphf.likelihood.ensembles.points.Point`."""

    rates: tuple[JaxArray, JaxArray]
    gammas: tuple[JaxArray | None, JaxArray | None]
    weights: tuple[JaxArray, JaxArray]


def log_ratio(
    new: Float[JaxArray, "*toys"], old: Float[JaxArray, "*toys"]
) -> Float[JaxArray, "*toys"]:
    """Return ln(new / old) (1 where both are 0); a short series where all are close."""
    total = new + old
    t = jnp.where(total > 0, (new - old) / jnp.where(total > 0, total, 1.0), 0.0)

    def series(t: JaxArray) -> JaxArray:
        s = t * t
        value = jnp.zeros_like(s)
        for power in range(15, 1, -2):
            value = (value + 1.0 / power) * s
        return 2.0 * t * (1.0 + value)

    out: JaxArray = jax.lax.cond(
        jnp.max(jnp.abs(t)) < CLOSE,
        series,
        lambda t: jnp.where(jnp.abs(t) < 1, jnp.log1p(t) - jnp.log1p(-t), t * IMPOSSIBLE),
        t,
    )
    return out


def difference(
    structure: PairStructure,
    arrays: PairArrays,
    data: PairData,
    null: tuple[JaxArray, Rates],
    free: tuple[JaxArray, Rates],
) -> Float[JaxArray, "toys"]:
    """Return 2NLL(null) - 2NLL(free), term by term: no difference of large sums."""
    (theta0, p0), (theta1, p1), arrays = null, free, in_rows(arrays)
    total = jnp.zeros(theta0.shape[0])
    for x in range(2):
        n, r0, r1 = data.n[x], p0.rates[x], p1.rates[x]
        total = total + row_sum(jnp.where(n > 0, n * log_ratio(r1, r0), 0.0) - (r1 - r0))
        g0, g1, width, aux = p0.gammas[x], p1.gammas[x], arrays.width[x], data.aux[x]
        if g0 is None or g1 is None or width is None or aux is None:
            continue
        if structure.gaussian[x]:
            total = total + row_sum((g0 - g1) * (0.5 * (g0 + g1) - aux) / width**2)
        else:
            total = total + row_sum(aux * log_ratio(g1, g0) - width * (g1 - g0))
    prior = (theta0 - theta1) * (0.5 * (theta0 + theta1) - data.centre) * arrays.precision
    return 2.0 * (total + row_sum(prior))


def zero_in_subdifferential(
    structure: PairStructure,
    arrays: PairArrays,
    poi: int,
    theta: Float[JaxArray, "toys k"],
    gradient: Float[JaxArray, "toys k"],
    data: PairData,
    at: Rates,
) -> Bool[JaxArray, "toys"]:
    """Return True where 0 lies in the subdifferential in the POI at the null fit.

    Cells with both rates 0 give a different slope on either side.
    """
    empty = (data.n[0] + data.n[1] + at.rates[0] + at.rates[1]) == 0

    def find(empty: JaxArray) -> JaxArray:
        right, left = one_sided_scores(
            structure, in_rows(arrays), poi, theta, gradient, empty, at.weights
        )
        return (right <= 0) & (left >= 0) & (left > right)

    out: JaxArray = jax.lax.cond(
        jnp.any(empty), find, lambda e: jnp.zeros(e.shape[0], bool), jnp.asarray(empty)
    )
    return out
