"""The weakly supervised classifier: a deep network trained to tell the samples apart.

3 layers of 50 rectified units and a sigmoid, binary cross entropy, Adam, 20 epochs of batches of
200.
Statistics of its score: the largest in the tested sample's direction (as published), the likelihood
ratio on the events it was trained on, and on events that it has not seen (cross-fitted). All have
their null from redrawn labels, each with a training of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import logit

from ddphf.arrays import AnyArray, Array, JaxArray, for_programs
from ddphf.compute.streams import LEARNING, block_generator, generator
from ddphf.learning.adam import Weights, adam_step, nothing_like
from ddphf.learning.features import standardize
from ddphf.learning.labels import Labels

__all__ = ["SCORES", "ClassifierTest"]

SCORES = ("maximum", "in_sample", "cross_fitted")

LAYERS = (50, 50, 50)

EPOCHS, BATCH = 20, 200

SEED = 5_050

BOOTSTRAPS = 2
"""Ensemble of blocks of bootstrap samples."""


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
            gain = [_gain(offset, f, y) for f in (whole, cross)]
            out.append([float(whole.max()), *gain])
        return np.array(out).T

    def bootstrap(self, seed: int, number: int) -> float:
        """Return the largest score of a bootstrap sample of both samples together.

        The published null: events are drawn with replacement, and labelled with their
        probabilities. Events that are there twice are learned by heart, so that it is no p-value's.

        Args:
            seed: Of the test.
            number: Of the bootstrap sample.
        """
        rng = block_generator(seed, LEARNING.start(BOOTSTRAPS, number + 1) + number)
        rows = rng.integers(self.labels.n, size=self.labels.n)
        y = (rng.random(self.labels.n) < self.labels.share[rows]).astype(np.float32)
        mean, deviation = standardize(self.points)
        z = ((self.points[rows] - mean) / deviation).astype(np.float32)
        offset = logit(self.labels.share[rows]).astype(np.float32)
        return float(self._score(z, offset, y, np.arange(len(rows)), z).max())

    def _score(
        self, z: AnyArray, offset: AnyArray, y: AnyArray, rows: AnyArray, wanted: AnyArray
    ) -> AnyArray:
        """Return f at some points of the network trained on some rows."""
        rng = generator(SEED)
        sizes = (z.shape[1], *self.layers, 1)
        weights: Weights = {}
        for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            end = np.sqrt(6 / (inputs + outputs))
            w = rng.uniform(-end, end, (inputs, outputs)).astype(np.float32)
            weights[f"w{number}"] = for_programs(w)
            weights[f"b{number}"] = for_programs(np.zeros(outputs, dtype=np.float32))
        batch = min(self.batch, len(rows))
        steps = len(rows) // batch
        turns = [rng.permutation(rows)[: steps * batch] for _ in range(self.epochs)]
        order = np.concatenate(turns).reshape(-1, batch).astype(np.int32)
        train, evaluate = _programs()
        whole = (for_programs(z), for_programs(offset), for_programs(y))
        trained = train(weights, whole, for_programs(order))
        return np.asarray(evaluate(trained, for_programs(wanted)))


def _gain(offset: AnyArray, f: AnyArray, y: AnyArray) -> float:
    """Return 2 ln of the likelihood ratio of the labels."""
    null = offset.astype(float)
    eta = null + f
    return 2 * float(np.sum(y * f - np.logaddexp(0, eta) + np.logaddexp(0, null)))


Data = tuple[JaxArray, JaxArray, JaxArray]
"""Points, logit of pi, and labels."""

State = tuple[Weights, Weights, Weights, JaxArray]
"""Weights, both memories of Adam, and the number of the step."""


@cache
def _programs() -> tuple[
    Callable[[Weights, Data, JaxArray], Weights], Callable[[Weights, JaxArray], JaxArray]
]:
    """Return the compiled training and evaluation."""
    import jax
    import jax.numpy as jnp

    def value(weights: Weights, z: JaxArray) -> JaxArray:
        last = len(weights) // 2 - 1
        for k in range(last):
            z = jax.nn.relu(z @ weights[f"w{k}"] + weights[f"b{k}"])
        out: JaxArray = z @ weights[f"w{last}"] + weights[f"b{last}"]
        return out[:, 0]

    def loss(weights: Weights, z: JaxArray, offset: JaxArray, y: JaxArray) -> JaxArray:
        eta = offset + value(weights, z)
        return jnp.mean(jnp.logaddexp(0.0, eta) - y * eta)

    slope: Callable[[Weights, JaxArray, JaxArray, JaxArray], Weights] = jax.grad(loss)

    def train(weights: Weights, data: Data, order: JaxArray) -> Weights:
        z, offset, y = data

        def step(state: State, rows: JaxArray) -> tuple[State, None]:
            weights, first, second, i = state
            found = slope(weights, z[rows], offset[rows], y[rows])
            return (*adam_step(weights, found, first, second, i), i + 1), None

        begin: State = (weights, nothing_like(weights), nothing_like(weights), jnp.int32(0))
        end: State = jax.lax.scan(step, begin, order)[0]
        return end[0]

    trained: Callable[[Weights, Data, JaxArray], Weights] = jax.jit(train)
    evaluated: Callable[[Weights, JaxArray], JaxArray] = jax.jit(value)
    return trained, evaluated
