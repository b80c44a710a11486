"""-ln Poisson(n | rate) over its best value, without the cancellation of its large terms."""

from __future__ import annotations

import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray

__all__ = ["deviance"]

TINY = 1e-300


def deviance(
    n: Float[JaxArray, "*#bins"], rate: Float[JaxArray, "*#bins"]
) -> Float[JaxArray, "*bins"]:
    """Return rate - n + n ln(n / rate), element by element; ``rate`` where n is 0.

    Near n it is a difference of terms of the size of n. Their rounding, 1e-7 at 1e9 events, would
    hide whether a step lowers -ln L.

    Example:
        >>> import ddphf.likelihood.precision
        >>> round(float(deviance(jnp.array(1e12), jnp.array(1e12 + 1e3))), 12)  # 1e3^2 / 2e12
        5e-07
    """
    seen = n > 0
    ratio = rate / jnp.where(seen, n, 1.0)
    d = (rate - n) / jnp.where(seen, n, 1.0)
    near = jnp.abs(d) < 0.5
    log_ratio = jnp.where(
        near, jnp.log1p(jnp.where(near, d, 0.0)), jnp.log(jnp.maximum(ratio, TINY))
    )
    return jnp.where(seen, n * (d - log_ratio), rate - n)  # a NaN in the data stays one
