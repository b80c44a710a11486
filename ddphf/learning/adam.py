"""Adam (arXiv:1412.6980) with the constants of Keras, for compiled trainings."""

from __future__ import annotations

from ddphf.arrays import JaxArray

__all__ = ["Weights", "adam_step", "nothing_like"]

RATE, FIRST, SECOND, SMALL = 1e-3, 0.9, 0.999, 1e-7
"""Its step, its two memories and its epsilon."""

Weights = dict[str, JaxArray]
"""Parameters by name."""


def nothing_like(weights: Weights) -> Weights:
    """Return zeros of the same shapes: the memories before the first step."""
    import jax.numpy as jnp

    return {name: jnp.zeros_like(values) for name, values in weights.items()}


def adam_step(
    weights: Weights, slopes: Weights, first: Weights, second: Weights, i: JaxArray
) -> tuple[Weights, Weights, Weights]:
    """Return weights and both memories after step i, counted from 0."""
    import jax.numpy as jnp

    n: JaxArray = (i + 1).astype(jnp.float32)
    rate: JaxArray = RATE * jnp.sqrt(1 - SECOND**n) / (1 - FIRST**n)
    first = {k: FIRST * first[k] + (1 - FIRST) * slope for k, slope in slopes.items()}
    second = {k: SECOND * second[k] + (1 - SECOND) * slope**2 for k, slope in slopes.items()}
    new = {
        k: value - rate * first[k] / (jnp.sqrt(second[k]) + SMALL) for k, value in weights.items()
    }
    return new, first, second
