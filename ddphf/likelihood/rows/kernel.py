r"""The likelihood of rows with every bin's own parameter at its best value.

For given :math:`A, B` a bin's terms are :math:`\lambda - n\ln\lambda` and the constraint of gamma.
Both kinds of constraint leave a quadratic equation, so that the profiled value and its exact first
and second derivatives by the global parameters are sums over bins of elementary functions
(Barlow and Beeston, Comput. Phys. Commun. 77 (1993) 219, with one parameter per bin).

Derivatives are taken by *directions*: the logarithm of each component, and each parameter that
shifts templates. Those by the global parameters follow from few numbers per row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.likelihood.rows.model import RowData, RowModel, factors, weights

__all__ = ["GAMMA_BOUNDS", "Sums", "definite", "derivatives", "evaluate", "profile"]

GAMMA_BOUNDS = (1e-10, 10.0)
"""Of staterrors and shapesys in pyhf, which no measurement of a scan changes."""

LEAST = 1e-300
"""In the place of a rate of 0 where it divides."""

FEW = 6
"""Directions up to which pairs of them are summed one after the other."""


class Sums(NamedTuple):
    """What is known at one point of each row, bins summed.

    Attributes:
        value: -ln L over its best value, term by term; inf where the point is impossible.
        slope: Of -ln L by each direction, shape (rows, directions).
        bend: The second derivatives that come from the bins, shape (rows, directions, directions).
        first: Derivatives of the directions by the parameters, shape (rows, directions, k).
        second: f'' / f of the factors of the components, shape (rows, components, k).
        mixed: Of -ln L by a shift, times the logarithm of its component, shape (rows, pairs).
        curved: By the second derivative of each shift, shape (rows, pairs).
    """

    value: Array
    slope: Array
    bend: Array
    first: Array
    second: Array
    mixed: Array
    curved: Array


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
    variance = model.sigma * model.sigma
    pull = variance * a
    spread = pull * a
    middle = x * a
    middle += b
    middle -= spread
    root = 4.0 * n
    root *= spread
    root += middle * middle
    np.sqrt(root, out=root)
    rate = middle + root
    rate *= 0.5
    if np.any(below := middle < 0):  # where the difference would be rounding
        rate[below] = 2.0 * (n * spread)[below] / (root - middle)[below]
    # From the condition of the minimum, where it does not suffer from a small share of A.
    shift = n / np.maximum(rate, LEAST)
    shift -= 1.0
    shift *= pull
    moving = spread > 0
    gamma = x + shift
    if not moving.all():
        gamma = np.where(moving, gamma, 1.0)
    inverse = np.where(moving, variance, 0.0)
    some = model.tau > 0
    if poisson := bool(some.any()):
        gamma = np.where(some, _poisson(n, x, model.tau, a, b), gamma)
        inverse = np.where(
            some, np.where(a > 0, gamma * gamma / np.maximum(x, LEAST), 0.0), inverse
        )
    if np.any(out := (gamma < low) | (gamma > high)):
        gamma = np.clip(gamma, low, high)
        inverse = np.where(out, 0.0, inverse)
    shift = np.where(moving, gamma - x, 0.0)
    value = 0.5 * shift * shift
    value /= np.where(variance > 0, variance, 1.0)
    if poisson:
        value = np.where(some, _deviance(x, model.tau * gamma), value)
    return gamma, gamma * a + b, value, inverse


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


def evaluate(model: RowModel, data: RowData, theta: Array, *, plain: bool = False) -> Sums:
    """Return -ln L and its derivatives by the directions.

    Args:
        model: As many rows as data, or one.
        data: Counts and auxiliary data.
        theta: Global parameters, shape (rows, k).
        plain: Whether ``bend`` is that of bins at their expectation, which is never indefinite.
    """
    value, first, second = factors(model, theta)
    factor = np.prod(value, axis=2)
    wobbling, size = model.wobbling, len(model.wobbling)
    parts = [factor[:, s, None] * own for s, own in enumerate(_templates(model, theta))]
    a, b = _total(parts, wobbling, True), _total(parts, wobbling, False)
    n = data.counts
    gamma, rate, terms, inverse = profile(model, data, a, b)
    safe = np.maximum(rate, LEAST)
    ratio = n / safe
    terms += rate
    terms -= n
    terms += n * np.log(np.maximum(ratio, LEAST))
    active = model.width > 0
    pull = (theta - data.centre)[:, active] / model.width[active]
    total = terms.sum(axis=1) + 0.5 * np.sum(pull * pull, axis=1)
    impossible = np.any((rate < 0) | ((n > 0) & (rate <= LEAST)), axis=1)
    total = np.where(impossible | ~np.isfinite(total), np.inf, total)
    weight = ratio / safe
    pulled = 1.0 - ratio
    weighted = weight * a  # A W
    stiff = inverse / (1.0 + inverse * weighted * a)
    slopes = [(gamma * p if w else p, p if w else None)
              for p, w in zip(parts, wobbling, strict=True)]  # fmt: skip
    columns, mixed, curved = _shifted(model, theta, factor, gamma, pulled)
    slopes += columns
    grown = [g for g, _ in slopes]
    slope = np.stack([np.einsum("rb,rb->r", pulled, g) for g in grown], axis=1)
    if plain:
        bend = _products([(weight - stiff * weighted * weighted) * g for g in grown], grown)
    else:
        moved = [weighted * g if p is None else weighted * g + pulled * p for g, p in slopes]
        bend = _products([weight * g for g in grown], grown)
        bend -= _products([stiff * m for m in moved], moved)
    if columns:
        which = np.unique(model.shifts.parameter)
        unit = np.zeros((len(theta), len(which), theta.shape[1]))
        unit[:, np.arange(len(which)), which] = 1.0
        first = np.concatenate([np.broadcast_to(first, (len(theta), size, len(unit[0, 0]))), unit],
                               axis=1)  # fmt: skip
    return Sums(total, slope, bend, first, second, mixed, curved)


def _templates(model: RowModel, theta: Array) -> list[Array]:
    found = model.templates(theta) if len(model.shifts) else model.yields
    return [found[:, s] for s in range(found.shape[1])]


def _total(parts: list[Array], wobbling: Mask, kind: bool) -> Array:
    some = [part for part, own in zip(parts, wobbling, strict=True) if bool(own) is kind]
    out = some[0].copy() if some else np.zeros_like(parts[0])
    for part in some[1:]:
        out += part
    return out


def _products(left: list[Array], right: list[Array]) -> Array:
    """Return the sums over bins of all products of a symmetric set."""
    size = len(left)
    if size > FEW:
        one, two = np.stack(left, axis=1), np.stack(right, axis=1)
        return np.asarray(one @ two.transpose(0, 2, 1))
    out = np.empty((len(left[0]), size, size))
    for s in range(size):
        for t in range(s + 1):
            out[:, s, t] = out[:, t, s] = np.einsum("rb,rb->r", left[s], right[t])
    return out


def _shifted(
    model: RowModel, theta: Array, factor: Array, gamma: Array, pulled: Array
) -> tuple[list[tuple[Array, Array | None]], Array, Array]:
    """Return the change of rate and of A by each shifting parameter, and two sums per pair."""
    shifts = model.shifts
    if not len(shifts):
        none = np.zeros((len(theta), 0))
        return [], none, none
    _, (one, two), (up, down) = weights(theta[:, shifts.parameter])
    which: IntArray = np.unique(shifts.parameter)
    shape = (len(theta), gamma.shape[1])
    wobble = {int(k): np.zeros(shape) for k in which}
    rest = {int(k): np.zeros(shape) for k in which}
    mixed, curved = np.zeros((len(theta), len(shifts))), np.zeros((len(theta), len(shifts)))
    scaled = pulled * gamma
    for pair, (s, k) in enumerate(zip(shifts.component, shifts.parameter, strict=True)):
        size = factor[:, s, None]
        change = size * (one[:, pair, None] * shifts.up[:, pair]
                         + two[:, pair, None] * shifts.down[:, pair])  # fmt: skip
        bent = size * (up[:, pair, None] * shifts.up[:, pair]
                       + down[:, pair, None] * shifts.down[:, pair])  # fmt: skip
        own = scaled if model.wobbling[s] else pulled
        (wobble if model.wobbling[s] else rest)[int(k)] += change
        mixed[:, pair] = np.sum(own * change, axis=1)
        curved[:, pair] = np.sum(own * bent, axis=1)
    columns: list[tuple[Array, Array | None]] = []
    for k in which:
        some = wobble[int(k)]
        columns.append((gamma * some + rest[int(k)], some))
    return columns, mixed, curved


def derivatives(model: RowModel, data: RowData, theta: Array, sums: Sums) -> tuple[Array, Array]:
    """Return the gradient of -ln L and its Hessian.

    Shapes:
        (rows, k), (rows, k, k).
    """
    first, slope, size = sums.first, sums.slope, sums.second.shape[1]
    prior = _prior(model)
    gradient: Array = np.einsum("rdk,rd->rk", first, slope) + prior * (theta - data.centre)
    each = np.arange(len(prior))
    own, steep = first[:, :size], slope[:, :size]
    # A linear factor has no second derivative: where it is 0 a difference would be rounding.
    cross: Array = np.einsum("rsk,rsl->rkl", own, steep[:, :, None] * own)
    cross[:, each, each] = np.einsum("rs,rsk->rk", steep, sums.second) + prior
    for pair, (s, k) in enumerate(zip(model.shifts.component, model.shifts.parameter, strict=True)):
        line = sums.mixed[:, pair, None] * own[:, s]
        cross[:, k, :] += line
        cross[:, :, k] += line
        cross[:, k, k] += sums.curved[:, pair]
    return gradient, _turned(first, sums.bend) + cross


def definite(model: RowModel, data: RowData, theta: Array) -> Array:
    """Return the Hessian with bins at their expectation: positive semidefinite."""
    sums = evaluate(model, data, theta, plain=True)
    out = _turned(sums.first, sums.bend)
    each = np.arange(theta.shape[1])
    out[:, each, each] += _prior(model)
    return out


def _prior(model: RowModel) -> Array:
    some = model.width > 0
    return np.where(some, 1.0 / np.where(some, model.width, 1.0) ** 2, 0.0)


def _turned(first: Array, bend: Array) -> Array:
    """Return D^T B D of every row."""
    if first.shape[1] > FEW:
        return np.asarray(first.transpose(0, 2, 1) @ (bend @ first))
    half: Array = np.einsum("rst,rtk->rsk", bend, first)
    return np.asarray(np.einsum("rsk,rsl->rkl", first, half))
