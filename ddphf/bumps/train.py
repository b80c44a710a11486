"""Training of the network on drawn spectra, whose backgrounds are known.

One machine gives the same weights again: every batch is drawn by a generator of (seed, batch), and
the steps are compiled once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.generator import draw_sample
from ddphf.bumps.known import fit_signal
from ddphf.bumps.net_inputs import CHANNELS, NetInputs
from ddphf.bumps.network import VERSION, Network, apply_network, shapes
from ddphf.compute.streams import generator
from ddphf.exceptions import InputError

__all__ = ["train_network"]

MOST_BINS = 100
"""Of the drawn spectra; the network takes any number."""

RATE = 3e-3
"""Largest step of Adam, after a hundredth of the steps; then it falls as a cosine to nothing."""

AT_BUMP = 30.0
"""Weight of the bin of a bump: of the 30 to 100 bins of a spectrum it is the one that matters."""

TEACHERS = "talk"
"""Set of functions; the others stay unseen."""

WIDTHS = (0.7, 3.0)
"""Of bumps, in bins: uniform in the logarithm."""

ALIKE = 16
"""Spectra that share a binning: its linear maps cost as much as they do."""

PARTS = 1 << 48
"""First part of the seed's random numbers; those of evaluations are below."""


@cache
def binning(n: int) -> NetInputs:
    """Return the curves of n bins."""
    return NetInputs(np.arange(n + 1.0), np.ones(n))


def draw_batch(seed: int, number: int, size: int) -> tuple[Array, Array, Array, Array]:
    """Return what the network sees, the known z, weights and mask, padded to 100 bins.

    Three of four spectra have a bump; groups of them share a binning and a width.
    """
    rng = generator(seed, PARTS + number)
    seen: Array = np.zeros((size, MOST_BINS, CHANNELS))
    target, weight, mask = (np.zeros((size, MOST_BINS)) for _ in range(3))
    for first in range(0, size, ALIKE):
        some = range(first, min(first + ALIKE, size))
        n, width = int(rng.integers(30, 101)), float(np.exp(rng.uniform(*np.log(WIDTHS))))
        samples = [
            draw_sample(rng, TEACHERS, signal=bool(rng.random() < 0.75), width=width, bins=n)
            for _ in some
        ]
        counts = np.stack([s.counts for s in samples])
        backgrounds = np.stack([s.background for s in samples])
        inputs = binning(n).with_width(width)
        part = slice(some.start, some.stop)
        seen[part, :n] = inputs(counts)
        target[part, :n] = fit_signal(counts[:, None], backgrounds[:, None], inputs.templates).z
        mask[part, :n] = weight[part, :n] = 1.0
        for i, sample in zip(some, samples, strict=True):
            if sample.at is not None:
                weight[i, sample.at] = AT_BUMP
    return seen, target, weight, mask


def train_network(
    *,
    steps: int,
    batch: int = 128,
    channels: int = 24,
    seed: int = 0,
    say: Callable[[int, int], None] | None = None,
) -> Network:
    """Train a network.

    Args:
        steps: Of Adam.
        batch: Spectra of a step, all new.
        channels: Of a layer.
        seed: Of all that is drawn.
        say: Called with (done, total) steps.

    Raises:
        InputError: equinox or optax are not installed.
    """
    try:
        import equinox as eqx
        import jax
        import jax.numpy as jnp
        import optax
    except ImportError:
        raise InputError("training needs equinox and optax: pip install 'ddphf[train]'") from None

    class Net(eqx.Module):
        weights: dict[str, Any]

        def __call__(self, seen: Any, mask: Any) -> Any:
            return apply_network(jnp, self.weights, seen, mask)

    def loss(net: Any, seen: Any, target: Any, weight: Any, mask: Any) -> Any:
        off = net(seen, mask[..., None]) - target
        return jnp.sum(weight * (jnp.sqrt(1 + off**2) - 1)) / jnp.sum(weight)

    plan = optax.warmup_cosine_decay_schedule(0.0, RATE, max(1, steps // 100), max(steps, 2))
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(plan))

    slope_of: Any = eqx.filter_value_and_grad(loss)

    @jax.jit
    def step(net: Any, state: Any, *data: Any) -> tuple[Any, Any, Any]:
        value, slopes = slope_of(net, *data)
        updates, state = chain.update(slopes, state)
        return eqx.apply_updates(net, updates), state, value

    net = Net(_first(seed, channels))
    state = chain.init(eqx.filter(net, eqx.is_array))
    values = []
    for number in range(steps):
        data = draw_batch(seed, number, batch)
        with _whole():
            net, state, value = step(net, state, *(jnp.asarray(d, dtype=jnp.float32) for d in data))
            values.append(float(value))
        if say is not None:
            say(number + 1, steps)
    weights: dict[str, Any] = {name: np.asarray(jax.device_get(w), dtype=np.float32)
                               for name, w in net.weights.items()}  # fmt: skip
    about = {
        "version": VERSION, "channels": channels, "steps": steps, "batch": batch, "seed": seed,
        "functions": TEACHERS, "widths": list(WIDTHS),
        "loss": round(float(np.mean(values[-max(1, steps // 20) :])), 6),
    }  # fmt: skip
    return Network(weights, about)


@contextmanager
def _whole() -> Iterator[None]:
    """Let signals wait for the end of a compiled step, which ends the process where they do not."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(one, lambda number, _: came.append(number)) for one in both]
    try:
        yield
    finally:
        for one, handler in zip(both, old, strict=True):
            signal.signal(one, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _first(seed: int, channels: int) -> dict[str, Any]:
    """Return weights before the first step: normal, of the size that keeps that of the inputs."""
    import jax.numpy as jnp

    rng = generator(seed, PARTS - 1)
    out = {}
    for name, shape in shapes(channels).items():
        size = np.sqrt(2 / shape[0]) if len(shape) == 2 else 0.0
        if name == "head":
            size *= 0.1
        out[name] = jnp.asarray(rng.normal(0.0, 1.0, shape) * size, dtype=jnp.float32)
    return out
