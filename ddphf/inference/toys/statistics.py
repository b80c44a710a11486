"""Toys with the profile likelihood ratio at any tested POI: what limits and intervals need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.work import HERE, Work
from ddphf.inference.toys.blocks import FIT_BLOCK, draw_block, map_toys
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.batch import BLOCK, BatchResult, minimize_batch
from ddphf.likelihood.fits import minimize
from ddphf.statistics.signed import BELOW_FREE
from ddphf.statistics.tails import FAILED, refuse_failures

__all__ = ["StatisticFitter", "ToyStatistics", "toy_statistics"]


@dataclass(frozen=True)
class ToyStatistics:
    """Certified toys of one source.

    Attributes:
        mu: POI that they were drawn with.
        tests: Tested POIs, k of them.
        mu_hat: Shape (n,).
        t: 2NLL(test) - 2NLL(free), shape (n, k).
        t_zero: The same at 0, shape (n,).
        n_failed: Toys without a certificate; they are left out.
        numbers: Of the toys that have one, shape (n,).
    """

    mu: float
    tests: tuple[float, ...]
    mu_hat: Array
    t: Array
    t_zero: Array
    n_failed: int
    numbers: AnyArray

    def q_tilde(self, test: int) -> Array:
        """Return the statistic of upper limits at tests[test] (arXiv:1007.1727, Eq. 16)."""
        t = np.where(self.mu_hat < 0, self.t[:, test] - self.t_zero, self.t[:, test])
        return np.asarray(np.where(self.mu_hat > self.tests[test], 0.0, np.maximum(t, 0.0)))


def toy_statistics(
    source: ToySource,
    tests: Sequence[float],
    n: int,
    *,
    seed: int,
    first: int = 0,
    work: Work = HERE,
) -> ToyStatistics:
    """Draw toys and fit them free and at every tested POI.

    Args:
        source: Where they are drawn from.
        tests: Tested POIs.
        n: Number of toys.
        seed: Non-negative integer.
        first: Number of the first toy.
        work: Where they are drawn and fitted, threads of this process by default; counts toys.

    Raises:
        FitError: More than one in a thousand toys have no certificate.

    Example:
        >>> from ddphf.likelihood.compiled import CompiledModel
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin())
        >>> toys = toy_statistics(ToySource.conditional(model, 2.0), [2.0], 64, seed=1)
        >>> toys.t.shape, bool(0.3 < np.mean(toys.t < 1) < 0.95)
        ((64, 1), True)
    """
    pieces = list(
        map_toys(
            "ddphf.inference.toys.statistics:Statistics",
            {"source": source, "tests": tuple(tests), "seed": seed},
            np.arange(first, first + n), work=work,
        )
    )  # fmt: skip
    mu_hat, t, t_zero, failed = (np.concatenate([p[i] for p in pieces]) for i in range(4))
    refuse_failures(
        int(failed.sum()), n, f"mu = {source.mu:.4g}", "limits from them would mean nothing"
    )
    ok = ~failed
    return ToyStatistics(
        source.mu, tuple(tests), mu_hat[ok], t[ok], t_zero[ok], int(failed.sum()),
        first + np.flatnonzero(ok),
    )  # fmt: skip


@dataclass
class _Held:
    """Held fits of some rows of a chunk, done when they are first needed."""

    data: Array
    found: dict[float, BatchResult] = field(default_factory=dict)

    def at(self, fitter: ToyFitter, mu: float) -> BatchResult:
        if mu not in self.found:
            self.found[mu] = minimize_batch(
                fitter.model, fitter.null_data(self.data), start=fitter.null_start,
                fixed=fitter.null_held,
                errors=False,
            )  # fmt: skip
        return self.found[mu]


class Statistics:
    """The work of :func:`toy_statistics`: mu_hat, t, t at 0 and failures of toys.

    Args:
        source: Where they are drawn from.
        tests: Tested POIs.
        seed: Their seed.
    """

    def __init__(self, source: ToySource, tests: Sequence[float], seed: int) -> None:
        self.source, self.seed = source, seed
        self.fitter = StatisticFitter(source, tests)

    def __call__(self, numbers: AnyArray) -> tuple[Array, Array, Array, AnyArray]:
        """Draw and fit wanted toys of one block."""
        block = draw_block(self.source, self.seed, numbers)
        # What compiled blocks cannot do is done in batches of what is left of a whole block.
        n = block.n if self.fitter.base.shared is None else len(block.data)
        mu_hat, t, t_zero, failed = (c[block.rows] for c in self.fitter.fit(block.data, n))
        return mu_hat, t, t_zero, failed


class StatisticFitter:
    """Fits blocks of toys free, at 0, and at every tested POI.

    Args:
        source: Where the toys come from.
        tests: Tested POIs.
        size: Toys per block.
    """

    def __init__(self, source: ToySource, tests: Sequence[float], size: int = FIT_BLOCK) -> None:
        self.source, self.tests = source, tuple(tests)
        self.base = ToyFitter(source, size)
        self.fitters = [ToyFitter(source, size, test=mu) for mu in tests]

    def fit(self, data: Array, n: int) -> tuple[Array, Array, Array, AnyArray]:
        """Return mu_hat (n,), t (n, k), t at 0 (n,) and failed (n,) of the first n rows."""
        (q0, mu_hat, status, _), nulls = self.base.fit_with_nulls(data, n)
        failed = status == FAILED
        dark = self.base.without_null(data[:n])
        # Their null leaves bins out, so that this is no difference of two values of one likelihood.
        t_zero = np.where(dark, q0, np.abs(q0))
        t = np.full((n, len(self.tests)), np.nan)
        for j, (mu, fitter) in enumerate(zip(self.tests, self.fitters, strict=True)):
            if mu == 0:
                t[:, j] = np.where(dark, np.inf, t_zero)
                continue
            fast = fitter.fast(data)
            if fast is not None:
                t[:, j] = np.where(fast[2][:n], fast[0][:n], np.nan)
        # Held fits one after the other: toys on a corner at 0, and models that are no pairs.
        rest = np.flatnonzero(np.isnan(t).any(axis=1) & ~failed)
        batch = rest // BLOCK if self.base.shared is None else 0 * rest
        for rows in np.split(rest, np.flatnonzero(np.diff(batch)) + 1) if rest.size else ():
            held = _Held(data[rows])
            # A batch without some of its rows has other last bits, where one Hessian is shared.
            if nulls and len(rows) == len(nulls[rows[0] // BLOCK].status):
                held.found[0.0] = nulls[rows[0] // BLOCK]
            self._finish(held, rows, mu_hat, t, t_zero)
        t_zero[dark] = np.inf
        failed |= ~np.all(t > -BELOW_FREE, axis=1) | ~(t_zero > -BELOW_FREE)
        return mu_hat, t, t_zero, failed

    def _finish(self, held: _Held, rest: AnyArray, mu_hat: Array, t: Array, t_zero: Array) -> None:
        base = held.at(self.base, 0.0).twice_nll - t_zero[rest]
        for j, (mu, fitter) in enumerate(zip(self.tests, self.fitters, strict=True)):
            missing = np.isnan(t[rest, j])
            if missing.any():
                t[rest[missing], j] = (held.at(fitter, mu).twice_nll - base)[missing]
        # A held fit below the free one: the free fit stopped in another minimum; start from there.
        lowest = np.nanmin(np.where(np.isnan(t[rest]), np.inf, t[rest]), axis=1)
        for row in np.flatnonzero(lowest < -BELOW_FREE):
            j = int(np.nanargmin(t[rest[row]]))
            start: Any = held.at(self.fitters[j], self.tests[j]).points[row]
            free = minimize(self.source.model, data=held.data[row], start=start)
            gain = base[row] - free.twice_nll
            if free.converged and gain > 0:
                t[rest[row]] += gain
                t_zero[rest[row]] += gain
                mu_hat[rest[row]] = free.parameters[self.base.poi]
