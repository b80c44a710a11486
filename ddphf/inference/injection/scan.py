"""Scan of the signal strength by toys: bias, width, and coverage of the intervals of mu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2, norm

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import seed_of_part
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import UsageError
from ddphf.inference.injection.signals import DataKind, Injection
from ddphf.inference.toys.blocks import draw_block, map_toys
from ddphf.likelihood.batch import minimize_batch
from ddphf.results.injection import StrengthResult
from ddphf.statistics.signed import BELOW_FREE, sign_difference, signed_z
from ddphf.statistics.tails import FAILED, refuse_failures

__all__ = ["LEVELS", "ensemble_fits", "scan_strengths"]

LEVELS = (0.6827, 0.95)
"""Confidence levels of the intervals: 1 and 1.96 standard errors."""

Columns = tuple[Array, Array, Array, Array, AnyArray, AnyArray]


def scan_strengths(
    injection: Injection,
    strengths: Sequence[float],
    *,
    toys: int,
    kind: DataKind = "poisson",
    seed: int = 0,
    work: Work = HERE,
) -> tuple[StrengthResult, ...]:
    """Draw and fit toys of several strengths.

    Args:
        injection: Measurement and background.
        strengths: True values of mu.
        toys: Per strength.
        kind: ``"shift"``: background toys plus mu S, not integers (Birman et al.); otherwise main
            and auxiliary data are drawn at mu.
        seed: Strength j takes the stream (seed, j).
        work: Where toys are drawn and fitted, threads of this process by default; counts toys.

    Raises:
        UsageError: Fewer than two toys.
        ModelError: A strength is outside the bounds.
        FitError: Too many toys failed.

    Example:
        >>> from ddphf.inference.fitter import Fitter
        >>> from ddphf.likelihood.examples import one_bin
        >>> injection = Injection(Fitter(one_bin(observed=50.0)))
        >>> (row,) = scan_strengths(injection, [4.0], toys=64)
        >>> abs(row.bias) < 4 * row.mu_mean_error, row.n_failed
        (True, 0)
    """
    if toys < 2:
        raise UsageError(f"{toys} toys, expected 2 or more: a width needs a spread")
    for mu in strengths:
        injection.check(mu)
    rows = []
    for index, mu in enumerate(strengths):
        settings = {
            "injection": injection, "mu": mu, "shifted": kind == "shift",
            # A number of its own per strength: the streams of neighbours are independent.
            "seed": seed_of_part(seed, index),
        }  # fmt: skip
        pieces = map_toys(
            "ddphf.inference.injection.scan:StrengthToys", settings, np.arange(toys),
            work=work.part(index * toys, len(strengths) * toys),
        )  # fmt: skip
        columns = tuple(np.concatenate(c) for c in zip(*pieces, strict=True))
        rows.append(_summarize(injection, mu, *columns))
    return tuple(rows)


class StrengthToys:
    """The work of :func:`scan_strengths`: what :func:`ensemble_fits` finds in toys.

    Args:
        injection: Measurement and background.
        mu: True strength.
        shifted: Whether mu S is added to toys of the background; they are drawn at mu else.
        seed: Of the toys.
    """

    def __init__(self, injection: Injection, mu: float, shifted: bool, seed: int) -> None:
        self.injection, self.mu, self.shifted, self.seed = injection, mu, shifted, seed
        self.source = injection.source(0.0 if shifted else mu)

    def __call__(self, numbers: AnyArray) -> Columns:
        """Draw and fit wanted toys of one block."""
        block = draw_block(self.source, self.seed, numbers)
        found = ensemble_fits(self.injection, self.mu, block.data[: block.n], shifted=self.shifted)
        mu_hat, error, q0, q_true, failed, at_zero = (column[block.rows] for column in found)
        return mu_hat, error, q0, q_true, failed, at_zero


def ensemble_fits(injection: Injection, mu: float, data: Array, *, shifted: bool) -> Columns:
    """Fit a block of data sets.

    Args:
        injection: The measurement.
        mu: True strength.
        data: Main and auxiliary data, shape (n, n_main + n_aux).
        shifted: Add mu S to the main data first.

    Returns:
        mu_hat, its error, signed q0, q(mu), failed, at_zero, each of shape (n,).
    """
    model, poi = injection.model, injection.poi
    if shifted:
        data = data.copy()
        data[:, : model.n_main] += mu * injection.signal
    held = model.parameters.fixed.copy()
    held[poi] = True
    free = minimize_batch(model, data, start=injection.at(mu))
    null = minimize_batch(model, data, start=injection.point, fixed=held)
    true = null if mu == 0 else minimize_batch(model, data, start=injection.at(mu), fixed=held)
    column = free.names.index(injection.poi_name)
    mu_hat, error = free.parameters[:, column], free.errors[:, column]
    q_null, q_true = null.twice_nll - free.twice_nll, true.twice_nll - free.twice_nll
    failed = (free.status == FAILED) | (null.status == FAILED) | (true.status == FAILED)
    failed |= ~((q_null > -BELOW_FREE) & (q_true > -BELOW_FREE))
    return mu_hat, error, sign_difference(q_null, mu_hat), q_true, failed, mu_hat == 0


def _summarize(
    injection: Injection,
    mu: float,
    mu_hat: Array,
    error: Array,
    q0: Array,
    q_true: Array,
    failed: AnyArray,
    at_zero: AnyArray,
) -> StrengthResult:
    n_failed = int(failed.sum())
    what = f"{injection.poi_name} = {mu:g}"
    refuse_failures(n_failed, len(failed), what, "their coverage would mean nothing")
    ok = ~failed
    mu_hat, error, q_true = mu_hat[ok], error[ok], q_true[ok]
    z = signed_z(q0[ok])
    n = len(z)
    # Rounding of mu_hat counts as covered: an exact 0 at mu = 0 does.
    near = [np.abs(mu_hat - mu) <= norm.isf((1 - level) / 2) * error for level in LEVELS]
    inside = [q_true <= chi2.ppf(level, 1) for level in LEVELS]
    profile = [float(np.mean(x)) for x in inside]
    mu_sd, mu_sd_error = _spread(mu_hat)
    z_sd, z_sd_error = _spread(z)
    return StrengthResult(
        mu=float(mu),
        z_asimov=injection.asimov_z(mu),
        n=len(failed),
        n_failed=n_failed,
        at_zero=float(np.mean(at_zero[ok])),
        mu_mean=float(mu_hat.mean()),
        mu_mean_error=mu_sd / n**0.5,
        mu_sd=mu_sd,
        mu_sd_error=mu_sd_error,
        bias=float(mu_hat.mean() - mu),
        mu_error_mean=float(error.mean()),
        z_mean=float(z.mean()),
        z_mean_error=z_sd / n**0.5,
        z_sd=z_sd,
        z_sd_error=z_sd_error,
        covered_error=tuple(float(np.mean(x)) for x in near),
        covered_profile=tuple(profile),
        coverage_error=tuple(float(np.sqrt(p * (1 - p) / n)) for p in profile),
    )


def _spread(values: Array) -> tuple[float, float]:
    """Return a standard deviation and its standard error."""
    sd = float(np.std(values, ddof=1))
    if sd == 0:
        return 0.0, 0.0
    excess = float(np.mean(((values - values.mean()) / sd) ** 4)) - 1
    return sd, sd * float(np.sqrt(max(excess, 0.0) / (4 * len(values))))
