"""Fits of all hypotheses of a scan at once: rows first, then the careful path one by one."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.exceptions import ModelError
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.rows.fits import RowFits, fit_rows
from ddphf.likelihood.rows.kernel import evaluate, profile
from ddphf.likelihood.rows.model import RowData, RowModel
from ddphf.masses.scan import MassScan
from ddphf.masses.several_minima import find_sides, fit_lowest
from ddphf.statistics.signed import BELOW_FREE
from ddphf.statistics.tails import CAREFUL, FAILED

__all__ = ["ScanEngine"]

FEWEST = 0.05
"""A free fit starts with so many signal events at least: at 0 a bin may have no expectation."""


class ScanEngine:
    """Fits of a scan's hypotheses to any data.

    Args:
        scan: The scan.

    Attributes:
        scan: The same.
        model: Its rows.
        signal_only: Bins where nothing but the signal is expected, shape (n, bins).
        sides: Hypotheses by correlated error that may make several minima there.
    """

    def __init__(self, scan: MassScan) -> None:
        self.scan = scan
        self.model: RowModel = scan.rows()
        self._null = self.model.null()
        self.signal_only: Mask = self.model.without_signal()
        self.sides = find_sides(scan)
        free = zip(self.model.names, self.model.held, strict=True)
        self._sides = [k for k, (name, held) in enumerate(free) if name in self.sides and not held]
        self._signal = self.model.yields[:, self.model.linear[:, 0] > 0].sum(axis=(1, 2))
        self._others = self.model.yields[:, self.model.linear[:, 0] == 0].sum(axis=(1, 2))
        self._compiled: dict[int, CompiledModel] = {}

    @cached_property
    def impossible(self) -> Mask:
        """Hypotheses whose data cannot be without a signal, shape (n,)."""
        return np.asarray(np.any(self.signal_only & (self.model.counts > 0), axis=1))

    def held(
        self, data: RowData, mu: Array, row: AnyArray | int, start: Array | None = None
    ) -> RowFits:
        """Fit with the POI held.

        Where it is 0, bins in which nothing is expected then are left out: their terms are 0, or
        the likelihood is, which whoever asks knows by :attr:`signal_only`.

        Args:
            data: One per fit.
            mu: The POI, shape (fits,).
            row: Hypothesis of each, shape (fits,), or one number.
            start: Global parameters to begin at, shape (fits, k).
        """
        begin = np.tile(self.model.start, (len(data), 1)) if start is None else start.copy()
        begin[:, 0] = mu
        if np.any(mu == 0):
            nothing = self.signal_only[row] & (mu == 0)[:, None]
            data = RowData(np.where(nothing, 0.0, data.counts), data.centre, data.local)
        mask = np.zeros(begin.shape[1], dtype=bool)
        mask[0] = True
        model = self._null if np.all(mu == 0) else self.model
        fits = fit_lowest(model, data, begin, mask, self._sides, row=row)
        return self._careful(fits, data, row, mask)

    def free(
        self, data: RowData, row: AnyArray | int, start: Array | None = None, *,
        at_null: Mask | None = None,
    ) -> RowFits:  # fmt: skip
        """Fit with everything free.

        Args:
            data: One per fit.
            row: Hypothesis of each, shape (fits,), or one number.
            start: Nuisances to begin at; the POI begins where the events are enough.
            at_null: Fits whose POI begins at 0.
        """
        begin = np.tile(self.model.start, (len(data), 1)) if start is None else start.copy()
        signal = np.where(self._signal[row] > 0, self._signal[row], 1.0)
        events = data.counts.sum(axis=1)
        needed = np.sum(np.where(self.signal_only[row], data.counts, 0.0), axis=1)
        wanted = np.maximum(
            events - self._others[row], np.maximum(FEWEST * np.sqrt(events), needed)
        )
        begin[:, 0] = np.maximum(wanted, FEWEST) / signal
        if at_null is not None:
            begin[at_null, 0] = 0.0
        mask = np.zeros(begin.shape[1], dtype=bool)
        fits = fit_lowest(self.model, data, begin, mask, self._sides, row=row)
        return self._careful(fits, data, row, mask)

    def both(self, data: RowData, row: AnyArray | int) -> tuple[RowFits, RowFits]:
        """Fit free and at 0; a null below the free fit is where that begins again."""
        null = self.held(data, np.zeros(len(data)), row)
        # Where more signal makes the null worse it is the free fit too, which one look tells.
        # Where there may be several minima it may be one of them.
        there = null.ok & ~self._dark(data, row) & (not self._sides)
        free = self.free(data, row, null.theta, at_null=there)
        with np.errstate(invalid="ignore"):  # of two that failed
            below = np.flatnonzero(2 * (null.value - free.value) < -BELOW_FREE)
        below = below[~self._dark(data, row)[below]]
        if len(below):
            some = row if isinstance(row, int) else row[below]
            mask = np.zeros(free.theta.shape[1], dtype=bool)
            again = fit_rows(self.model, data.take(below), null.theta[below], mask, row=some)
            better = again.value < free.value[below]  # before the values are changed
            for own, new in zip(free.columns(), again.columns(), strict=True):
                own[below[better]] = new[better]
            free.status[below[again.value >= null.value[below] + BELOW_FREE]] = FAILED
        return null, free

    def _dark(self, data: RowData, row: AnyArray | int) -> Mask:
        """Return which data have events where nothing but a signal is expected."""
        return np.asarray(np.any(self.signal_only[row] & (data.counts > 0), axis=1))

    def statistic(self, data: RowData, row: AnyArray | int, null: RowFits, free: RowFits) -> Array:
        """Return 2NLL(0) - 2NLL(free), inf where mu = 0 is impossible, shape (fits,)."""
        with np.errstate(invalid="ignore"):
            q = 2.0 * (null.value - free.value)
        return np.where(self._dark(data, row), np.inf, np.maximum(q, 0.0))

    def expected(self, theta: Array, data: RowData, row: AnyArray | int) -> tuple[Array, Array]:
        """Return the rates at global parameters, the bins' own at their best, and these.

        Args:
            theta: Global parameters.
            data: That the bins' parameters are fitted to; none where nothing is expected.
            row: Hypothesis of each fit.
        """
        model = self.model.take(np.atleast_1d(row))
        a, b = model.split(theta)
        with np.errstate(under="ignore"):
            gamma, rate, _, _ = profile(model, data, a, b)
        return np.where(rate < 1e-90, 0.0, rate), gamma

    def _careful(self, fits: RowFits, data: RowData, row: AnyArray | int, held: Mask) -> RowFits:
        """Do again, by the engine of single workspaces, what has no certificate."""
        for j in np.flatnonzero(~fits.ok):
            which = row if isinstance(row, int) else int(row[j])
            model = self.compile(which)
            table = model.parameters
            places = np.array([table.names.index(name) for name in self.model.names])
            start = table.init.copy()
            start[places] = np.where(held, fits.theta[j], start[places])
            fixed = table.fixed.copy()
            fixed[places] |= held
            fit = minimize(
                model, data=self._flatten(model, data, int(j), which), start=start, fixed=fixed
            )
            if not fit.converged:
                continue
            own, theta = self.model.take(np.array([which])), fit.parameters[places]
            with np.errstate(all="ignore"):
                value = evaluate(own, data.take(slice(j, j + 1)), theta[None]).value[0]
            if not np.isfinite(value):  # at an edge where a rate is 0, which has no row
                continue
            fits.theta[j], fits.errors[j], fits.value[j] = theta, fit.errors[places], value
            fits.edm[j], fits.status[j] = fit.edm, CAREFUL
        return fits

    def compile(self, index: int) -> CompiledModel:
        """Return the model of one hypothesis's workspace."""
        if index not in self._compiled:
            reference = ReferenceModel(self.scan.workspace(index))
            self._compiled[index] = CompiledModel.from_reference(reference)
        return self._compiled[index]

    def _flatten(self, model: CompiledModel, data: RowData, fit: int, index: int) -> Array:
        """Return a row's data in the order of its workspace."""
        live: IntArray = np.flatnonzero(self.scan.live[index])
        names, constraints = model.parameters.names, model.expansion.constraints
        out = model.data.copy()
        out[: len(live)] = data.counts[fit, live]
        for places, parameters in (
            (constraints.normal_data, constraints.normal_parameter),
            (constraints.poisson_data, constraints.poisson_parameter),
        ):
            for place, parameter in zip(places, parameters, strict=True):
                name, found, number = names[int(parameter)].rpartition("[")
                if not found:
                    value = data.centre[fit, self.model.names.index(names[int(parameter)])]
                elif name:
                    value = data.local[fit, live[int(number[:-1])]]
                else:
                    raise ModelError(f"parameter '{names[int(parameter)]}' has no row")
                out[model.n_main + int(place)] = value
        return out
