"""What a measurement without a null states of its POI: errors, intervals, split, tested value."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from ddphf.exceptions import FitError
from ddphf.inference.attempts import moved_to
from ddphf.inference.fitter import Fitter
from ddphf.inference.ranking.decomposition import statistical_variance
from ddphf.inference.ranking.priors import read_priors
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import held_by_data, propagate
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.results.measured import Declared, MeasurementStatement, ValueTest
from ddphf.statistics.signed import BELOW_FREE

__all__ = ["state_measurement"]

LEVELS = (0.6827, 0.9545)


def state_measurement(
    fitter: Fitter, free: Minimum, declared: Declared
) -> tuple[MeasurementStatement, tuple[str, ...]]:
    """State the POI of a measurement without a null.

    Args:
        fitter: Of the measurement; its POI is free.
        free: Its fit.
        declared: What is to be tested and derived, checked by :mod:`~ddphf.inference.fit`.

    Returns:
        The statement, and warnings: profile errors and the split need the compiled likelihood.

    Raises:
        FitError: The fit at the tested value has no certificate.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> reference = one_bin(10.0, 100.0, 0.01, observed=110.0)
        >>> reference.parameters.lower[0] = 0.1
        >>> fitter = Fitter(reference)
        >>> free = fitter.fit_free(lambda line: None).free
        >>> found, _ = state_measurement(fitter, free, Declared(tested=1.0))
        >>> round(found.value, 6), round(found.statistical, 3), round(found.tested.t, 6)
        (1.0, 1.049, 0.0)
    """
    table, model = fitter.reference.parameters, fitter.compiled
    poi = table.poi
    assert poi is not None
    name = table.names[poi]
    value, error = float(free.parameters[poi]), free.error(poi)
    warnings: list[str] = []
    up = down = None
    split: dict[str, Any] = {"statistical": None, "systematic": None, "frozen": None}
    intervals: list[dict[str, float | None]] = []
    if model is None:
        warnings.append(
            f"profile errors, intervals and the split of the error of '{name}' are missing: they "
            "need the compiled likelihood"
        )
    else:
        try:
            down, up = profile_errors(model, free, poi)
        except FitError as failure:
            warnings.append(f"profile errors of '{name}' are missing: {failure}")
        for level in LEVELS:
            try:
                intervals.append(_interval(model, free, poi, level))
            except FitError as failure:
                warnings.append(
                    f"the interval of '{name}' at {100 * level:g} % is missing: {failure}"
                )
        if error:
            statistical, frozen = _split(model, free, poi, error)
            systematic = float(np.sqrt(max(error**2 - statistical**2, 0.0)))
            split = {"statistical": statistical, "systematic": systematic, "frozen": frozen}
    tested = None
    if declared.tested is not None:
        tested = _test(fitter, free, poi, declared.tested)
    derived = [rule.apply(value, error or None, split["statistical"]) for rule in declared.derived]
    warnings += [
        f"'{rule.name}' is not defined at {name} = {value:g}"
        for rule, found in zip(declared.derived, derived, strict=True)
        if found is None
    ]
    return MeasurementStatement(
        poi=name,
        value=value,
        error=error,
        error_up=up,
        error_down=down,
        **split,
        intervals=tuple(intervals),
        tested=tested,
        derived=tuple(found for found in derived if found is not None),
        no_null=fitter.no_null or "",
    ), tuple(warnings)


def _interval(
    model: CompiledModel, free: Minimum, poi: int, level: float
) -> dict[str, float | None]:
    value = float(free.parameters[poi])
    low, high = profile_errors(model, free, poi, rise=float(chi2.ppf(level, 1)))
    return {
        "level": level,
        "low": None if low is None else value + low,
        "high": None if high is None else value + high,
    }


def _split(
    model: CompiledModel, free: Minimum, poi: int, error: float
) -> tuple[float, dict[str, float]]:
    """Return the part of the error by counts, and both parts by holding what is constrained."""
    held = held_by_data(free, model.parameters.fixed)
    spread = propagate(model, free.parameters, poi, fixed=held)
    statistical = float(np.sqrt(statistical_variance(model, spread)))
    constrained = held | read_priors(model).constrained
    alone = propagate(model, free.parameters, poi, fixed=constrained)
    rest = float(np.sqrt(max(alone.covariance[poi], 0.0)))
    frozen = {"statistical": rest, "systematic": float(np.sqrt(max(error**2 - rest**2, 0.0)))}
    return min(statistical, error), frozen


def _test(fitter: Fitter, free: Minimum, poi: int, value: float) -> ValueTest:
    """Test a value of the POI by t_mu and t~_mu."""
    best = float(free.parameters[poi])
    t = max(_risen(fitter, free, poi, value), 0.0)
    p = None if free.at_bound[poi] else float(2 * norm.sf(np.sqrt(t)))
    if value < 0:
        return ValueTest(value, t, p, None, None)
    tilde = t
    if best < 0:  # the best fit that is not below 0 is the one at 0
        tilde = max(t - max(_risen(fitter, free, poi, 0.0), 0.0), 0.0)
    return ValueTest(value, t, p, tilde, _p_tilde(tilde, value, free.error(poi)))


def _risen(fitter: Fitter, free: Minimum, poi: int, value: float) -> float:
    held = fitter.reference.parameters.fixed.copy()
    held[poi] = True
    name = fitter.reference.parameters.names[poi]
    start = moved_to(free.parameters, poi, value)
    found = fitter.minimize(start, held, f"fit at {name} = {value:g}").minimum
    rise = float(found.twice_nll - free.twice_nll)
    if rise < -BELOW_FREE:
        raise FitError(
            f"2NLL is {-rise:.3g} lower at {name} = {value:g} than at the fit with it free, which "
            "has ended in another minimum; start it there (inits)"
        )
    return rise


def _p_tilde(t: float, value: float, error: float | None) -> float | None:
    """Return the asymptotic p of t~_mu (Cowan et al., Eq. 44), sigma being the error of the fit."""
    root = float(np.sqrt(t))
    if not error:  # at the bound the Hessian says nothing of the width
        return None
    if value == 0:
        return float(norm.sf(root))
    if t <= (value / error) ** 2:
        return float(2 * norm.sf(root))
    return float(norm.sf(root) + norm.sf((t + (value / error) ** 2) / (2 * value / error)))
