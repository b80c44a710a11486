"""Fits of a compiled model: from the fastest way to the most careful one, each certified.

Single fits are joint Newton steps in numpy: nothing is compiled. A pair (docs/workspace.md)
with empty bins has its cells eliminated in closed form, where rates of 0 and corners are cases of
their own. All end in the same certificate, taken from the exact joint gradient and Hessian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ddphf.arrays import Array, Mask, for_programs
from ddphf.exceptions import ModelError
from ddphf.likelihood.certificate import CONVERGED, EDM_TOLERANCE, Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.approach import approach
from ddphf.likelihood.errors.edges import edge_errors, edge_terms
from ddphf.likelihood.general.newton import GeneralResult
from ddphf.likelihood.general.zero_rates import minimize_at_zero
from ddphf.likelihood.paired.likelihood import PairFit, PairLikelihood

__all__ = ["has_corners", "minimize", "minimize_starts"]


def minimize(
    model: CompiledModel,
    *,
    data: Array | None = None,
    start: Array | None = None,
    fixed: Mask | None = None,
    values: Array | None = None,
) -> Minimum:
    """Fit one data set.

    Args:
        model: The model.
        data: Main and auxiliary data, shape (n_main + n_aux,); the observed by default.
        start: Starting point, shape (n,); the measurement's by default.
        fixed: True for parameters to hold, shape (n,); the measurement's by default.
        values: Values of the held parameters, shape (n,) (others ignored); ``start`` by default.

    Returns:
        The point with its certificate; ``status`` says what is wrong where it does not hold.

    Raises:
        ModelError: An array has another shape.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> fit = minimize(CompiledModel.from_reference(one_bin()))
        >>> fit.converged, round(float(fit.parameters[0]), 6)
        (True, 2.0)
    """
    table = model.parameters
    data = model.data if data is None else np.asarray(data, dtype=float)
    held = table.fixed if fixed is None else np.asarray(fixed, dtype=bool)
    x = np.array(table.init if start is None else start, dtype=float)
    if values is not None:
        x = np.where(held, values, x)
    _check_shapes(model, data, x, held)
    if not has_corners(model, data):
        minimum = _newton(model, x, data, held)
        if minimum.converged and not _is_odd(model, minimum):
            return minimum
    if model.pair is not None:
        minimum = _fit_pair(model, model.pair, data, x, held)
        if minimum.converged:
            return minimum
        x = minimum.parameters if np.all(np.isfinite(minimum.parameters)) else x
        minimum = _newton(model, x, data, held)
        if minimum.converged:
            return minimum
    # An empty bin's rate may be best at 0, where no bound of a parameter stops the fit; and
    # the shorter steps of that method follow narrow, curved valleys.
    problem = Problem.of(model.on_device, for_programs(data), held, table.lower, table.upper)
    result = minimize_at_zero(model.codes, problem, x)
    other = _keep_to_edge(model, _judge(model, result, data, held), data, held)
    if not np.any(data[: model.n_main] <= 0) and np.all(np.isfinite(other.parameters)):
        other = _newton(model, other.parameters, data, held)
    if other.converged:
        return other
    status = f"{minimum.status}; with rates and bounds kept at a distance: {other.status}"
    return replace(minimum, status=status)


def minimize_starts(
    model: CompiledModel,
    starts: Array,
    *,
    fixed: Mask | None = None,
    data: Array | None = None,
    near: Array | None = None,
) -> Iterator[Minimum]:
    """Fit from many starts, also with other data or held parameters, without errors.

    Args:
        model: The model.
        starts: Shape (m, n), with the values of held parameters.
        fixed: Held parameters, shape (n,) or (m, n); the measurement's by default.
        data: Shape (n_main + n_aux,) or (m, n_main + n_aux); the observed by default.
        near: A minimum for the observed data near which many of these may be, shape (n,): they
            cost less then.

    Yields:
        Where each start leads, in their order. Only :func:`minimize` from there gives errors.
    """
    held = np.broadcast_to(model.parameters.fixed if fixed is None else fixed, starts.shape)
    sets = np.broadcast_to(model.data if data is None else data, (len(starts), len(model.data)))
    for first in range(0, len(starts), newton.TOGETHER):
        some = slice(first, first + newton.TOGETHER)
        yield from _minimize_some(model, starts[some], held[some], sets[some], near)


def _minimize_some(
    model: CompiledModel, starts: Array, held: Mask, data: Array, near: Array | None
) -> Iterator[Minimum]:
    items = list(zip(starts, held, data, strict=True))
    if has_corners(model, data):
        yield from (minimize(model, start=x, fixed=h, data=d) for x, h, d in items)
        return
    problems = [model.problem(d, h) for _, h, d in items]
    better = starts if near is None else approach(problems, starts, near, model.data)
    found = newton.minimize_many(problems, better, errors=False)
    for (x, h, d), result in zip(items, found, strict=True):
        minimum = _judge(model, result, d, h)
        # Without errors nothing is known of edges.
        good = minimum.converged and not _is_odd(model, replace(minimum, at_edge=minimum.at_bound))
        yield minimum if good else minimize(model, start=x, fixed=h, data=d)


def has_corners(model: CompiledModel, data: Array) -> bool:
    """Return whether a pair may be best where a rate is 0, or on a corner of its profile."""
    return model.pair is not None and bool(np.any(data[..., : model.n_main] <= 0))


def _is_odd(model: CompiledModel, minimum: Minimum) -> bool:
    """Return whether a pair's cells had better be eliminated: joint steps end at a bound.

    Steps in one cell's rate and in what multiplies it may end where one of both is 0, though
    there is a lower minimum inside.
    """
    return model.pair is not None and bool(np.any(minimum.at_bound | minimum.at_edge))


def _check_shapes(model: CompiledModel, data: Array, x: Array, held: Mask) -> None:
    n = len(model.parameters.names)
    for name, value, expected in (
        ("data", data, model.data.shape),
        ("start", x, (n,)),
        ("fixed", held, (n,)),
    ):
        if value.shape != expected:
            raise ModelError(f"{name}: shape {value.shape}, expected {expected}")


def _newton(model: CompiledModel, x: Array, data: Array, held: Mask) -> Minimum:
    return _judge(model, newton.minimize(model.problem(data, held), x), data, held)


def _judge(
    model: CompiledModel,
    result: newton.DirectResult | GeneralResult,
    data: Array,
    held: Mask,
    *,
    edm: float | None = None,
    projected: float | None = None,
) -> Minimum:
    """Make a minimum of a result, or say why it is none."""
    table, x = model.parameters, np.array(result.parameters)
    edm = float(result.edm) if edm is None else edm
    status = CONVERGED
    if not bool(result.physical):
        status = (
            f"the expected rate of main bin {int(np.argmin(result.rates))} is not positive "
            "at the solution"
        )
    elif not edm < EDM_TOLERANCE:
        status = f"EDM {edm:.1e} is above {EDM_TOLERANCE:.0e}"
    errors = np.array(result.errors)
    defined = np.isfinite(errors)
    # Rates of a compiled program differ from those of numpy by their rounding.
    rates = result.rates[None] if isinstance(result, newton.DirectResult) else None
    return Minimum(
        parameters=x,
        twice_nll=float(model.direct.twice_nll(x[None], data, rates)[0]),
        errors=np.where(defined, errors, 0.0),
        at_bound=((x <= table.lower) | (x >= table.upper) | ~np.asarray(result.free)) & ~held,
        at_edge=~defined & ~held,
        stiffness=np.array(result.stiffness),
        projected_gradient=float(result.projected) if projected is None else projected,
        edm=edm,
        status=status,
    )


def _keep_to_edge(model: CompiledModel, minimum: Minimum, data: Array, held: Mask) -> Minimum:
    """Replace errors that are those of the interior point method's barrier."""
    if not minimum.converged:
        return minimum
    free = ~held & ~minimum.at_bound
    place = (model.direct, minimum.parameters, free)
    terms = edge_terms(*place, data)
    if not terms.found:
        return minimum
    errors, stopped = edge_errors(*place, terms)
    return replace(minimum, errors=errors, at_edge=stopped)


def _fit_pair(
    model: CompiledModel, pair: PairLikelihood, data: Array, x: Array, held: Mask
) -> Minimum:
    """Fit a pair, and certify the point as a minimum of the joint likelihood."""
    fit = pair.fit(data, x, held)
    x, dark = pair.parameters(fit.result, x, held)
    if not (dark.any() or fit.at_kink):
        return _judge(model, newton.certify(model.problem(data, held), x), data, held)
    return _certify_at_zero(model, pair, fit, data, x, held, dark)


def _certify_at_zero(
    model: CompiledModel,
    pair: PairLikelihood,
    fit: PairFit,
    data: Array,
    x: Array,
    held: Mask,
    dark: Mask,
) -> Minimum:
    """Certify a pair's fit on a corner, or with rates held at 0 in the ``dark`` cells.

    A rate held at 0 is a bound that no box describes: the profile's certificate, which has its
    multiplier, counts; the joint Hessian still gives the errors of the free cells.
    """
    table = model.parameters
    stopped = np.zeros(len(held), dtype=bool)
    if fit.at_kink and table.poi is not None and not held[table.poi]:
        # On a corner the Hessian is that of one side: the POI has no error from it, and the
        # others have those with the POI held.
        stopped[table.poi] = True
    kink = stopped & (table.lower < x) & (x < table.upper)
    frozen = held | stopped
    frozen[pair.places.b[dark]] = True
    result = newton.certify(model.problem(data, frozen), x)
    errors = np.array(result.errors)
    errors[pair.places.global_] = pair.errors(fit.result, held | stopped)
    minimum = _judge(
        model,
        result._replace(errors=errors),
        data,
        held,
        edm=float(fit.result.edm),
        projected=0.0 if fit.at_kink and fit.careful else float(fit.result.projected),
    )
    return replace(minimum, at_bound=minimum.at_bound & ~kink, at_edge=minimum.at_edge | kink)
