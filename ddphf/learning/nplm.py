"""Symmetrised NPLM as published: a 1-4-1 network by Adam, stopped after a number of epochs.

arXiv:2401.09530, Eq. 22 and 37, with the probabilities of the labels:

    t_sym = -2 min_f [sum_P (1 - pi)(e^f - 1) - sum_A f] - 2 min_g [sum_P pi (e^g - 1) - sum_B g]
    t_CE  = 2 [sum_A ln((1 - h)/(1 - pi)) + sum_B ln(h/pi)],   logit h = logit pi + f

The loss has no minimum to reach, so t depends on the epochs and on the unit of x: this is here to
compare with what is published. Initial weights and Adam's constants are those of Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import generator
from ddphf.learning.network import Grouped

__all__ = ["EPOCHS", "AdamTest"]

EPOCHS = 50_000

RATE, FIRST, SECOND, SMALL = 1e-3, 0.9, 0.999, 1e-7
"""Adam's step, its two memories and its epsilon."""

START_SEED = 9_530


@dataclass(frozen=True)
class AdamTest:
    """The published training on one pool of events, variables in their own units.

    Attributes:
        events: In their groups.
        loss: ``sym`` or ``ce``.
        epochs: After which it stops.
        hidden: Sigmoids.
        clip: Largest size of a weight, or None.
        start: Number of the initial weights.
    """

    events: Grouped
    loss: Literal["sym", "ce"] = "sym"
    epochs: int = EPOCHS
    hidden: int = 4
    clip: float | None = None
    start: int = 0

    def fit(self, tested: AnyArray) -> Array:
        """Return t of many labellings, (m,).

        Args:
            tested: Tested events of each group in each labelling, (g, m).
        """
        e = self.events
        x = (e.points * e.deviation + e.mean).astype(np.float32)
        share = 1 / (1 + np.exp(-e.offset))
        b = tested.T.astype(np.float32)
        a = (e.counts[:, None] - tested).T.astype(np.float32)
        rng = generator(START_SEED, self.start)
        begin = self._begin(rng, len(b))
        clip = np.float32(np.inf if self.clip is None else self.clip)
        if self.loss == "ce":
            data = (x, e.offset.astype(np.float32), e.counts.astype(np.float32), b)
            return _finish(_train("ce")(begin, data, clip, self.epochs))
        total = np.zeros(len(b))
        for counts, part in ((a, 1 - share), (b, share)):
            data = (x, (e.counts * part).astype(np.float32), e.counts.astype(np.float32), counts)
            total += _finish(_train("sym")(begin, data, clip, self.epochs))
            begin = self._begin(rng, len(b))
        return total

    def _begin(self, rng: np.random.Generator, m: int) -> dict[str, AnyArray]:
        """Return initial weights, uniform as Glorot and Bengio have them, of each labelling."""
        d, h = self.events.points.shape[1], self.hidden
        first, second = np.sqrt(6 / (d + h)), np.sqrt(6 / (h + 1))
        return {
            "w": rng.uniform(-first, first, (m, d, h)).astype(np.float32),
            "b": np.zeros((m, h), dtype=np.float32),
            "a": rng.uniform(-second, second, (m, h)).astype(np.float32),
            "c": np.zeros(m, dtype=np.float32),
        }


def _finish(t: Any) -> Array:
    return np.asarray(t, dtype=float)


@cache
def _train(loss: str) -> Any:
    """Return the compiled training of many labellings at once, which returns t of each."""
    import jax
    import jax.numpy as jnp

    def value(weights: Any, data: Any) -> Any:
        """Return f of every labelling and group, (m, g)."""
        x, out = data[0], weights["c"][:, None]
        for h in range(weights["w"].shape[2]):  # events innermost: they are many, sigmoids few
            u = weights["b"][:, h, None]
            for d in range(x.shape[1]):
                u = u + weights["w"][:, d, h, None] * x[:, d]
            out = out + weights["a"][:, h, None] * jax.nn.sigmoid(u)
        return out

    def objective(weights: Any, data: Any) -> Any:
        """Return the loss of each labelling, (m,)."""
        _, known, counts, seen = data
        f = value(weights, data)
        if loss == "ce":
            eta = known + f
            plain = counts * jnp.logaddexp(0.0, known) - seen * known
            return jnp.sum(counts * jnp.logaddexp(0.0, eta) - seen * eta - plain, axis=1)
        return jnp.sum(known * jnp.expm1(f) - seen * f, axis=1)

    slope = jax.grad(lambda weights, data: jnp.sum(objective(weights, data)))

    def run(begin: Any, data: Any, clip: Any, epochs: Any) -> Any:
        nothing = jax.tree.map(jnp.zeros_like, begin)

        def step(i: Any, state: Any) -> Any:
            weights, first, second = state
            g = slope(weights, data)
            first = jax.tree.map(lambda m, d: FIRST * m + (1 - FIRST) * d, first, g)
            second = jax.tree.map(lambda v, d: SECOND * v + (1 - SECOND) * d * d, second, g)
            n = (i + 1).astype(jnp.float32)
            rate = RATE * jnp.sqrt(1 - SECOND**n) / (1 - FIRST**n)
            weights = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + SMALL), weights, first, second
            )
            weights["w"], weights["a"] = (jnp.clip(weights[k], -clip, clip) for k in ("w", "a"))
            return weights, first, second

        weights, _, _ = jax.lax.fori_loop(0, epochs, step, (begin, nothing, nothing))
        return -2 * objective(weights, data)

    return jax.jit(run)
