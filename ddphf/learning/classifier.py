"""The weakly supervised classifier: a deep network trained to tell the samples apart.

3 layers of 50 rectified units and a sigmoid, binary cross entropy, Adam, 20 epochs of batches of
200.
Statistics of its score: the largest in the tested sample's direction (as published), the likelihood
ratio on the events it was trained on, and on events that it has not seen (cross-fitted). All have
their null from redrawn labels, each with a training of its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import logit

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import generator
from ddphf.learning.features import standardize
from ddphf.learning.labels import Labels

__all__ = ["SCORES", "ClassifierTest"]

SCORES = ("maximum", "in_sample", "cross_fitted")

LAYERS = (50, 50, 50)

EPOCHS, BATCH = 20, 200

RATE, FIRST, SECOND, SMALL = 1e-3, 0.9, 0.999, 1e-7

SEED = 5_050


@dataclass(frozen=True)
class ClassifierTest:
    """The classifier on one pool of events.

    Attributes:
        points: Variables, (n, d).
        labels: Of the events.
        layers: Units of each hidden layer.
        epochs: Of training.
        batch: Events of a step.
    """

    points: Array
    labels: Labels
    layers: tuple[int, ...] = LAYERS
    epochs: int = EPOCHS
    batch: int = BATCH

    def fit(self, tested: AnyArray) -> Array:
        """Return the three statistics of many labellings, (3, m).

        Args:
            tested: Labels, (n, m).
        """
        mean, deviation = standardize(self.points)
        z = ((self.points - mean) / deviation).astype(np.float32)
        offset = logit(self.labels.share).astype(np.float32)
        n, half = self.labels.n, self.labels.n // 2
        order = generator(SEED, 1).permutation(n)
        first, second = order[:half], order[half:]
        out = []
        for number in range(tested.shape[1]):
            y = tested[:, number].astype(np.float32)
            whole = self._score(z, offset, y, np.arange(n), z)
            cross = np.zeros(n, dtype=np.float32)
            cross[second] = self._score(z, offset, y, first, z[second])
            cross[first] = self._score(z, offset, y, second, z[first])
            gain = [float(_gain(offset, f, y)) for f in (whole, cross)]
            out.append([float(whole.max()), *gain])
        return np.array(out).T

    def _score(
        self, z: AnyArray, offset: AnyArray, y: AnyArray, rows: AnyArray, wanted: AnyArray
    ) -> AnyArray:
        """Return f at some points of the network trained on some rows."""
        rng = generator(SEED)
        sizes = (z.shape[1], *self.layers, 1)
        weights = []
        for inputs, outputs in itertools.pairwise(sizes):
            end = np.sqrt(6 / (inputs + outputs))
            weights.append((rng.uniform(-end, end, (inputs, outputs)).astype(np.float32),
                            np.zeros(outputs, dtype=np.float32)))  # fmt: skip
        batch = min(self.batch, len(rows))
        steps = len(rows) // batch
        turns = [rng.permutation(rows)[: steps * batch] for _ in range(self.epochs)]
        order = np.concatenate(turns).reshape(-1, batch).astype(np.int32)
        train, evaluate = _programs()
        return np.asarray(evaluate(train(weights, z, offset, y, order), wanted))


def _gain(offset: AnyArray, f: AnyArray, y: AnyArray) -> Any:
    """Return 2 ln of the likelihood ratio of the labels."""
    eta = (offset + f).astype(float)
    null = offset.astype(float)
    return 2 * np.sum(y * f - np.logaddexp(0, eta) + np.logaddexp(0, null))


@cache
def _programs() -> tuple[Any, Any]:
    """Return the compiled training and evaluation."""
    import jax
    import jax.numpy as jnp

    def value(weights: Any, z: Any) -> Any:
        for w, b in weights[:-1]:
            z = jax.nn.relu(z @ w + b)
        w, b = weights[-1]
        return (z @ w + b)[:, 0]

    def loss(weights: Any, z: Any, offset: Any, y: Any) -> Any:
        eta = offset + value(weights, z)
        return jnp.mean(jnp.logaddexp(0.0, eta) - y * eta)

    slope = jax.grad(loss)

    def train(weights: Any, z: Any, offset: Any, y: Any, order: Any) -> Any:
        nothing = jax.tree.map(jnp.zeros_like, weights)

        def step(state: Any, rows: Any) -> Any:
            weights, first, second, i = state
            g = slope(weights, z[rows], offset[rows], y[rows])
            first = jax.tree.map(lambda m, d: FIRST * m + (1 - FIRST) * d, first, g)
            second = jax.tree.map(lambda v, d: SECOND * v + (1 - SECOND) * d * d, second, g)
            n = (i + 1).astype(jnp.float32)
            rate = RATE * jnp.sqrt(1 - SECOND**n) / (1 - FIRST**n)
            weights = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + SMALL), weights, first, second
            )
            return (weights, first, second, i + 1), None

        begin = (weights, nothing, nothing, jnp.int32(0))
        return jax.lax.scan(step, begin, order)[0][0]

    return jax.jit(train), jax.jit(value)
