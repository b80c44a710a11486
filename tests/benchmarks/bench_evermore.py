"""The plain pair in evermore with optimistix BFGS, vmapped: free + null fits of the same data.

Not a dependency of anything; where evermore and optimistix are installed beside the test tools,
bench_engine.py runs this in its own run.
"""

from __future__ import annotations

import time

import evermore as evm
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

jax.config.update("jax_enable_x64", True)


def run(a, b, signal, t):
    """Fit n toys (a, b), shapes (n, M), with and without the signal, shape (M,)."""
    n, m = a.shape
    a, b, signal = (jnp.asarray(x) for x in (a, b, signal))

    # evermore's parameters and Poisson; mu free or 0, the background factors shared.
    def loss(values, args):
        a, b, free = args
        mu = evm.Parameter(value=values[0])
        shape = evm.Parameter(value=values[1:])
        background = t * shape.value
        tested = background + jnp.where(free, mu.value, 0.0) * signal
        total = evm.pdf.PoissonContinuous(lamb=tested).log_prob(b).sum()
        return -(total + evm.pdf.PoissonContinuous(lamb=background).log_prob(a).sum())

    solver = optx.BFGS(rtol=1e-10, atol=1e-8)

    def fit(a, b, free):
        start = jnp.concatenate([jnp.zeros(1), jnp.ones(m)])
        result = optx.minimise(loss, solver, start, args=(a, b, free), max_steps=2000, throw=False)
        return result.value, loss(result.value, (a, b, free)), result.stats["num_steps"]

    both = jax.jit(
        lambda a, b: (
            jax.vmap(lambda a, b: fit(a, b, True))(a, b),
            jax.vmap(lambda a, b: fit(a, b, False))(a, b),
        )
    )
    start = time.perf_counter()
    jax.block_until_ready(both(a, b))
    first = time.perf_counter() - start
    start = time.perf_counter()
    free, null = jax.block_until_ready(both(a, b))
    wall = time.perf_counter() - start
    q0 = 2 * (null[1] - free[1])
    return {
        "toys": n,
        "pairs_per_s": n / wall,
        "first_call_s": first,
        "q0": np.asarray(q0).tolist(),
        "steps_max": int(np.max(free[2])),
    }
