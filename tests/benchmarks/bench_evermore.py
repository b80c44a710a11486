"""The plain 28x28 pair in evermore with optimistix BFGS, vmapped: free + null fits.

Runs in an environment of its own (``pip install evermore optimistix``): python bench_evermore.py
"""

from __future__ import annotations

import argparse
import json
import time

import evermore as evm
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

jax.config.update("jax_enable_x64", True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bins", type=int, default=28)
    parser.add_argument("--toys", type=int, default=8)
    options = parser.parse_args()
    n, m, t = options.toys, options.bins**2, 1e4
    x = np.arange(options.bins) - (options.bins - 1) / 2
    signal = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / 32).ravel()
    signal = jnp.asarray(signal / signal.sum() * 30 * np.sqrt(t))
    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(rng.poisson(t, (n, m)).astype(float)) for _ in range(2))

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
    print(
        json.dumps(
            {
                "name": f"evermore + optimistix BFGS, {options.bins}x{options.bins} plain",
                "pairs_per_s": n / wall,
                "first_call_s": first,
                "q0": np.asarray(q0)[:4].tolist(),
                "mu_hat": np.asarray(free[0][:4, 0]).tolist(),
                "steps_max": int(np.max(free[2])),
            }
        )
    )


if __name__ == "__main__":
    main()
