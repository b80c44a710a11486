"""Any compiled model as dense arrays over (bin, sample), and its likelihood.

The arrays are inputs of every compiled function, so that two models of one shape share one
compilation; what fixes the shape of the program is in :class:`Codes`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from ddphf.arrays import Bool, Float, JaxArray, for_programs
from ddphf.likelihood.deviance import deviance
from ddphf.likelihood.expansion import Expansion
from ddphf.likelihood.interpolation import (
    histosys_weights,
    is_symmetric,
    normsys_coefficients,
    normsys_factor,
)

__all__ = [
    "Codes",
    "Flags",
    "ModelArrays",
    "Scalar",
    "Vector",
    "build_arrays",
    "constraint_logpdf",
    "log_poisson",
    "logpdf",
    "penalty",
    "rates",
]

Vector = Float[JaxArray, "n"]
"""A number per parameter."""

Flags = Bool[JaxArray, "n"]

Scalar = Float[JaxArray, ""]


class Codes(NamedTuple):
    """What is fixed at compilation: interpolation codes and the number of symmetric histosys."""

    normsys: str
    histosys: str
    n_symmetric: int


class ModelArrays(NamedTuple):
    """One model.

    Attributes:
        nominal: Shape (bins, samples).
        shift: Shape (rows, bins, samples): symmetric shifts, then up, then down shifts.
        histosys: Shape (symmetric + asymmetric,): parameter of each histosys.
        factor: Shape (bins, samples, factors): place of each factor in
            [parameters, normsys factors, 1].
        normsys: Shape (entries,): parameter of each normsys factor.
        coefficients: Shape (entries, 8), see :func:`normsys_coefficients`.
        normal_parameter: Shape (n_normal,).
        normal_data: Shape (n_normal,): place in the auxiliary data.
        normal_sigma: Shape (n_normal,).
        poisson_parameter: Shape (n_poisson,).
        poisson_data: Shape (n_poisson,).
        poisson_tau: Shape (n_poisson,).
    """

    nominal: JaxArray
    shift: JaxArray
    histosys: JaxArray
    factor: JaxArray
    normsys: JaxArray
    coefficients: JaxArray
    normal_parameter: JaxArray
    normal_data: JaxArray
    normal_sigma: JaxArray
    poisson_parameter: JaxArray
    poisson_data: JaxArray
    poisson_tau: JaxArray


def build_arrays(expansion: Expansion) -> tuple[ModelArrays, Codes]:
    """Lay an expansion out densely.

    Returns:
        The arrays (numpy, moved to the device at first use) and the static codes.
    """
    (n_samples, n_bins), n = expansion.nominal.shape, expansion.n_parameters
    by_parameter: dict[int, list[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]] = {}
    for s, variations in enumerate(expansion.histosys):
        for parameter, up, down in variations:
            by_parameter.setdefault(parameter, []).append((s, up, down))
    symmetric, asymmetric = [], []
    for parameter, entries in by_parameter.items():
        up, down = np.zeros((n_bins, n_samples)), np.zeros((n_bins, n_samples))
        for s, u, d in entries:
            up[:, s] += u
            down[:, s] += d
        if is_symmetric(up, down, expansion.nominal.T):
            symmetric.append((parameter, 0.5 * (up + down)))
        else:
            asymmetric.append((parameter, up, down))
    rows = [x[1] for x in symmetric] + [x[1] for x in asymmetric] + [x[2] for x in asymmetric]

    entries_: dict[tuple[int, float, float], int] = {}
    columns: list[list[np.ndarray[Any, Any]]] = [[] for _ in range(n_samples)]
    for s in range(n_samples):
        for index, _ in expansion.factors[s]:
            columns[s].append(index)
        for norm in expansion.normsys[s]:
            column = np.full(n_bins, -1)
            for channel in np.unique(expansion.channel[norm.mask]):
                where = norm.mask & (expansion.channel == channel)
                first = int(np.flatnonzero(where)[0])
                key = (norm.parameter, float(norm.low[first]), float(norm.high[first]))
                column[where] = n + entries_.setdefault(key, len(entries_))
            columns[s].append(column)
    one = n + len(entries_)
    factor = np.full((n_bins, n_samples, max(1, *map(len, columns))), one)
    for s, cols in enumerate(columns):
        for f, column in enumerate(cols):
            factor[:, s, f] = np.where(column >= 0, column, one)
    keys = list(entries_)
    constraints = expansion.constraints
    arrays = ModelArrays(
        nominal=for_programs(expansion.nominal.T.copy()),
        shift=for_programs(np.stack(rows) if rows else np.zeros((0, n_bins, n_samples))),
        histosys=for_programs(np.array([x[0] for x in (*symmetric, *asymmetric)], dtype=int)),
        factor=for_programs(factor),
        normsys=for_programs(np.array([key[0] for key in keys], dtype=int)),
        coefficients=for_programs(
            normsys_coefficients(
                np.array([key[1] for key in keys]),
                np.array([key[2] for key in keys]),
                expansion.normsys_code,
            )
        ),
        normal_parameter=for_programs(constraints.normal_parameter),
        normal_data=for_programs(constraints.normal_data),
        normal_sigma=for_programs(constraints.normal_sigma),
        poisson_parameter=for_programs(constraints.poisson_parameter),
        poisson_data=for_programs(constraints.poisson_data),
        poisson_tau=for_programs(constraints.poisson_tau),
    )
    return arrays, Codes(expansion.normsys_code, expansion.histosys_code, len(symmetric))


def rates(codes: Codes, arrays: ModelArrays, parameters: Vector) -> Float[JaxArray, "bins"]:
    """Return the expected counts, shape (bins,), from the parameters, shape (n,)."""
    alpha = parameters[arrays.histosys]
    split = codes.n_symmetric
    up, down = histosys_weights(alpha[split:], codes.histosys)
    weights = jnp.concatenate([alpha[:split], up, down])
    base = arrays.nominal + jnp.tensordot(weights, arrays.shift, axes=1)
    factors = normsys_factor(parameters[arrays.normsys], arrays.coefficients, codes.normsys)
    table = jnp.concatenate([parameters, factors, jnp.ones(1)])
    return jnp.sum(base * jnp.prod(table[arrays.factor], axis=-1), axis=-1)


def log_poisson(
    n: Float[JaxArray, "*bins"], rate: Float[JaxArray, "*bins"]
) -> Float[JaxArray, "*bins"]:
    """Return ln Poisson(n | rate) with its gradient finite for n = rate = 0.

    A negative rate gives NaN also for n = 0, where pyhf would reward it (it is no
    probability).
    """
    safe = jnp.where((n > 0) & (rate > 0), rate, 1.0)
    value = jnp.where(n > 0, n * jnp.log(safe), 0.0) - rate - gammaln(n + 1.0)
    impossible = jnp.where(rate < 0, jnp.nan, -jnp.inf)
    return jnp.where((rate > 0) | ((n <= 0) & (rate == 0)), value, impossible)


def _pulls(arrays: ModelArrays, parameters: JaxArray, auxiliary: JaxArray) -> JaxArray:
    """Return (measured - parameter) / width of the normal constraint terms."""
    distance = auxiliary[arrays.normal_data] - parameters[arrays.normal_parameter]
    return distance / arrays.normal_sigma


def constraint_logpdf(
    arrays: ModelArrays, parameters: Vector, auxiliary: Float[JaxArray, "aux"]
) -> Scalar:
    """Return ln of all constraint terms, normalisations included."""
    pull = _pulls(arrays, parameters, auxiliary)
    normal = -0.5 * jnp.sum(pull * pull) - jnp.sum(
        jnp.log(arrays.normal_sigma) + 0.5 * np.log(2.0 * np.pi)
    )
    mean = parameters[arrays.poisson_parameter] * arrays.poisson_tau
    return normal + jnp.sum(log_poisson(auxiliary[arrays.poisson_data], mean))


def penalty(arrays: ModelArrays, parameters: Vector, auxiliary: Float[JaxArray, "aux"]) -> Scalar:
    """Return -ln of the constraint terms over their best values: no difference of large terms."""
    pull = _pulls(arrays, parameters, auxiliary)
    mean = parameters[arrays.poisson_parameter] * arrays.poisson_tau
    known = jnp.where(mean >= 0, deviance(auxiliary[arrays.poisson_data], mean), jnp.nan)
    return 0.5 * jnp.sum(pull * pull) + jnp.sum(known)


def logpdf(
    codes: Codes,
    arrays: ModelArrays,
    parameters: Vector,
    data: Float[JaxArray, "data"],
) -> Scalar:
    """Return ln L of main and auxiliary data, as pyhf defines it (negative rates: NaN)."""
    n_bins = arrays.nominal.shape[0]
    main = jnp.sum(log_poisson(data[:n_bins], rates(codes, arrays, parameters)))
    return main + constraint_logpdf(arrays, parameters, data[n_bins:])
