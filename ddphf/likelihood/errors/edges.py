r"""Rates that a fit holds at 0: what presses them there, and the errors that are left.

The likelihood ends where the rate of an empty bin is 0. At such a minimum the gradient is not 0
but that of the rates with positive pressures z_i, :math:`\nabla(-\ln L) = \sum_i z_i \nabla\nu_i`.
No curvature tells the error across the edge (an interior point method's barrier has one, its own);
along the edge it is the inverse of

.. math::  \nabla^2 (-\ln L - \sum_i z_i \nu_i) + \sum_i \kappa_i \nabla\nu_i \nabla\nu_i^T,

with :math:`\kappa_i` far above everything else, which keeps the rates where they are (Nocedal and
Wright, Numerical Optimization, sections 12.5 and 17.1). A parameter whose error falls as
:math:`\kappa^{-1/2}` cannot move along the edge.

Away from edges :class:`Propagation` tells to first order how parameters and rates move together.
With covariance C = H^-1 (cells eliminated, not held) and J the derivatives of the rates,
:math:`C e_p` is the covariance of every parameter with parameter p, :math:`J C e_p` that of every
rate, and :math:`(J C J^T)_{ii}` the variance of rate i. A shift of count i by dn moves parameter p
by :math:`(J C e_p)_i \, dn / \lambda_i`, because the score of count i is :math:`J_i / \lambda_i`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from ddphf.arrays import Array, IntArray, Mask
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.model import Curvature, DirectModel, Split, factorise
from ddphf.likelihood.direct.newton import look

__all__ = ["EdgeTerms", "Propagation", "edge_errors", "edge_terms", "held_by_data", "propagate"]

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


@dataclass(frozen=True)
class Propagation:
    """Covariances at a minimum.

    Attributes:
        covariance: Shape (n,): of every parameter with the chosen one; 0 where not free.
        rates: Shape (n_main,): expected main data.
        rate_covariance: Shape (n_main,): of every rate with the chosen parameter.
        rate_variance: Shape (n_main,).
        global_covariance: Shape (k, k): of the global parameters, as in
            :meth:`CompiledModel.covariance`.
    """

    covariance: Array
    rates: Array
    rate_covariance: Array
    rate_variance: Array
    global_covariance: Array


def held_by_data(minimum: Minimum, fixed: Mask) -> Mask:
    """Return what a fit held: the fixed parameters, and those that no data or bound describe.

    A parameter that changes no expected count, or a background whose rate sits at 0, has error 0
    away from its bounds; the Hessian is singular along it. One that an edge stops is not among
    them: elsewhere it moves again.

    Args:
        minimum: A certified fit.
        fixed: Shape (n,): what was asked to be held.
    """
    return np.asarray(
        fixed | ((minimum.errors == 0) & ~minimum.at_bound & ~minimum.at_edge), dtype=bool
    )


def propagate(
    model: CompiledModel, parameters: Array, index: int, *, fixed: Mask | None = None
) -> Propagation:
    """Propagate the inverse Hessian at a minimum.

    Args:
        model: The model.
        parameters: The minimum, shape (n,).
        index: The chosen parameter.
        fixed: Held parameters, shape (n,); the measurement's by default.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> from ddphf.likelihood.fits import minimize
        >>> model = CompiledModel.from_reference(one_bin())
        >>> found = propagate(model, minimize(model).parameters, 0)
        >>> [round(float(x), 4) for x in found.rate_variance]  # one bin, one POI: its count
        [60.0]
    """
    problem, x = model.problem(fixed=fixed), np.asarray(parameters, dtype=float)
    n = len(x)
    inside = ~problem.fixed & (x > problem.lower) & (x < problem.upper)
    terms = edge_terms(model.direct, x, inside, problem.data)
    local = look(problem._replace(data=terms.data), x, terms.multiplier)
    found, split, rates = local.curvature, model.direct.split, local.at.rate
    if local.factored is None:
        k = len(split.global_)
        unknown = [np.full(shape, np.nan) for shape in (n, len(rates), len(rates), (k, k))]
        return Propagation(unknown[0], rates, *unknown[1:])
    column = local.factored.solve(np.eye(1, n, index)[0])

    # Variances: that of the globals with the cells following them, and the cell's own part.
    followed = np.where(local.free[split.global_], found.j_global, 0.0)
    moved = found.j_global @ column[split.global_]
    own = np.zeros(len(rates))
    if split.local.size:
        # Bins outside all cells have no local slope: it is 0 whatever cell they read.
        cell = np.minimum(split.of_bin, len(split.local) - 1)
        locals_ = split.local[cell]
        moved = moved + np.sum(found.j_local * np.append(column, 0.0)[locals_], axis=1)
        j_local = np.where(np.append(local.free, False)[locals_], found.j_local, 0.0)
        followed = followed - (j_local[:, None, :] @ local.factored.inner[cell])[:, 0]
        own = np.einsum("bl,blm,bm->b", j_local, local.factored.inverse_blocks[cell], j_local)
    block = local.factored.block
    variance = np.sum((followed @ block) * followed, axis=1) + own
    return Propagation(column, rates, moved, variance, block)
