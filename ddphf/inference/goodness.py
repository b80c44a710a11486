r"""Goodness of fit: 2NLL above that of the saturated model, asymptotically and by toys.

.. math::  D = 2 \sum_i (\lambda_i - n_i + n_i \ln(n_i / \lambda_i)) + D_{\rm constraints}

(Baker and Cousins, Nucl. Instrum. Meth. 221 (1984) 437); constraint terms count from their maximum.
In the limit of large counts D is chi-squared with as many degrees of freedom as there are bins
less unconstrained free parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import chi2

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.compute.work import HERE, Work
from ddphf.inference.fitter import Fitter
from ddphf.inference.refits import refit_all
from ddphf.inference.toys.blocks import draw_block, map_toys
from ddphf.inference.toys.source import ToySource, rates_to_draw
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.errors.edges import held_by_data, propagate
from ddphf.likelihood.expansion import Constraints
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.goodness import ChannelPulls, GoodnessResult
from ddphf.statistics.tails import refuse_failures, tail_interval

__all__ = ["expected_deviance", "measure_goodness", "saturated_twice_nll", "warn_of_goodness"]

EXACT_BELOW = 100.0
"""Above this the series of the expected deviance is exact to 1e-6."""

VISIBLE = 0.1
"""A mean of D this many standard deviations off its degrees of freedom moves the p-value."""

ROUNDING = 1e-6
"""Values of D this near are equal: a certified minimum is not known better."""

LEVEL = 0.6827


def measure_goodness(
    fitter: Fitter, free: Minimum, *, toys: int = 0, seed: int = 0, work: Work = HERE
) -> GoodnessResult:
    """Measure how well a fitted model describes the data.

    Args:
        fitter: Of the measurement.
        free: Its fit with everything free.
        toys: How many toys to draw at the fit and to fit again; none by default.
        seed: Of the toys.
        work: How toys are drawn and fitted.

    Raises:
        ModelError: Toys are asked for and the model is not compiled, or expects more events than
            can be drawn.
        FitError: Too many toys failed.

    Example:
        >>> import pyhf
        >>> spec = pyhf.simplemodels.correlated_background([0, 5], [50, 60], [52, 61], [48, 59])
        >>> workspace = pyhf.Workspace.build(spec, [60.0, 55.0] + spec.config.auxdata)
        >>> fitter = Fitter(ReferenceModel(dict(workspace)))
        >>> found = measure_goodness(fitter, fitter.fit_free(lambda line: None).free)
        >>> found.degrees_of_freedom, round(found.statistic, 4), round(found.p_value, 4)
        (1, 2.217, 0.1365)
    """
    reference = fitter.reference
    counts = reference.data[: reference.n_main]
    model = fitter.compiled
    # pyhf's own jax function would be compiled for this one call.
    rates = (reference if model is None else model).rates(free.parameters)
    rates = np.maximum(rates, 0.0)  # rounding may leave -1e-17 in an empty bin
    part = _constraint_deviance(reference, free.parameters)
    # A sum of terms >= 0; of a fit that follows the data rounding leaves -1e-15.
    statistic = max(float(np.sum(_deviances(counts, rates))) + part, 0.0)
    degrees = len(counts) - _count_unconstrained(reference)
    expected = _expected_statistic(reference, rates)
    toy_record = None
    if toys:
        toy_record = _run_toys(fitter.require_compiled("toys"), free, statistic, toys, seed, work)
    return GoodnessResult(
        statistic=statistic,
        degrees_of_freedom=degrees,
        p_value=float(chi2.sf(statistic, degrees)) if degrees > 0 else None,
        expected_statistic=expected,
        asymptotic=bool(degrees > 0 and abs(expected - degrees) <= VISIBLE * np.sqrt(2 * degrees)),
        constraint_part=part,
        channels=_channels(reference, model, free, rates),
        toys=toy_record,
    )


def warn_of_goodness(result: GoodnessResult) -> list[str]:
    """Return the sentence for the user where the asymptotic p-value is not to be trusted."""
    if result.asymptotic or result.degrees_of_freedom <= 0 or result.toys is not None:
        return []
    return [
        f"goodness of fit: at these counts D is {result.expected_statistic:.1f} on average, not "
        f"its {result.degrees_of_freedom} degrees of freedom, so the asymptotic p-value is off; "
        "--goodness-toys N decides"
    ]


def _deviances(counts: Array, rates: Array) -> Array:
    """Return 2 (rate - n + n ln(n / rate)) per bin; bins at rate 0 have no counts."""
    ratio = np.where((counts > 0) & (rates > 0), counts / np.where(rates > 0, rates, 1.0), 1.0)
    return np.asarray(2.0 * (rates - counts + counts * np.log(ratio)))


def _constraint_deviance(reference: ReferenceModel, parameters: Array) -> float:
    """Return what the constraint terms of free parameters add to D."""
    constraints = reference.constraints
    auxiliary, fixed = reference.data[reference.n_main :], reference.parameters.fixed
    where = constraints.normal_parameter
    pulls = (auxiliary[constraints.normal_data] - parameters[where]) / constraints.normal_sigma
    total = float(np.sum(pulls[~fixed[where]] ** 2))
    where = constraints.poisson_parameter
    mean = parameters[where] * constraints.poisson_tau
    own = _deviances(auxiliary[constraints.poisson_data], mean)
    return total + float(np.sum(own[~fixed[where]]))


def saturated_twice_nll(
    constraints: Constraints, fixed: Mask, parameters: Array, n_main: int, data: Array
) -> Array:
    """Return 2NLL of the saturated model: rates equal to the counts, constraints at their maximum.

    A parameter that the measurement holds keeps its value in both models, so that its constraint
    term drops out of D.

    Args:
        constraints: Constraint terms.
        fixed: Held parameters, shape (n,).
        parameters: Shape (n,); only those that are held matter.
        n_main: Number of bins.
        data: Main and auxiliary data, shape (..., n_main + n_aux).
    """
    counts, auxiliary = data[..., :n_main], data[..., n_main:]

    def poisson(n: Array, rate: Array) -> Array:
        return np.asarray(np.sum(xlogy(n, rate) - rate - gammaln(n + 1.0), axis=-1))

    where, sigma = constraints.normal_parameter, constraints.normal_sigma
    centre = auxiliary[..., constraints.normal_data]
    pulls = np.where(fixed[where], (centre - parameters[where]) / sigma, 0.0)
    normal = -np.sum(0.5 * pulls**2 + np.log(sigma * np.sqrt(2 * np.pi)), axis=-1)
    where = constraints.poisson_parameter
    seen = auxiliary[..., constraints.poisson_data]
    mean = np.where(fixed[where], parameters[where] * constraints.poisson_tau, seen)
    return np.asarray(-2.0 * (poisson(counts, counts) + normal + poisson(seen, mean)))


def _count_unconstrained(reference: ReferenceModel) -> int:
    """Return the number of free parameters without a constraint term, as cabinetry counts."""
    config = reference.model.config
    free = [
        reference.parameters.fixed[config.par_slice(name)]
        for name in config.par_order
        if not config.param_set(name).constrained
    ]
    return int(sum(np.sum(~fixed) for fixed in free))


def expected_deviance(rates: Array) -> Array:
    """Return E[2 (rate - n + n ln(n / rate))] for n ~ Poisson(rate): 1 for large rates.

    Example:
        >>> [round(float(x), 4) for x in expected_deviance(np.array([0.1, 5.0, 25.0, 1e4]))]
        [0.4741, 1.0467, 1.007, 1.0]
    """
    rates = np.asarray(rates, dtype=float)
    large = np.maximum(rates, EXACT_BELOW)
    # Expansion of E[n ln n] in central moments of the Poisson distribution.
    out = 1.0 + 1.0 / (6.0 * large) + 1.0 / (6.0 * large**2)
    small = np.flatnonzero(rates < EXACT_BELOW)
    if small.size:
        rate = rates[small]
        n = np.arange(int(EXACT_BELOW + 15 * np.sqrt(EXACT_BELOW)) + 30)
        log_weight = xlogy(n, rate[:, None]) - rate[:, None] - gammaln(n + 1.0)
        mean = np.exp(log_weight) @ xlogy(n, n)
        out[small] = 2.0 * (mean - xlogy(rate, rate))
    return np.asarray(out)


def _expected_statistic(reference: ReferenceModel, rates: Array) -> float:
    """Return about E[D] at the fitted rates.

    Every bin adds the mean deviance of its count, and every free factor of a shapefactor takes
    that of the sum of its bins, which it fits exactly: for a pair of equal rates T,
    2 d(T) - d(2T). Other unconstrained parameters take 1, constrained ones nothing.
    """
    config, table = reference.model.config, reference.parameters
    per_factor: dict[int, float] = {}
    for channel in reference.workspace["channels"]:
        shapes = {
            modifier["name"]
            for sample in channel["samples"]
            for modifier in sample["modifiers"]
            if modifier["type"] == "shapefactor"
        }
        own = rates[reference.channel_slices[channel["name"]]]
        for name in shapes:
            first = config.par_slice(name).start
            for i, rate in enumerate(own):
                if not table.fixed[first + i]:
                    per_factor[first + i] = per_factor.get(first + i, 0.0) + float(rate)
    fitted = float(np.sum(expected_deviance(np.array(list(per_factor.values())))))
    others = _count_unconstrained(reference) - len(per_factor)
    # Of rates near 0 hardly any count comes, and parameters have nothing to take.
    return max(float(np.sum(expected_deviance(rates))) - fitted - others, 0.0)


def _channels(
    reference: ReferenceModel, model: CompiledModel | None, free: Minimum, rates: Array
) -> tuple[ChannelPulls, ...]:
    """Return data, expectation and pulls of every bin; nothing where no model can be compiled.

    A pull is (n - rate) over the standard deviation of that difference, sqrt(rate - var(rate)):
    the fitted rate follows its own count. It is 0 where the model follows the count entirely.
    """
    if model is None:  # the engine pyhf was asked for, or it is one that cannot be compiled
        try:
            model = CompiledModel.from_reference(reference)
        except CannotCompileError:
            return ()
    counts = reference.data[: reference.n_main]
    held = held_by_data(free, reference.parameters.fixed)
    left = rates - propagate(model, free.parameters, 0, fixed=held).rate_variance
    tested = np.isfinite(left) & (left > 1e-6 * rates)
    pulls = np.where(tested, (counts - rates) / np.sqrt(np.where(tested, left, 1.0)), 0.0)
    return tuple(
        ChannelPulls(
            name=name,
            observed=tuple(map(float, counts[where])),
            expected=tuple(map(float, rates[where])),
            pulls=tuple(map(float, pulls[where])),
        )
        for name, where in reference.channel_slices.items()
    )


class DevianceToys:
    """The work of the goodness by toys: D of toys of a fit, NaN where one has no certificate.

    Args:
        source: The fit.
        fixed: Parameters that are held in theirs.
        seed: Their seed.
    """

    def __init__(self, source: ToySource, fixed: Mask, seed: int) -> None:
        self.source, self.fixed, self.seed = source, fixed, seed

    def __call__(self, numbers: AnyArray) -> Array:
        """Draw and fit wanted toys of one block."""
        model, best = self.source.model, self.source.parameters
        block = draw_block(self.source, self.seed, numbers)
        data = block.data[: block.n]
        start = np.broadcast_to(best, (len(data), len(best)))
        refits = refit_all(model, start=start, fixed=self.fixed, data=data, many=True)
        least = saturated_twice_nll(
            model.expansion.constraints, model.parameters.fixed, best, model.n_main, data
        )
        return (refits.twice_nll - least)[block.rows]


def _run_toys(
    model: CompiledModel,
    free: Minimum,
    statistic: float,
    n: int,
    seed: int,
    work: Work,
) -> dict[str, Any]:
    """Draw toys at the fit, fit each freely and compare its D."""
    rates = rates_to_draw(model, free.parameters)
    source = ToySource(model, free.parameters, float("nan"), rates, "")
    # A parameter without effect is held, but a background at 0 is free: toys may move it.
    dead = (free.errors == 0) & ~free.at_bound & ~model.expansion.per_bin
    fixed = model.parameters.fixed | dead
    found = np.concatenate(
        list(
            map_toys(
                "ddphf.inference.goodness:DevianceToys",
                {"source": source, "fixed": fixed, "seed": seed},
                np.arange(n), work=work,
            )
        )
    )  # fmt: skip
    failed = int(np.sum(np.isnan(found)))
    refuse_failures(failed, n, "goodness of fit")
    found = found[np.isfinite(found)]
    reached = int(np.sum(found >= statistic - ROUNDING))
    return {
        "n": n,
        "n_failed": failed,
        "n_ge": reached,
        "p_value": reached / (n - failed) if reached else None,
        "p_interval": list(tail_interval(n, failed, reached, LEVEL)),
        "p_interval_level": LEVEL,
        "mean": float(np.mean(found)),
        "seed": seed,
    }
