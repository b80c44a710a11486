"""Toys fitted in blocks: shared information first, then careful fits one by one."""

from __future__ import annotations

import jax
import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.exceptions import ModelError
from ddphf.inference.toys.blocks import FIT_BLOCK
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.batch import BLOCK, BatchResult, minimize_batch
from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.ensembles.rough import SharedInputs
from ddphf.likelihood.ensembles.shared import fit_block, share_inputs
from ddphf.likelihood.fits import minimize
from ddphf.statistics.signed import BELOW_FREE
from ddphf.statistics.tails import CAREFUL, CONVERGED_FAST, FAILED

__all__ = ["ToyFitter"]

Columns = tuple[AnyArray, AnyArray, AnyArray, AnyArray]


class ToyFitter:
    """Fits blocks of toys: shared information first, then careful fits one by one.

    Args:
        source: Where the toys come from.
        size: Toys per block.
        test: The POI that the free fit is compared with.

    Raises:
        ModelError: The POI is fixed.
    """

    def __init__(self, source: ToySource, size: int = FIT_BLOCK, *, test: float = 0.0) -> None:
        self.source, self.model = source, source.model
        table, pair = self.model.parameters, self.model.pair
        assert table.poi is not None
        self.poi = table.poi
        self.null_held = self.model.held_at(test)
        self.test = test
        self.null_start = self._start(test)
        self.shared: SharedInputs | None = None
        if table.fixed[self.poi]:
            raise ModelError("the POI is fixed in this measurement, so there is no q0")
        if pair is not None and pair.poi is not None:
            shared = share_inputs(
                pair, source.parameters, source.rates, source.auxiliary(), table.fixed
            )
            theta = np.array(shared.theta)
            theta[pair.poi] = test
            self.shared = shared._replace(theta=jax.numpy.asarray(theta))
            self.arrays = jax.tree.map(jax.numpy.asarray, pair.held(source.parameters, table.fixed))

    def _start(self, test: float) -> Array:
        """Return where the toys' fits at the tested POI begin: its fit to the Asimov data."""
        start = self.source.parameters.copy()
        start[self.poi] = test
        if test == self.source.mu:
            return start
        data = self.null_data(self.source.expected())
        # The nuisance parameters of one POI may make a rate negative at another.
        for begin in (start, self.model.parameters.init.copy()):
            begin[self.poi] = test
            fit = minimize(self.model, data=data, start=begin, fixed=self.null_held)
            if fit.converged:
                return fit.parameters
        return start

    def null_data(self, data: Array) -> Array:
        """Return what the held fit sees: at 0 it leaves bins out that expect only the signal."""
        return self.model.data_without_signal(data) if self.test == 0 else data

    def without_null(self, data: Array) -> AnyArray:
        """Return which toys are impossible at the tested POI, shape (n,): t is inf there."""
        if self.test != 0:
            return np.zeros(len(data), dtype=bool)
        return self.model.is_without_null(data)

    def fast(self, data: Array) -> tuple[Array, Array, AnyArray, AnyArray] | None:
        """Fit by shared information alone; None where the model is no pair.

        Returns:
            2NLL(test) - 2NLL(free), mu_hat, whether both fits are certified, and whether mu_hat is
            the tested value because that lies in the subdifferential of a corner.
        """
        pair = self.model.pair
        if self.shared is None or pair is None or pair.poi is None:
            return None
        result = jax.tree.map(
            np.array,
            fit_block(pair.structure, pair.poi, self.arrays, self.shared, pair.split(data)),
        )
        difference = result.difference
        edm = np.maximum(result.edm_null, result.edm_free)
        good = (edm < EDM_TOLERANCE) & (difference > -BELOW_FREE) & np.isfinite(difference)
        return difference, result.free[:, pair.poi], good, result.at_zero

    def fit(self, data: Array, n: int) -> Columns:
        """Return signed q0, mu_hat, status, at_zero of the first n rows; the test is mu = 0.

        q0 is inf where a toy has events in a bin in which the signal alone is expected.
        """
        q0, mu_hat, status, at_zero = self.fit_with_nulls(data, n)[0]
        dark = self.without_null(data[:n]) & (status != FAILED)
        q0[dark] = np.inf
        return q0, mu_hat, status, at_zero & ~dark

    def fit_with_nulls(self, data: Array, n: int) -> tuple[Columns, list[BatchResult]]:
        """Return what :meth:`fit` does, and the fits at the test of each BLOCK of rows.

        Of a pair there are none: shared information has no points.
        """
        fast = self.fast(data)
        if fast is None:
            # A toy that is fitted again is so beside others of its batch alone.
            parts = [self._general(data[i : min(i + BLOCK, n)]) for i in range(0, n, BLOCK)]
            columns, nulls = zip(*parts, strict=True)
            q0, mu_hat, status, at_zero = (np.concatenate(c) for c in zip(*columns, strict=True))
            return (q0, mu_hat, status, at_zero), list(nulls)
        difference, mu_hat, good, at_zero = fast
        status = np.where(good, CONVERGED_FAST, FAILED).astype(np.int8)
        at_zero = at_zero & good
        for j in np.flatnonzero(~good[:n]):
            difference[j], mu_hat[j], status[j], at_zero[j] = self._careful(data[j])
        q0 = np.where(mu_hat >= 0, 1.0, -1.0) * difference
        q0[at_zero] = 0.0
        return (q0[:n], mu_hat[:n], status[:n], at_zero[:n]), []

    def _careful(self, data: Array) -> tuple[float, float, int, bool]:
        null = minimize(self.model, data=data, start=self.null_start, fixed=self.null_held)
        start = self.source.parameters if not null.converged else null.parameters
        free = minimize(self.model, data=data, start=start)
        if not free.converged:
            free = minimize(self.model, data=data, start=self.source.parameters)
        difference = null.twice_nll - free.twice_nll
        mu_hat = float(free.parameters[self.poi])
        if null.converged and free.converged and difference > -BELOW_FREE:
            return difference, mu_hat, CAREFUL, mu_hat == 0.0
        return np.nan, np.nan, FAILED, False

    def _general(self, data: Array) -> tuple[Columns, BatchResult]:
        model = self.model
        dark = self.without_null(data)
        null = minimize_batch(
            model, self.null_data(data), start=self.null_start, fixed=self.null_held, errors=False
        )
        free = minimize_batch(model, data, start=self.source.parameters, errors=False)
        column = list(free.names).index(model.parameters.names[self.poi])
        mu_hat, difference = free.parameters[:, column], null.twice_nll - free.twice_nll
        # The null found a lower minimum, so the free fit stopped in another one; or there is none
        # inside the bounds, as without events. Start from the null.
        again = np.flatnonzero(((difference < -BELOW_FREE) & ~dark) | (free.status == FAILED))
        failed = (null.status == FAILED) | (free.status == FAILED)
        again = again[null.status[again] != FAILED]
        if again.size:
            retried = minimize_batch(model, data[again], start=null.points[again], errors=False)
            picked = ~(retried.twice_nll > free.twice_nll[again]) & (retried.status != FAILED)
            rows = again[picked]
            mu_hat[rows] = retried.parameters[picked, column]
            difference[rows] = null.twice_nll[rows] - retried.twice_nll[picked]
            failed[rows] = False
        bad = failed | ~((difference > -BELOW_FREE) | dark)
        status = np.maximum(null.status, free.status)
        status[again] = CAREFUL
        status = np.where(bad, FAILED, status).astype(np.int8)
        at_zero = (mu_hat == 0.0) & ~bad
        q0 = np.where(mu_hat >= 0, 1.0, -1.0) * difference
        q0[at_zero] = 0.0
        q0[bad], mu_hat[bad] = np.nan, np.nan
        return (q0, mu_hat, status, at_zero), null
