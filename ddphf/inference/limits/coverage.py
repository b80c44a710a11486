"""Coverage of profile-likelihood intervals: how often they hold the true strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import chi2

from ddphf.arrays import Array, Numbers
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import COVERAGE
from ddphf.compute.tasks import Task
from ddphf.compute.threads import Threads
from ddphf.compute.work import HERE, Work
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import toy_statistics
from ddphf.likelihood.cache import CACHE
from ddphf.statistics.tails import TIE

__all__ = ["CoverageResult", "coverage_asymptotic", "coverage_calibrated"]

LEVELS = (0.6827, 0.95)

CALIBRATION_TOYS = 255
"""Toys per data set: p-values are multiples of 1/256."""


@dataclass(frozen=True)
class CoverageResult:
    """How often intervals hold the truth.

    Attributes:
        mu: True strength.
        method: ``"asymptotic"`` or ``"toys"``.
        n: Data sets.
        n_failed: Data sets without a certificate; they are left out.
        levels: Nominal levels.
        coverage: Fraction of data sets whose interval holds mu, per level.
        error: Binomial standard errors of it.
    """

    mu: float
    method: str
    n: int
    n_failed: int
    levels: Numbers
    coverage: Numbers
    error: Numbers

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        lists = {key: list(getattr(self, key)) for key in ("levels", "coverage", "error")}
        return {
            "mu": self.mu, "method": self.method, "n": self.n, "n_failed": self.n_failed, **lists
        }  # fmt: skip


def coverage_asymptotic(
    truth: ToySource, n: int, *, seed: int, levels: Sequence[float] = LEVELS, work: Work = HERE
) -> CoverageResult:
    """Return how often t(mu) of the true mu is below the chi-square quantile.

    That is when the interval {mu: t(mu) <= quantile} holds the truth.

    Args:
        truth: Where data are drawn from.
        n: Data sets.
        seed: Their seed.
        levels: Nominal levels.
        work: Where they are fitted, on threads by default.

    Raises:
        FitError: Too many data sets have no certificate.

    Example:
        >>> from ddphf.likelihood.compiled import CompiledModel
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin(100.0, 1000.0, 10.0, observed=1000.0))
        >>> found = coverage_asymptotic(ToySource.at(model, np.array([3.0, 1.0])), 512, seed=1)
        >>> abs(found.coverage[0] - 0.6827) < 3 * found.error[0]
        True
    """
    toys = toy_statistics(truth, [truth.mu], n, seed=seed, work=Work(runner=work.runner))
    held = [toys.t[:, 0] <= chi2.ppf(level, 1) for level in levels]
    return _result(truth, "asymptotic", np.array(held), toys.n_failed, levels)


def coverage_calibrated(
    truth: ToySource, n: int, *, seed: int, levels: Sequence[float] = LEVELS, work: Work = HERE
) -> CoverageResult:
    """Return how often intervals with thresholds from toys hold the true mu.

    Every data set is calibrated with its own toys, drawn at mu with the other parameters
    conditional on that data set, as an analysis would.

    Args:
        truth: Where data are drawn from.
        n: Data sets.
        seed: Their seed.
        levels: Nominal levels.
        work: Where data sets are calibrated, on threads by default; counts them.

    Raises:
        FitError: Too many toys have no certificate.
    """
    observed = toy_statistics(truth, [truth.mu], n, seed=seed, work=Work(runner=work.runner))
    settings = {"truth": truth, "seed": seed}
    task = Task("ddphf.inference.limits.coverage:Calibration", settings, begin=CACHE)
    pieces = run_blocks(task, observed.numbers.tolist(), runner=work.runner, progress=work.count)
    rows = []
    for t, toys in zip(observed.t[:, 0], pieces, strict=True):
        # The data set itself counts as one: exact where it and its toys are exchangeable.
        p_value = (np.sum(toys >= t - TIE) + 1) / (len(toys) + 1)
        rows.append([p_value > 1 - level for level in levels])
    return _result(truth, "toys", np.array(rows).T, observed.n_failed, levels)


class Calibration:
    """The work of :func:`coverage_calibrated`: called with a data set's number, its toys' t."""

    def __init__(self, truth: ToySource, seed: int) -> None:
        self.truth, self.seed = truth, seed

    def __call__(self, number: int) -> Array:
        """Return t at the true mu of toys drawn conditional on a data set."""
        truth = self.truth
        data = truth.draw(self.seed, number)
        source = ToySource.conditional(replace(truth.model, data=data), truth.mu)
        first = COVERAGE.start(number, CALIBRATION_TOYS)
        with Threads(1) as here:
            toys = toy_statistics(
                source,
                [truth.mu],
                CALIBRATION_TOYS,
                seed=self.seed,
                first=first,
                work=Work(runner=here),
            )
        return np.asarray(toys.t[:, 0])


def _result(
    truth: ToySource, method: str, held: Any, n_failed: int, levels: Sequence[float]
) -> CoverageResult:
    coverage = held.mean(axis=1)
    error = np.sqrt(coverage * (1 - coverage) / held.shape[1])
    return CoverageResult(
        mu=truth.mu,
        method=method,
        n=held.shape[1],
        n_failed=n_failed,
        levels=tuple(levels),
        coverage=tuple(coverage.tolist()),
        error=tuple(error.tolist()),
    )
