"""Symmetrised NPLM as published: a 1-4-1 network by Adam, stopped after a number of epochs.

arXiv:2401.09530, Eq. 22 and 37, with the probabilities of the labels:

    t_sym = -2 min_f [sum_P (1 - pi)(e^f - 1) - sum_A f] - 2 min_g [sum_P pi (e^g - 1) - sum_B g]
    t_CE  = 2 [sum_A ln((1 - h)/(1 - pi)) + sum_B ln(h/pi)],   logit h = logit pi + f

The loss has no minimum to reach, so t depends on the epochs and on the unit of x: this is here to
compare with what is published. Initial weights and Adam's constants are those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from ddphf.arrays import AnyArray, Array, JaxArray, for_programs
from ddphf.compute.streams import generator
from ddphf.learning.adam import Weights, adam_step, nothing_like
from ddphf.learning.groups import Grouped

__all__ = ["EPOCHS", "AdamTest"]

EPOCHS = 50_000

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
        x = e.points * e.deviation + e.mean
        share = 1 / (1 + np.exp(-e.offset))
        b = tested.T
        a = (e.counts[:, None] - tested).T
        rng = generator(START_SEED, self.start)
        begin = self._begin(rng, len(b))
        clip = np.inf if self.clip is None else self.clip
        if self.loss == "ce":
            data = _single(x, e.offset, e.counts, b)
            return np.asarray(_train("ce")(begin, data, clip, self.epochs), dtype=float)
        total = np.zeros(len(b))
        for counts, part in ((a, 1 - share), (b, share)):
            data = _single(x, e.counts * part, e.counts, counts)
            total += np.asarray(_train("sym")(begin, data, clip, self.epochs), dtype=float)
            begin = self._begin(rng, len(b))
        return total

    def _begin(self, rng: np.random.Generator, m: int) -> Weights:
        """Return initial weights, uniform as Glorot and Bengio have them, for each labelling.

        They are the same for all: t of the data is one of those of redraws only where the way from
        labels to t is one and the same, and where a training ends depends on where it began.
        """
        d, h = self.events.points.shape[1], self.hidden
        first, second = np.sqrt(6 / (d + h)), np.sqrt(6 / (h + 1))
        w, a = rng.uniform(-first, first, (d, h)), rng.uniform(-second, second, h)
        one = {"w": w, "b": np.zeros(h), "a": a, "c": np.zeros(())}
        return {
            name: for_programs(np.repeat(values[None].astype(np.float32), m, axis=0))
            for name, values in one.items()
        }


def _single(*arrays: Array) -> Data:
    """Return points, what is known, counts and labels in single precision."""
    x, known, counts, seen = (for_programs(a.astype(np.float32)) for a in arrays)
    return x, known, counts, seen


Data = tuple[JaxArray, JaxArray, JaxArray, JaxArray]
"""Points, what is known of each group, its events, and the labels of each labelling."""


@cache
def _train(loss: str) -> Callable[[Weights, Data, float, int], JaxArray]:
    """Return the compiled training of many labellings at once, which returns t of each."""
    import jax
    import jax.numpy as jnp

    def value(weights: Weights, data: Data) -> JaxArray:
        """Return f of every labelling and group, (m, g)."""
        x = data[0]
        out: JaxArray = weights["c"][:, None]
        for h in range(weights["w"].shape[2]):  # events innermost: they are many, sigmoids few
            u: JaxArray = weights["b"][:, h, None]
            for d in range(x.shape[1]):
                u = u + weights["w"][:, d, h, None] * x[:, d]
            sigma: JaxArray = jax.nn.sigmoid(u)
            out = out + weights["a"][:, h, None] * sigma
        return out

    def objective(weights: Weights, data: Data) -> JaxArray:
        """Return the loss of each labelling, (m,)."""
        _, known, counts, seen = data
        f = value(weights, data)
        if loss == "ce":
            eta = known + f
            plain: JaxArray = counts * jnp.logaddexp(0.0, known) - seen * known
            return jnp.sum(counts * jnp.logaddexp(0.0, eta) - seen * eta - plain, axis=1)
        return jnp.sum(known * jnp.expm1(f) - seen * f, axis=1)

    def summed(weights: Weights, data: Data) -> JaxArray:
        return jnp.sum(objective(weights, data))

    slope: Callable[[Weights, Data], Weights] = jax.grad(summed)

    def run(begin: Weights, data: Data, clip: float, epochs: int) -> JaxArray:
        def step(i: JaxArray, state: State) -> State:
            weights, first, second = state
            weights, first, second = adam_step(weights, slope(weights, data), first, second, i)
            for name in ("w", "a"):
                weights[name] = jnp.clip(weights[name], -clip, clip)
            return weights, first, second

        state: State = (begin, nothing_like(begin), nothing_like(begin))
        state = jax.lax.fori_loop(0, epochs, step, state)
        return -2 * objective(state[0], data)

    compiled: Callable[[Weights, Data, float, int], JaxArray] = jax.jit(run)
    return compiled


State = tuple[Weights, Weights, Weights]
"""Weights and both memories of Adam."""
