r"""Errors of sums of expected events, from the covariance of all parameters, cells included.

The inverse of an arrowhead matrix (:mod:`ddphf.likelihood.general.arrowhead`) is never formed. With
the global block :math:`\Sigma`, each cell's block :math:`D_c` and edge :math:`C_c`, a sum of events
with derivatives :math:`g` by the globals and :math:`l_c` by the locals of cell c has

.. math::  \mathrm{var} = h^T \Sigma h + \sum_c l_c^T D_c^{-1} l_c, \qquad
           h = g - \sum_c C_c^T D_c^{-1} l_c .

Derivatives are symmetric differences over one standard deviation of each parameter, as in
cabinetry's ``model_utils.yield_stdev``; where a rate is linear in a parameter they are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct.model import DirectModel, factorise
from ddphf.likelihood.errors.edges import edge_terms
from ddphf.likelihood.reference import ReferenceModel

__all__ = ["Covariance", "Slopes", "find_slopes"]


@dataclass(frozen=True)
class Covariance:
    """The covariance of all parameters, in arrowhead form.

    Attributes:
        errors: Shape (n,): standard deviations; 0 for held parameters.
        global_: Shape (k,): indices of the global parameters.
        local: Shape (cells, L): indices of each cell's parameters, n where it has fewer.
        of_bin: Shape (bins,): the cell of each bin, ``cells`` where it has none.
        corner: Shape (k, k): covariance of the global parameters.
        inner: Shape (cells, L, k): D^-1 C of each cell.
        blocks: Shape (cells, L, L): D^-1 of each cell, its covariance at fixed globals.
    """

    errors: Array
    global_: IntArray
    local: IntArray
    of_bin: IntArray
    corner: Array
    inner: Array
    blocks: Array

    @classmethod
    def at_minimum(
        cls, reference: ReferenceModel, model: CompiledModel | None, parameters: Array, free: Mask
    ) -> Covariance:
        """Take the inverse Hessian of -ln L at a minimum.

        Args:
            reference: The measurement.
            model: The same compiled, or None where it does not compile: the Hessian is pyhf's.
            parameters: Shape (n,): the minimum.
            free: Shape (n,): False for parameters that are held or sit at a bound.
        """
        n = len(parameters)
        if model is None:
            corner = np.zeros((n, n))
            where = np.flatnonzero(free)
            hessian = 0.5 * reference.hessian(parameters)[np.ix_(where, where)]
            corner[np.ix_(where, where)] = np.linalg.inv(hessian)
            return cls(
                np.sqrt(np.diag(corner)), np.arange(n), *_no_cells(reference.n_main), corner,
                np.zeros((0, 0, n)), np.zeros((0, 0, 0)),
            )  # fmt: skip
        cells = model.cells
        terms = edge_terms(model.direct, parameters, free, model.data)
        corner, inner, blocks = _invert(model.direct, parameters, *terms, free)
        global_, local = np.asarray(cells.global_), np.asarray(cells.local)
        variance = np.zeros(n + 1)
        variance[global_] = np.diag(corner)
        variance[local] = np.einsum("cll->cl", blocks)
        variance[local] += np.einsum("clk,km,clm->cl", inner, corner, inner)
        variance[:-1][~free] = 0.0
        return cls(
            np.sqrt(variance[:-1]), global_, local, np.asarray(cells.of_bin), corner, inner, blocks
        )

    @classmethod
    def of_widths(cls, reference: ReferenceModel, model: CompiledModel | None) -> Covariance:
        """Take the prior widths, uncorrelated; parameters without a constraint count as known."""
        errors = np.zeros(len(reference.parameters.names))
        config = reference.model.config
        for name in config.par_order:
            if config.param_set(name).constrained:
                errors[config.par_slice(name)] = config.param_set(name).width()
        errors[reference.parameters.fixed] = 0.0
        if model is None:
            global_, (local, of_bin) = np.arange(len(errors)), _no_cells(reference.n_main)
        else:
            global_, local, of_bin = (
                np.asarray(x) for x in (model.cells.global_, model.cells.local, model.cells.of_bin)
            )
        padded = np.append(errors, 0.0)[local] ** 2
        return cls(
            errors, global_, local, of_bin, np.diag(errors[global_] ** 2),
            np.zeros((*local.shape, len(global_))), padded[:, :, None] * np.eye(local.shape[1]),
        )  # fmt: skip

    def variance(self, slopes: Slopes, group: IntArray, weight: Array | None = None) -> Array:
        """Return the variance of sums of bins.

        Args:
            slopes: Of the rates that are summed.
            group: Shape (bins,): the sum that each bin enters, from 0; -1 for none.
            weight: Shape (bins,): of each bin in its sum; 1 by default.

        Returns:
            Shape (groups,).
        """
        weight = np.ones(len(group)) if weight is None else weight
        n_groups = int(group.max(initial=-1)) + 1
        taken = group >= 0
        effective = np.zeros((n_groups, len(self.global_)))
        np.add.at(effective, group[taken], (slopes.global_ * weight[:, None])[taken])
        own = np.zeros(n_groups)
        in_cell = taken & (self.of_bin < len(self.local))
        if in_cell.any():
            # One row for each cell that a group touches: its bins act on the same parameters.
            key = group[in_cell] * len(self.local) + self.of_bin[in_cell]
            rows, place = np.unique(key, return_inverse=True)
            pull = np.zeros((len(rows), self.local.shape[1]))
            np.add.at(pull, place, (slopes.local * weight[:, None])[in_cell])
            groups, cells = np.divmod(rows, len(self.local))
            np.add.at(effective, groups, -np.einsum("rlk,rl->rk", self.inner[cells], pull))
            np.add.at(own, groups, np.einsum("rl,rlm,rm->r", pull, self.blocks[cells], pull))
        total = np.einsum("gk,km,gm->g", effective, self.corner, effective) + own
        return np.asarray(np.maximum(total, 0.0))


@dataclass(frozen=True)
class Slopes:
    """Derivatives of the expected counts of one sample, or of their total.

    Attributes:
        global_: Shape (bins, k): by the global parameters.
        local: Shape (bins, L): by the parameters of the bin's own cell.
    """

    global_: Array
    local: Array


def find_slopes(
    rates: Callable[[Array], Array], parameters: Array, covariance: Covariance
) -> list[Slopes]:
    """Return the derivatives of rates by symmetric differences over one standard deviation.

    The parameters of all cells are shifted at once, as a bin sees its own cell alone: the cost is
    that of k + L parameters, however many bins there are.

    Args:
        rates: Returns rates of shape (samples, bins) at parameters of shape (n,).
        parameters: Where, shape (n,).
        covariance: Standard deviations and cells.

    Returns:
        One entry per sample.
    """
    n = len(parameters)
    n_bins = len(covariance.of_bin)

    def difference(indices: IntArray) -> Array:
        shift = np.zeros(n + 1)
        shift[indices] = np.append(covariance.errors, 0.0)[indices]
        if not shift.any():
            return np.zeros((n_samples, n_bins))
        step = shift[:-1]
        return np.asarray(0.5 * (rates(parameters + step) - rates(parameters - step)))

    n_samples = len(rates(parameters))
    columns = np.zeros((n_samples, n_bins, len(covariance.global_)))
    for column, index in enumerate(covariance.global_):
        if covariance.errors[index] > 0:
            columns[:, :, column] = difference(np.array([index])) / covariance.errors[index]
    in_cell = covariance.of_bin < len(covariance.local)
    own = np.zeros((n_samples, n_bins, covariance.local.shape[1]))
    padded = np.append(covariance.errors, 0.0)
    for slot in range(covariance.local.shape[1]):
        error = np.zeros(n_bins)
        error[in_cell] = padded[covariance.local[covariance.of_bin[in_cell], slot]]
        change = difference(covariance.local[:, slot])
        own[:, :, slot] = np.where(error > 0, change / np.where(error > 0, error, 1.0), 0.0)
    return [Slopes(columns[s], own[s]) for s in range(n_samples)]


def _no_cells(n_bins: int) -> tuple[IntArray, IntArray]:
    return np.zeros((0, 0), dtype=int), np.zeros(n_bins, dtype=int)


def _invert(
    model: DirectModel, parameters: Array, data: Array, multiplier: Array, free: Mask
) -> tuple[Array, Array, Array]:
    """Return the global covariance, D^-1 C and D^-1, 0 for what is not free."""
    at = model.evaluate(np.asarray(parameters)[None], data).row(0)
    found = factorise(model.curvature(at, multiplier).hessian, model.split, free)
    if found is None:
        k, shape = len(model.split.global_), model.split.local.shape
        shapes = ((k, k), (*shape, k), (*shape, shape[1]))
        corner, inner, blocks = (np.full(shape, np.nan) for shape in shapes)
        return corner, inner, blocks
    inside = np.append(free, False)[model.split.local]
    blocks = np.where(inside[:, :, None] & inside[:, None, :], found.inverse_blocks, 0.0)
    return found.block, found.inner, blocks
