r"""Small p-values by importance sampling: toys drawn with signal, weighted back to the null.

A toy x drawn from the mixture :math:`\alpha f_0 + (1 - \alpha) g` has weight
:math:`w = f_0 / (\alpha f_0 + (1 - \alpha) g)`; the average of :math:`w\,[q_0 \ge q_{obs}]` is p0.
:math:`f_0` are the probabilities of main and auxiliary data at the conditional null parameters,
:math:`g` those at :math:`\hat\mu` with its own conditional parameters, so that the observed q0 lies
in the middle of the toys. The path from one point to the other is the least favourable direction,
along which a likelihood ratio is optimal in the Gaussian limit. The null's share :math:`\alpha`
bounds the weights by :math:`1 / \alpha` and lets their average, which must be 1, be checked
(defensive mixture: Hesterberg, Technometrics 37 (1995) 185; Owen and Zhou, JASA 95 (2000) 135).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import IMPORTANCE
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.inference.toys.blocks import draw_block, map_toys
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import DRAW_BLOCK, ToySource
from ddphf.results.nulls import ImportanceResult
from ddphf.statistics.tails import FAILED, TIE, refuse_failures

__all__ = ["sample_importance"]

NULL_SHARE = 0.1
"""Fraction of toys drawn from the null itself."""

RATE_FLOOR = 0.1
"""A proposal's rate is at least this fraction of the null's: no null toy is out of its reach."""

MIN_SAMPLE_SIZE = 100.0
"""Smallest accepted effective number of toys beyond the observed q0."""

MANY_TOYS = 10_000_000
"""More are not advised."""

MIN_TOYS = 500

MAX_NORMALIZATION_PULL = 5.0


def sample_importance(
    null: ToySource,
    mu: float,
    q0: float,
    n: int,
    *,
    seed: int,
    work: Work = HERE,
) -> ImportanceResult:
    """Estimate the p-value of an observed excess.

    Args:
        null: Toys of the null.
        mu: POI to draw with: the fitted one.
        q0: Observed signed q0, > 0.
        n: Number of toys.
        seed: Non-negative integer.
        work: How toys are drawn and fitted.

    Raises:
        ModelError: There is no excess, so nothing is rare.
        InputError: Fewer than MIN_TOYS toys.
        FitError: Too many toys failed, the weights do not average to 1, or too few effective toys
            reach the observed q0.

    Example:
        >>> from ddphf.likelihood.compiled import CompiledModel
        >>> from ddphf.likelihood.reference import ReferenceModel
        >>> spec = {"channels": [{"name": "c", "samples": [
        ...     {"name": "s", "data": [30.0], "modifiers": [
        ...         {"name": "mu", "type": "normfactor", "data": None}]},
        ...     {"name": "b", "data": [1000.0], "modifiers": []}]}],
        ...     "observations": [{"name": "c", "data": [1150.0]}], "version": "1.0.0",
        ...     "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
        ...         {"name": "mu", "bounds": [[-10, 10]]}]}}]}
        >>> model = CompiledModel.from_reference(ReferenceModel(spec))
        >>> q0 = model.twice_nll(np.array([0.0])) - model.twice_nll(np.array([5.0]))
        >>> found = sample_importance(ToySource.conditional(model), 5.0, q0, 2000, seed=1)
        >>> 1.4e-6 < found.p0 < 2.2e-6  # Poisson: P(n >= 1150 | 1000) = 1.76e-6
        True
    """
    if not (q0 > 0 and mu > 0):
        raise ModelError(
            f"importance sampling: the observed q0 is {q0:.4g}, no excess, so p0 is not small; "
            "plain toys have it"
        )
    n_null = max(2, round(NULL_SHARE * n / DRAW_BLOCK)) * DRAW_BLOCK
    if n < MIN_TOYS:
        raise InputError(f"importance sampling: {n} toys, expected at least {MIN_TOYS}")
    proposal = _proposal(null, mu)
    share = n_null / n
    done = 0
    columns: list[tuple[AnyArray, AnyArray, AnyArray]] = []
    strata = []
    begin = IMPORTANCE.start(0, n)
    for source, first, size in (
        (null, begin, n_null),
        (proposal, begin + n_null, n - n_null),
    ):
        settings = {
            "source": source, "null": null, "proposal": proposal, "share": share, "seed": seed,
        }  # fmt: skip
        columns += map_toys(
            "ddphf.inference.toys.importance:WeightedToys", settings,
            np.arange(first, first + size), work=work.part(done, n),
        )  # fmt: skip
        done += size
        strata.append(slice(first - begin, first - begin + size))
    values, status, weights = (np.concatenate([c[i] for c in columns]) for i in range(3))
    return _summarize(values, status, weights, strata, q0=q0, mu=mu, seed=seed)


class WeightedToys:
    """The work of importance sampling: signed q0, status and weight of toys.

    Args:
        source: Where they are drawn from: one of the following two.
        null: The null.
        proposal: The other part of the mixture.
        share: The null's part.
        seed: Of the toys.
    """

    def __init__(
        self, source: ToySource, null: ToySource, proposal: ToySource, share: float, seed: int
    ) -> None:
        self.source, self.null, self.proposal = source, null, proposal
        self.share, self.seed = share, seed
        self.fitter = ToyFitter(source)

    def __call__(self, numbers: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Draw, fit and weigh wanted toys of one block."""
        block = draw_block(self.source, self.seed, numbers)
        value, _, status, _ = self.fitter.fit(block.data, block.n)
        ratio = log_ratio(self.proposal, self.null, block.data[: block.n])
        weight = 1.0 / (self.share + (1 - self.share) * np.exp(np.minimum(ratio, 700.0)))
        return value[block.rows], status[block.rows], weight[block.rows]


def log_ratio(one: ToySource, other: ToySource, data: Array) -> Array:
    """Return ln p(data | one) - ln p(data | other), shape (n,), main and auxiliary data.

    Args:
        one: Its rates are positive wherever those of ``other`` are.
        other: Of the same model.
        data: Shape (n, n_main + n_aux).
    """
    n_main, con = one.model.n_main, one.model.expansion.constraints
    total = _poisson_ratio(one.rates, other.rates, data[:, :n_main])
    mean, mean_other, aux = one.auxiliary(), other.auxiliary(), data[:, n_main:]
    k = con.normal_data
    middle = 0.5 * (mean[k] + mean_other[k])
    total += (aux[:, k] - middle) @ ((mean[k] - mean_other[k]) / con.normal_sigma**2)
    k = con.poisson_data
    return total + _poisson_ratio(mean[k], mean_other[k], aux[:, k])


def _poisson_ratio(one: Array, other: Array, counts: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where the other rate is 0 a count rules the other out.
        log = np.where(one == other, 0.0, np.log(one) - np.log(other))
    finite = np.isfinite(log)
    total = counts[:, finite] @ log[finite] - np.sum(one - other)
    return np.asarray(np.where(np.any(counts[:, ~finite] > 0, axis=1), np.inf, total))


def _proposal(null: ToySource, mu: float) -> ToySource:
    source = ToySource.conditional(null.model, mu)
    rates = np.maximum(source.rates, RATE_FLOOR * null.rates)
    # Where the null expects nothing a toy with events has weight 0: none is drawn.
    return replace(source, rates=np.where(null.rates > 0, rates, 0.0))


def _summarize(
    values: AnyArray,
    status: AnyArray,
    weights: AnyArray,
    strata: list[slice],
    *,
    q0: float,
    mu: float,
    seed: int,
) -> ImportanceResult:
    n, failed = len(values), status == FAILED
    refuse_failures(int(failed.sum()), n, "importance sampling")
    counted = ~failed & (np.nan_to_num(values, nan=-np.inf) >= q0 - TIE)
    normalization, normalization_error = _mean(weights, strata)
    if abs(normalization - 1) > MAX_NORMALIZATION_PULL * normalization_error + 1e-9:
        raise FitError(
            f"importance sampling: the weights average to {normalization:.4g} +- "
            f"{normalization_error:.2g}, expected 1; the null and the proposal at mu = {mu:.4g} "
            "overlap too little"
        )
    tail = weights[counted]
    squares = float(np.sum(tail**2))  # 0 too where all weights underflow
    size = float(np.sum(tail)) ** 2 / squares if squares > 0 else 0.0
    if size < MIN_SAMPLE_SIZE:
        raise FitError(
            f"importance sampling: an effective number of {size:.3g} of {n} toys reach the "
            f"observed q0, expected at least {MIN_SAMPLE_SIZE:g}; {_remedy(n, size)}"
        )
    p0, error = _mean(np.where(counted, weights, 0.0), strata)
    high = min(p0 + error + float(np.sum(weights[failed])) / n, 1.0)
    low = max(p0 - error, p0 * 1e-3)
    return ImportanceResult(
        n=n,
        n_null=strata[0].stop - strata[0].start,
        n_failed=int(failed.sum()),
        n_ge=int(counted.sum()),
        mu=float(mu),
        p0=p0,
        p0_error=error,
        z0=float(norm.isf(p0)),
        z0_interval=(float(norm.isf(high)), float(norm.isf(low))),
        effective_sample_size=size,
        normalization=normalization,
        normalization_error=normalization_error,
        seed=seed,
    )


def _remedy(n: int, size: float) -> str:
    """Say whether more toys would do: their effective number rises as their number at best."""
    wanted = MIN_SAMPLE_SIZE * n / size if size > 0 else np.inf
    if wanted > MANY_TOYS:
        return f"even {MANY_TOYS:g} toys would not do, so the asymptotic p0 is all there is"
    return f"ask for more toys, at least {float(f'{wanted:.2g}'):.0f}"


def _mean(values: AnyArray, strata: list[slice]) -> tuple[float, float]:
    """Return the mean and its error; the numbers of toys of the strata are fixed."""
    n = len(values)
    variance = sum((s.stop - s.start) * float(np.var(values[s], ddof=1)) for s in strata)
    return float(np.mean(values)), float(np.sqrt(variance)) / n
