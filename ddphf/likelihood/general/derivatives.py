r"""Value, rates, gradient and Hessian of any compiled model, in arrowhead form.

A rate is a sum over samples of a base, linear in the histosys weights, times a product of factors,
each of one parameter. So with :math:`\Lambda_p` the logarithmic derivative of the one factor that
:math:`p` has in a sample and :math:`Q_p` the derivative of the base,

.. math::  \partial_p \nu = P (B \Lambda_p + Q_p), \qquad
           \partial_p \partial_q \nu = P (B \Lambda_p \Lambda_q + Q_p \Lambda_q + \Lambda_p Q_q)

for :math:`p \ne q`: the Hessian is a few matrix products, without automatic differentiation of the
product over factors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.deviance import deviance
from ddphf.likelihood.general.arrowhead import Arrowhead
from ddphf.likelihood.general.layout import Cells, Codes, ModelArrays
from ddphf.likelihood.general.likelihood import Vector, penalty
from ddphf.likelihood.interpolation import histosys_weights, normsys_factor

__all__ = ["Model", "Point", "evaluate"]


TINY = 1e-100
"""Stands for a factor of 0 in derivatives: the product of the others is P / TINY, exactly."""


class Model(NamedTuple):
    """A model with its split into globals and cells: what a compiled program takes of it."""

    arrays: ModelArrays
    cells: Cells


class Point(NamedTuple):
    """-ln L around a point.

    Attributes:
        value: -ln L over its best value bin by bin and constraint by constraint.
        rate: Shape (bins,).
        gradient: Shape (n,).
        hessian: The Hessian.
        information: The expected one, without the rates' own curvature: never indefinite.
        slope: Derivatives of the rates: by the global parameters (bins, k), by the locals of each
            bin's cell (bins, L).
    """

    value: JaxArray
    rate: JaxArray
    gradient: JaxArray
    hessian: Arrowhead
    information: Arrowhead
    slope: tuple[JaxArray, JaxArray]


def evaluate(
    codes: Codes,
    model: Model,
    parameters: Vector,
    data: Float[JaxArray, "data"],
    multiplier: Float[JaxArray, "bins"] | None = None,
) -> Point:
    """Return -ln L and its derivatives.

    Args:
        codes: Static codes.
        model: The model.
        parameters: Shape (n,).
        data: Main and auxiliary data.
        multiplier: Shape (bins,): where positive, a bin's curvature n / rate^2 becomes
            multiplier / rate (the interior point method's); none by default.
    """
    arrays, cells = model
    n_bins = arrays.nominal.shape[0]
    counts, auxiliary = data[:n_bins], data[n_bins:]
    base, q_first, q_second = _base(codes, arrays, cells, parameters)
    table, first, second = _factors(codes, arrays, parameters)
    p_safe = jnp.prod(jnp.where(jnp.abs(table) < TINY, TINY, table)[arrays.factor], axis=-1)
    rate = jnp.sum(base * jnp.prod(table[arrays.factor], axis=-1), axis=-1)

    seen = counts > 0
    safe = jnp.where(seen, jnp.maximum(rate, NEGLIGIBLE), 1.0)
    weight = jnp.where(seen, counts / safe, 0.0) - 1.0
    alpha = jnp.where(seen, counts / (safe * safe), 0.0)
    expected = jnp.where(rate > 0, 1.0 / jnp.where(rate > 0, rate, 1.0), 0.0)
    if multiplier is not None:
        alpha = jnp.where(multiplier > 0, multiplier / safe, alpha)
        expected = jnp.where(multiplier > 0, multiplier / safe, expected)
    value = jnp.sum(deviance(counts, rate)) + penalty(arrays, parameters, auxiliary)
    own_slope, own_curvature = _constraint_derivatives(arrays, parameters, auxiliary)

    # Global parameters: (bins, samples, k).
    log_global = first[cells.global_factor]
    inner = base[:, :, None] * log_global + q_first
    j_global = jnp.einsum("bs,bsk->bk", p_safe, inner)
    weighted = (weight[:, None] * p_safe)[:, :, None] * log_global
    corner = jnp.einsum("bsk,bsm->km", weighted, inner)
    if arrays.histosys.shape[0]:
        corner = corner + jnp.einsum("bsk,bsm->km", weighted, q_first).T
    diagonal = jnp.einsum(
        "b,bs,bsk->k",
        weight,
        p_safe,
        base[:, :, None] * second[cells.global_factor] + 2.0 * q_first * log_global + q_second,
    )
    k = diagonal.shape[0]
    corner = jnp.where(jnp.eye(k, dtype=bool), diagonal[:, None], corner)
    own = jnp.diag(own_curvature[cells.global_])
    corner = (j_global * alpha[:, None]).T @ j_global - corner + own
    expected_corner = (j_global * expected[:, None]).T @ j_global + own
    gradient = own_slope.at[cells.global_].add(-(weight @ j_global))

    # Locals: (bins, samples, L); their factors are linear, and no base depends on them.
    n_cells, n_local = cells.local.shape
    log_local = first[cells.local_factor]
    j_local = jnp.einsum("bs,bsl->bl", p_safe * base, log_local)
    weighted = (weight[:, None] * p_safe)[:, :, None] * log_local
    mixed = jnp.einsum("bsl,bsm,bs->blm", weighted, log_local, base)
    mixed = jnp.where(jnp.eye(n_local, dtype=bool)[None], 0.0, mixed)
    curved = jnp.concatenate([jnp.einsum("bsl,bsk->blk", weighted, inner), mixed], axis=2)
    j_both = jnp.concatenate([j_global, j_local], axis=1)[:, None, :]
    squares = j_local[:, :, None] * j_both
    per_bin = jnp.concatenate(
        [
            alpha[:, None, None] * squares - curved,
            expected[:, None, None] * squares,
            (-weight[:, None] * j_local)[:, :, None],
        ],
        axis=2,
    )
    per_cell = jnp.zeros((n_cells + 1, *per_bin.shape[1:])).at[cells.of_bin].add(per_bin)[:-1]
    own = jnp.concatenate([own_curvature, jnp.ones(1)])[cells.local][:, :, None]
    own = own * jnp.eye(n_local)[None]
    observed, informed, pull = jnp.split(per_cell, [k + n_local, 2 * (k + n_local)], axis=2)
    gradient = jnp.concatenate([gradient, jnp.zeros(1)]).at[cells.local].add(pull[:, :, 0])[:-1]
    return Point(
        value,
        rate,
        gradient,
        Arrowhead(corner, observed[:, :, :k], observed[:, :, k:] + own),
        Arrowhead(expected_corner, informed[:, :, :k], informed[:, :, k:] + own),
        (j_global, j_local),
    )


def _derivatives(function: Callable[[JaxArray], Any], x: JaxArray) -> tuple[Any, Any, Any]:
    """Return an element-wise function with its first and second derivatives."""
    ones = jnp.ones_like(x)

    def slope(x: JaxArray) -> tuple[Any, Any]:
        value: tuple[Any, Any] = jax.jvp(function, (x,), (ones,))
        return value

    (value, first), (_, second) = jax.jvp(slope, (x,), (ones,))
    return value, first, second


def _base(
    codes: Codes, arrays: ModelArrays, cells: Cells, parameters: JaxArray
) -> tuple[JaxArray, JaxArray, JaxArray]:
    """Return the base (bins, samples) and its derivatives by global parameters (..., k)."""
    n_variations, split = arrays.histosys.shape[0], codes.n_symmetric
    if not n_variations:
        zero = jnp.zeros((1, 1, 1))
        return arrays.nominal, zero, zero
    alpha = parameters[arrays.histosys]

    def weights(x: JaxArray) -> tuple[JaxArray, JaxArray]:
        return histosys_weights(x, codes.histosys)

    (up, down), (d_up, d_down), (c_up, c_down) = _derivatives(weights, alpha[split:])
    linear, rise, fall = jnp.split(arrays.shift, [split, n_variations])
    base = arrays.nominal + jnp.tensordot(
        jnp.concatenate([alpha[:split], up, down]), arrays.shift, axes=1
    )

    def by_parameter(*rows: JaxArray) -> JaxArray:
        rows = (*rows, jnp.zeros((1, *arrays.nominal.shape)))
        return jnp.moveaxis(jnp.concatenate(rows)[cells.variation], 0, -1)

    first = d_up[:, None, None] * rise + d_down[:, None, None] * fall
    second = c_up[:, None, None] * rise + c_down[:, None, None] * fall
    return base, by_parameter(linear, first), by_parameter(jnp.zeros_like(linear), second)


def _factors(
    codes: Codes, arrays: ModelArrays, parameters: JaxArray
) -> tuple[JaxArray, JaxArray, JaxArray]:
    """Return the table of factors, and first and second derivatives divided by the factor."""

    def normsys(x: JaxArray) -> JaxArray:
        return normsys_factor(x, arrays.coefficients, codes.normsys)

    value, first, second = _derivatives(normsys, parameters[arrays.normsys])
    table = jnp.concatenate([parameters, value, jnp.ones(1)])
    safe = jnp.where(jnp.abs(table) < TINY, TINY, table)
    zero = jnp.zeros_like(parameters)
    d_first = jnp.concatenate([jnp.ones_like(parameters), first, jnp.zeros(1)])
    d_second = jnp.concatenate([zero, second, jnp.zeros(1)])
    return table, d_first / safe, d_second / safe


def _constraint_derivatives(
    arrays: ModelArrays, parameters: JaxArray, auxiliary: JaxArray
) -> tuple[JaxArray, JaxArray]:
    """Return first and second derivatives of the constraint terms of -ln L (diagonal)."""
    slope, curvature = jnp.zeros_like(parameters), jnp.zeros_like(parameters)
    where, sigma = arrays.normal_parameter, arrays.normal_sigma
    pull = (parameters[where] - auxiliary[arrays.normal_data]) / sigma
    slope = slope.at[where].add(pull / sigma)
    curvature = curvature.at[where].add(1.0 / sigma**2)
    where = arrays.poisson_parameter
    x, aux = parameters[where], auxiliary[arrays.poisson_data]
    safe = jnp.where(x > 0, x, 1.0)
    slope = slope.at[where].add(arrays.poisson_tau - aux / safe)
    curvature = curvature.at[where].add(aux / safe**2)
    return slope, curvature
