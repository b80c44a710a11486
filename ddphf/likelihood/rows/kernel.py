r"""The likelihood of rows with every bin's own parameter at its best value.

For given :math:`A, B` a bin's terms are :math:`\lambda - n\ln\lambda` and the constraint of gamma.
Both kinds of constraint leave a quadratic equation, so that the profiled value and its exact first
and second derivatives by the global parameters are sums over bins of elementary functions
(Barlow and Beeston, Comput. Phys. Commun. 77 (1993) 219, with one parameter per bin).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array
from ddphf.likelihood.rows.model import RowData, RowModel, factors

__all__ = ["GAMMA_BOUNDS", "Sums", "derivatives", "evaluate", "profile"]

GAMMA_BOUNDS = (1e-10, 10.0)
"""Of staterrors and shapesys in pyhf, which no measurement of a scan changes."""


class Sums(NamedTuple):
    """What is known at one point of each row, bins summed.

    Attributes:
        value: -ln L over its best value, term by term; inf where the point is impossible.
        slope: Of -ln L by the logarithm of each component, shape (rows, components).
        bend: The second derivatives that come from the bins, shape (rows, components, components).
        plain: The same with bins at their expectation: positive semidefinite.
        first: Logarithmic derivatives of the factors, shape (rows, components, k).
        second: f'' / f.
    """

    value: Array
    slope: Array
    bend: Array
    plain: Array
    first: Array
    second: Array


def profile(
    model: RowModel, data: RowData, a: Array, b: Array
) -> tuple[Array, Array, Array, Array]:
    """Return gamma, lambda, the constraint's value and 1 / its curvature in gamma.

    Args:
        model: As many rows as data, or one.
        data: Counts and auxiliary data.
        a: What gamma multiplies, shape (rows, bins).
        b: The rest.

    Returns:
        Shape (rows, bins) each; the last is 0 where gamma does not move.
    """
    n, x = data.counts, data.local
    low, high = GAMMA_BOUNDS
    variance = model.sigma**2
    spread = variance * a * a
    middle = x * a + b - spread
    root = np.sqrt(middle * middle + 4.0 * n * spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(middle >= 0, 0.5 * (middle + root), 2.0 * n * spread / (root - middle))
        ratio = np.where(n > 0, n / rate, 0.0)
        # From the condition of the minimum, where it does not suffer from a small share of A.
        gamma = np.where(spread > 0, x + variance * a * (ratio - 1.0), 1.0)
    shift = gamma - x
    some = model.tau > 0
    inverse = variance
    if np.any(some):
        gamma = np.where(some, _poisson(n, x, model.tau, a, b), gamma)
        inverse = np.where(some, gamma * gamma / np.maximum(x, 1e-300), variance)
    clipped = np.clip(gamma, low, high)
    moves = (clipped == gamma) & ((spread > 0) | some & (a > 0))
    gamma = clipped
    shift = np.where((spread > 0), gamma - x, 0.0)
    value = 0.5 * shift * shift / np.where(variance > 0, variance, 1.0)
    if np.any(some):
        mean = model.tau * gamma
        value = np.where(some, _deviance(x, mean), value)
    return gamma, gamma * a + b, value, np.where(moves, inverse, 0.0)


def _poisson(n: Array, m: Array, tau: Array, a: Array, b: Array) -> Array:
    """Return the best gamma where m events were seen of tau gamma expected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        square = a * (a + tau)
        middle = (a + tau) * b - (n + m) * a
        root = np.sqrt(middle * middle + 4.0 * square * m * b)
        return np.asarray(
            np.where(
                a <= 0,
                np.where(tau > 0, m / np.where(tau > 0, tau, 1.0), 1.0),
                np.where(
                    middle < 0, (root - middle) / (2.0 * square), 2.0 * m * b / (root + middle)
                ),
            )
        )


def _deviance(n: Array, rate: Array) -> Array:
    """Return rate - n + n ln(n / rate), 0 where both are; inf where impossible."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(n > 0, rate - n + n * np.log(n / rate), rate))


def evaluate(model: RowModel, data: RowData, theta: Array) -> Sums:
    """Return -ln L and its derivatives by the components.

    Args:
        model: As many rows as data, or one.
        data: Counts and auxiliary data.
        theta: Global parameters, shape (rows, k).
    """
    value, first, second = factors(model, theta)
    parts = np.prod(value, axis=2)[:, :, None] * model.yields
    wobbling = model.wobbling
    a = parts[:, wobbling].sum(axis=1)
    b = parts[:, ~wobbling].sum(axis=1)
    n = data.counts
    gamma, rate, penalty, inverse = profile(model, data, a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(n > 0, n / rate, 0.0)
        weight = np.where(n > 0, ratio / rate, 0.0)
        terms = np.where(n > 0, rate - n + n * np.log(ratio), rate) + penalty
    total = terms.sum(axis=1)
    impossible = np.any((rate < 0) | ((n > 0) & (rate <= 0)), axis=1)
    active = model.width > 0
    pull = (theta - data.centre)[:, active] / model.width[active]
    total = np.where(
        impossible | ~np.isfinite(total), np.inf, total + 0.5 * np.sum(pull**2, axis=1)
    )
    size = parts.shape[1]
    pulled = 1.0 - ratio
    stiff = inverse / (1.0 + inverse * weight * a * a)
    grown = [gamma * parts[:, s] if wobbling[s] else parts[:, s] for s in range(size)]
    mixed = [
        weight * a * grown[s] + (pulled * parts[:, s] if wobbling[s] else 0.0) for s in range(size)
    ]
    slope = np.stack([np.sum(pulled * r, axis=1) for r in grown], axis=1)
    bend = np.empty((len(total), size, size))
    plain = np.empty_like(bend)
    scaled = [weight * r for r in grown]
    stiffened = [stiff * c for c in mixed]
    # Without the term in 1 - n / rate it is a sum of squares: weight / (1 + stiffness).
    reduced = weight * (1.0 - stiff * weight * a * a)
    for s in range(size):
        for t in range(s + 1):
            bend[:, s, t] = np.einsum("rb,rb->r", scaled[s], grown[t])
            bend[:, s, t] -= np.einsum("rb,rb->r", stiffened[s], mixed[t])
            plain[:, s, t] = np.einsum("rb,rb->r", reduced * grown[s], grown[t])
            bend[:, t, s], plain[:, t, s] = bend[:, s, t], plain[:, s, t]
    return Sums(total, slope, bend, plain, first, second)


def derivatives(
    model: RowModel, data: RowData, theta: Array, sums: Sums
) -> tuple[Array, Array, Array]:
    """Return the gradient of -ln L, its Hessian, and one that is never indefinite.

    Shapes:
        (rows, k), (rows, k, k), (rows, k, k).
    """
    first, slope = sums.first, sums.slope
    prior = np.where(model.width > 0, 1.0 / np.where(model.width > 0, model.width, 1.0) ** 2, 0.0)
    gradient: Array = np.einsum("rsk,rs->rk", first, slope) + prior * (theta - data.centre)
    each = np.arange(len(prior))
    # A linear factor has no second derivative: where it is 0 a difference would be rounding.
    cross: Array = np.einsum("rsk,rsl->rkl", first, slope[:, :, None] * first)
    cross[:, each, each] = np.einsum("rs,rsk->rk", slope, sums.second) + prior
    bent: Array = np.einsum("rst,rtk->rsk", sums.bend, first)
    hessian: Array = np.einsum("rsk,rsl->rkl", first, bent) + cross
    safe: Array = np.einsum("rsk,rsl->rkl", first, np.einsum("rst,rtk->rsk", sums.plain, first))
    safe[:, each, each] += prior
    return gradient, hessian, safe
