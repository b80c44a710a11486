"""From a background's predictor to expected counts, and what keeps a deficit above nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array

__all__ = ["IDENTITY", "LOGARITHMIC", "Rates", "Wall", "background_of", "evaluate", "evaluate_wall"]

LOGARITHMIC, IDENTITY = 0, 1

COUNTS = 0.1
"""The identity link is b - COUNTS^2 / b = eta: above 0 without a bound for any coefficient, and
one part in a million off at 100 expected counts."""

LARGEST = 60.0
"""Logarithm of more counts than anybody has: keeps a wild step finite, and it is not taken."""

WALL = 1e-4
"""Height, in units of 2NLL / 2, of the wall that keeps expected counts above 0 in deficits."""


class Rates(NamedTuple):
    """Expected background counts, and their first two derivatives by the predictor."""

    b: Array
    first: Array
    second: Array


class Wall(NamedTuple):
    """Cost of a deficit, and its derivatives by predictor (e) and signal (s)."""

    cost: Array
    e: Array
    s: Array
    ee: Array
    es: Array
    ss: Array


def evaluate(link: int, eta: Array) -> Rates:
    """Return expected background counts of predictors.

    Args:
        link: :data:`LOGARITHMIC`, or :data:`IDENTITY`, whose counts are rounded off above 0.
        eta: Predictor, any shape.

    Example:
        >>> evaluate(IDENTITY, np.array([10.0, 0.0])).b.round(3)
        array([10.001,  0.1  ])
    """
    if link == LOGARITHMIC:
        b = np.exp(np.clip(eta, -LARGEST, LARGEST))
        return Rates(b, b, b)
    root = np.sqrt(eta**2 + 4 * COUNTS**2)
    with np.errstate(divide="ignore"):  # the smaller of two roots, without a difference
        b = np.where(eta > 0, (eta + root) / 2, 2 * COUNTS**2 / (root - eta))
    return Rates(b, b / root, 2 * COUNTS**2 / root**3)


def background_of(link: int, eta: Array) -> Array:
    """Return the expected background counts of predictors."""
    return evaluate(link, eta).b


def evaluate_wall(rates: Rates, signal: Array) -> Wall:
    """Return what deficits cost: w (u - 1 - ln u), u the part of the background that is left.

    Nothing for excesses, infinite where less than nothing would be expected.

    Args:
        rates: Of the background.
        signal: Signal counts, the same shape.

    Example:
        >>> rates = evaluate(LOGARITHMIC, np.log([10.0, 10.0, 10.0]))
        >>> evaluate_wall(rates, np.array([1.0, -5.0, -11.0])).cost.round(7)
        array([0.00e+00, 1.93e-05,      inf])
    """
    b, b1, b2 = rates
    with np.errstate(all="ignore"):
        u = 1 + np.minimum(signal, 0.0) / b
        deficit = signal < 0
        cost = np.where(u > 0, WALL * (u - 1 - np.log(np.maximum(u, 1e-300))), np.inf)
        c1, c2 = WALL * (1 - 1 / u), WALL / u**2
        e, s = -(u - 1) * b1 / b, 1 / b
        parts = (
            c1 * e,
            c1 * s,
            c2 * e * e + c1 * -(u - 1) * (b2 / b - 2 * (b1 / b) ** 2),
            c2 * e * s - c1 * b1 / b**2,
            c2 * s * s,
        )
    return Wall(np.where(deficit, cost, 0.0), *(np.where(deficit, part, 0.0) for part in parts))
