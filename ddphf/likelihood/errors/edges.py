r"""Rates that a fit holds at 0: what presses them there, and the errors that are left.

The likelihood ends where the rate of an empty bin is 0. At such a minimum the gradient is not 0
but that of the rates with positive pressures z_i, :math:`\nabla(-\ln L) = \sum_i z_i \nabla\nu_i`.
No curvature tells the error across the edge (an interior point method's barrier has one, its own);
along the edge it is the inverse of

.. math::  \nabla^2 (-\ln L - \sum_i z_i \nu_i) + \sum_i \kappa_i \nabla\nu_i \nabla\nu_i^T,

with :math:`\kappa_i` far above everything else, which keeps the rates where they are (Nocedal and
Wright, Numerical Optimization, sections 12.5 and 17.1). A parameter whose error falls as
:math:`\kappa^{-1/2}` cannot move along the edge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from ddphf.arrays import Array, IntArray, Mask
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.matrix import Split, factorise
from ddphf.likelihood.direct.model import Curvature, DirectModel

__all__ = ["EdgeTerms", "edge_errors", "edge_terms"]

DARK = 1e-4
"""Rates of empty bins below this may be held at 0."""

PRESSURE = 1e-3
"""Of a rate that is held: -ln L of an empty bin rises by 1 per event."""

SUSPECT = 0.1
"""Share of that pressure in the scaled gradient from which on pressures are solved for."""

STOPPED = 0.75
"""With four times the edge's curvature an error that it stops is half as large, any other the same:
the middle tells them apart."""

STIFF = 1e8
"""How far above everything else the edge's curvature is."""

MANY = 200
"""More rates than this are solved for without the condition that pressures are positive."""


class EdgeTerms(NamedTuple):
    """What :class:`ddphf.likelihood.direct.model.DirectModel` needs to keep to an edge.

    Attributes:
        data: Main and auxiliary data, with as many events in bins at the edge as press them.
        multiplier: Shape (bins,): kappa times the rate at the edge, 0 elsewhere.
    """

    data: Array
    multiplier: Array

    @property
    def found(self) -> bool:
        """Whether any rate is held at 0."""
        return bool(np.any(self.multiplier > 0))


def edge_terms(model: DirectModel, parameters: Array, free: Mask, data: Array) -> EdgeTerms:
    """Find the rates that a minimum holds at 0.

    Args:
        model: The model.
        parameters: Shape (n,): the minimum.
        free: Shape (n,): neither held nor at a bound.
        data: Main and auxiliary data.
    """
    n_bins = model.n_bins
    none = EdgeTerms(np.array(data, dtype=float), np.zeros(n_bins))
    if np.all(data[:n_bins] > 0) or not free.any():
        return none
    at = model.evaluate(np.asarray(parameters)[None], none.data).row(0)
    found, rate = model.curvature(at), at.rate
    stiffness = model.split.diagonal(found.hessian)
    dark = np.flatnonzero((data[:n_bins] <= 0) & (rate < DARK))
    slopes = _dense_slopes(model.split, found, dark)
    slopes[:, ~free] = 0.0
    moves = np.any(slopes != 0, axis=1)
    dark, slopes = dark[moves], slopes[moves]
    pull = np.where(free, at.gradient, 0.0)
    # At an ordinary minimum nothing presses; rows are scaled, for parameters have other units.
    size = np.sqrt(np.maximum(np.abs(stiffness), 0.0) + np.sum(slopes**2, axis=0))
    scale = np.where(free & (size > 0), 1.0 / np.where(size > 0, size, 1.0), 0.0)
    if not dark.size or np.max(np.abs(pull * scale)) < SUSPECT * PRESSURE:
        return none
    matrix = (slopes * scale).T
    pressure = (
        nnls(matrix, pull * scale)[0] if dark.size <= MANY
        else np.linalg.lstsq(matrix, pull * scale, rcond=None)[0]
    )  # fmt: skip
    held = pressure > PRESSURE
    dark, slopes, pressure = dark[held], slopes[held], pressure[held]
    natural = np.sum((slopes * scale) ** 2, axis=1)
    safe = np.maximum(rate[dark], NEGLIGIBLE)
    none.data[dark] = pressure * safe
    none.multiplier[dark] = STIFF / natural * safe
    return none


def edge_errors(
    model: DirectModel, parameters: Array, free: Mask, terms: EdgeTerms
) -> tuple[Array, Mask]:
    """Return errors along the edge, shape (n,), and which free parameters it stops.

    Args:
        model: The model.
        parameters: Shape (n,): the minimum.
        free: Shape (n,).
        terms: What was found at it.
    """
    once, twice = (
        np.sqrt(_variances(model, parameters, *pair, free))
        for pair in (terms, (terms.data, 4 * terms.multiplier))
    )
    stopped = free & ~(twice > STOPPED * once)  # an error of 0 or NaN is none either
    return np.where(stopped, 0.0, once), stopped


def _dense_slopes(split: Split, found: Curvature, bins: IntArray) -> Array:
    """Return the derivatives of some rates by all parameters, shape (bins, n)."""
    out = np.zeros((len(bins), split.n + 1))
    out[:, split.global_] = found.j_global[bins]
    for row in np.flatnonzero(split.of_bin[bins] < len(split.local)):
        out[row, split.local[split.of_bin[bins[row]]]] = found.j_local[bins[row]]
    return out[:, :-1]


def _variances(
    model: DirectModel, parameters: Array, data: Array, multiplier: Array, free: Mask
) -> Array:
    at = model.evaluate(np.asarray(parameters)[None], data).row(0)
    factored = factorise(model.curvature(at, multiplier).hessian, model.split, free)
    if factored is None:
        return np.full(len(parameters), np.nan)
    return np.maximum(factored.variances(), 0.0)
