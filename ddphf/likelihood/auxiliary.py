"""Auxiliary data that do not fit their constraint terms: given in another unit, as a rule.

pyhf takes them as they are. A shapesys wants the count of its auxiliary measurement,
(yield / error)^2, a staterror and a lumi want a factor; where a fit is given the one for the other
it follows it, many sigmas away, and the numbers that come out are those of another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy

from ddphf.arrays import Array
from ddphf.likelihood.expansion import Constraints

if TYPE_CHECKING:
    from ddphf.likelihood.reference import ParameterTable

__all__ = ["FAR", "auxiliary_pulls", "warn_of_auxiliary_data"]

FAR = 5.0
"""Sigmas of a constraint term beyond which its datum is hardly what was measured."""

UNITY = ("shapesys", "staterror")
"""Modifiers whose parameter is a factor, 1 at its nominal."""

WIDE = 0.5
"""A relative error of the luminosity above this is one in per cent, or an absolute one."""

SHOWN = 3


def auxiliary_pulls(constraints: Constraints, auxiliary: Array, parameters: Array) -> Array:
    """Return how many sigmas each auxiliary datum is off its expectation, by parameter.

    Args:
        constraints: The constraint terms.
        auxiliary: Auxiliary data.
        parameters: Where they are expected, shape (n,).

    Returns:
        Shape (n,): (datum - expectation) / sigma, NaN without a constraint term. For a Poisson
        term sigma is the square root of the expectation, and the pull is 0 where the likelihood
        itself does not call it that far: 1 event for .01 is 2.7 sigma, not 10.
    """
    out = np.full(len(parameters), np.nan)
    where = constraints.normal_parameter
    centre = auxiliary[constraints.normal_data]
    out[where] = (centre - parameters[where]) / constraints.normal_sigma
    where = constraints.poisson_parameter
    counts = auxiliary[constraints.poisson_data]
    mean = np.maximum(parameters[where] * constraints.poisson_tau, 1e-300)
    deviance = 2 * (mean - counts + xlogy(counts, np.maximum(counts, 1e-300) / mean))
    far = np.sqrt(np.maximum(deviance, 0.0)) > FAR
    pull = (counts - mean) / np.sqrt(mean)
    out[where] = np.where((np.abs(pull) <= FAR) | far, pull, 0.0)
    return out


def warn_of_auxiliary_data(
    model: Any, constraints: Constraints, auxiliary: Array, table: ParameterTable
) -> list[str]:
    """Return a sentence per modifier whose auxiliary data, sigmas or starting values are far off.

    Args:
        model: ``pyhf.Model``.
        constraints: Its constraint terms.
        auxiliary: Its auxiliary data.
        table: Its parameters.
    """
    kinds = dict(model.config.modifiers)
    nominal = table.init.copy()
    for name, kind in kinds.items():
        if kind in UNITY:
            nominal[model.config.par_slice(name)] = 1.0
        elif kind in ("normsys", "histosys"):
            nominal[model.config.par_slice(name)] = 0.0
    lines = list(_warn_of_widths(model, kinds))
    seen: set[str] = set()
    for point, is_nominal in ((nominal, True), (table.init, False)):
        pulls = np.where(table.fixed, np.nan, auxiliary_pulls(constraints, auxiliary, point))
        for name in model.config.par_order:
            own = pulls[model.config.par_slice(name)]
            if name in seen or not np.any(np.abs(own) > FAR):
                continue
            seen.add(name)
            worst = model.config.par_slice(name).start + int(np.nanargmax(np.abs(own)))
            n_far = int(np.sum(np.abs(own) > FAR))
            lines.append(
                _describe(constraints, kinds[name], table, auxiliary, worst, point, is_nominal)
                + f", {pulls[worst]:+.1f} sigma"
                + (f" ({n_far} of {len(own)} are as far)" if n_far > 1 else "")
                + (
                    "; is it in another unit?"
                    if is_nominal
                    else "; is one of them in another unit?"
                )
            )
    return lines


def _describe(
    constraints: Constraints, kind: str, table: ParameterTable, auxiliary: Array, index: int,
    point: Array, is_nominal: bool,
) -> str:  # fmt: skip
    """Name the datum, what it is, and what was expected."""
    place = np.flatnonzero(constraints.poisson_parameter == index)
    if place.size:
        datum = auxiliary[constraints.poisson_data[place[0]]]
        expected = point[index] * constraints.poisson_tau[place[0]]
        unit = " auxiliary events"
    else:
        place = np.flatnonzero(constraints.normal_parameter == index)
        datum, expected, unit = auxiliary[constraints.normal_data[place[0]]], point[index], ""
    where = f"parameter '{table.names[index]}' ({kind}): the auxiliary datum is {datum:.4g}{unit}"
    if is_nominal:
        return f"{where}, expected is {expected:.4g}"
    return f"{where}, but the starting value {point[index]:.4g} expects {expected:.4g}"


def _warn_of_widths(model: Any, kinds: dict[str, str]) -> Iterator[str]:
    for name, kind in kinds.items():
        if kind not in ("lumi", "staterror"):
            continue
        paramset = model.config.param_set(name)
        size = np.abs(np.asarray(paramset.auxdata, dtype=float))
        relative = np.asarray(paramset.width(), dtype=float) / np.maximum(size, 1e-300)
        limit = WIDE if kind == "lumi" else 1.0
        given = kind == "lumi" or _is_given(model, name)
        if given and np.any(relative > limit):
            yield (
                f"parameter '{name}' ({kind}): its sigma is {relative.max():.3g} of its value; is "
                "it in another unit?"
            )


def _is_given(model: Any, name: str) -> bool:
    """Whether the measurement states the sigmas: those that pyhf derives may be wide."""
    return any(p["name"] == name and "sigmas" in p for p in model.spec.get("parameters", []))
