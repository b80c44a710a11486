"""The likelihood of any compiled model, from its dense arrays over (bin, sample)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from ddphf.arrays import Bool, Float, JaxArray
from ddphf.likelihood.deviance import deviance
from ddphf.likelihood.general.layout import Codes, ModelArrays
from ddphf.likelihood.interpolation import histosys_weights, normsys_factor

__all__ = [
    "Flags",
    "Scalar",
    "Vector",
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
