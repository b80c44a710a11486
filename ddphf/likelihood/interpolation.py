r"""pyhf's interpolations between variations, as functions of the nuisance alone.

histosys: the change of a yield is :math:`p(\alpha)\,\Delta_+ + m(\alpha)\,\Delta_-` with
:math:`\Delta_\pm` the shifts at one sigma; a symmetric variation, :math:`\Delta_+ = \Delta_-`,
is :math:`\alpha\Delta` under every code. normsys: a factor from its values at -1 and +1.

Source: pyhf.interpolators (code0, code1, code4, code4p), HistFactory CERN-OPEN-2012-016.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ddphf.arrays import Array, Float, JaxArray
from ddphf.likelihood import precision  # noqa: F401

__all__ = ["histosys_weights", "is_symmetric", "normsys_factor"]


def is_symmetric(
    up: Float[Array, "*bins"], down: Float[Array, "*bins"], nominal: Float[Array, "*bins"]
) -> bool:
    """Return whether two shifts are one, up to the rounding of ``nominal * (1 +- variation)``.

    Such a variation is linear in its nuisance under every code, with half the work.
    """
    size = np.maximum(np.abs(nominal), np.abs(up))
    return bool(np.all(np.abs(up - down) <= 4 * np.finfo(float).eps * size))


def histosys_weights(alpha: Float[JaxArray, "*points"], code: str) -> tuple[JaxArray, JaxArray]:
    """Return the weights of the up and the down shift, each of the shape of ``alpha``.

    Example:
        >>> up, down = histosys_weights(jnp.array([0.5, 2.0, -2.0]), "code4p")
        >>> [round(float(x), 6) for x in up], [round(float(x), 6) for x in down]
        ([0.448242, 2.0, 0.0], [0.051758, 0.0, -2.0])
    """
    if code == "code0":
        return jnp.where(alpha > 0, alpha, 0.0), jnp.where(alpha > 0, 0.0, alpha)
    square = alpha * alpha
    even = square * (square * (square * 3.0 - 10.0) + 15.0) / 16.0
    up = jnp.where(alpha > 1, alpha, jnp.where(alpha < -1, 0.0, 0.5 * alpha + even))
    down = jnp.where(alpha > 1, 0.0, jnp.where(alpha < -1, alpha, 0.5 * alpha - even))
    return up, down


def normsys_factor(
    alpha: Float[JaxArray, "*points entries"],
    coefficients: Float[JaxArray, "*one entries 8"],
    code: str,
) -> Float[JaxArray, "*points entries"]:
    """Return the factors of all entries.

    Args:
        alpha: Shape (..., entries).
        coefficients: Of :func:`~ddphf.likelihood.general.layout.normsys_coefficients`, shape
            (entries, 8), or with leading axes of length 1.
        code: ``"code1"`` or ``"code4"``.
    """
    log_low, log_high = coefficients[..., 0], coefficients[..., 1]
    if code == "code1":
        return jnp.exp(jnp.where(alpha >= 0, alpha * log_high, -alpha * log_low))
    inside = jnp.abs(alpha) < 1
    outer = jnp.exp(jnp.where(alpha >= 0, alpha * log_high, -alpha * log_low))
    polynomial = jnp.zeros_like(alpha)
    for power in range(7, 1, -1):
        polynomial = (polynomial + coefficients[..., power]) * alpha
    return jnp.where(inside, 1.0 + polynomial, outer)
