"""The rough gradient of ensembles against the exact one, and against differences of the profile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine_models import eigen_variations, make_pair
from hypothesis import given, settings
from hypothesis import strategies as st

from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.ensembles.points import deviation_gradient, evaluate, make_reference
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.paired.profile import profile
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import FAILED

M = 12
RNG = np.random.default_rng(7)
T = RNG.uniform(0.5, 40.0, M)
SIGNAL = RNG.uniform(0.0, 3.0, M) * (np.arange(M) < 9)
VARIATIONS = eigen_variations(3, M, RNG, 0.1)
PAIR = CompiledModel.from_reference(
    ReferenceModel(make_pair(T, T.round(), T.round(), SIGNAL, variations=VARIATIONS, ratio=0.8))
).pair

STRUCTURE, ARRAYS = PAIR.structure, PAIR.arrays


@jax.jit
def both_gradients(theta, start, data):
    reference = make_reference(STRUCTURE, ARRAYS, start)
    contrast = data.n[1] * reference.u[0] - data.n[0] * reference.u[1]
    point = evaluate(STRUCTURE, ARRAYS, theta[None], data, jnp.ones((1, M)))
    rough = deviation_gradient(STRUCTURE, ARRAYS, reference, contrast, theta[None], data)
    pull = ARRAYS.precision * (theta - data.centre)
    return point, rough, contrast @ reference.slope + pull


@jax.jit
def value(theta, data):
    return profile(STRUCTURE, ARRAYS, theta, jax.tree.map(lambda x: x[0], data)).value


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    mu=st.floats(-4, 6),
    scale=st.sampled_from([0.02, 0.5, 1.0, 30.0]),
)
def test_the_rough_gradient_is_the_exact_one(seed, mu, scale):
    rng = np.random.default_rng(seed)
    n = rng.poisson(scale * np.concatenate([0.8 * T, T])).astype(float)
    theta, start = np.insert(rng.normal(size=(2, 3)), PAIR.poi, [mu, 0.0], axis=1)
    data = PAIR.split(np.concatenate([n, np.zeros(3)])[None])
    point, rough, _ = both_gradients(theta, start, data)
    rates = np.asarray(point.rates)
    if np.any(rates <= 1e-9):
        return  # at a rate of 0 only the exact one has the multiplier
    size = 1 + np.abs(np.asarray(point.gradient))
    np.testing.assert_allclose((rough - point.gradient) / size, 0, atol=1e-9)
    if np.all(rates > 0.1):  # the step must not cross a corner
        steps = 1e-5 * np.eye(4)
        numeric = np.array([value(theta + s, data) - value(theta - s, data) for s in steps])
        np.testing.assert_allclose((numeric / 2e-5 - rough[0]) / size[0], 0, atol=1e-4)


def test_one_product_gives_the_first_gradient():
    start = np.insert([0.3, -0.7, 1.1], PAIR.poi, 0.0)
    data = PAIR.split(np.concatenate([RNG.poisson(T), RNG.poisson(T), np.zeros(3)])[None])
    point, _, first = both_gradients(start, start, data)
    np.testing.assert_allclose(
        np.delete(first[0], PAIR.poi), np.delete(point.gradient[0], PAIR.poi), rtol=1e-10
    )


def test_a_toy_that_goes_nowhere_does_not_change_its_block():
    """A POI with bounds that some toys reach: those get careful fits, the others are as alone."""
    t = np.full(6, 30.0)
    workspace = make_pair(t, t, t, np.full(6, 2.0), variations=eigen_variations(2, 6, RNG))
    for measurement in workspace["measurements"]:
        for parameter in measurement["config"]["parameters"]:
            if parameter["name"] == "mu":
                parameter["bounds"] = [[-1.5, 1.5]]
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    toys = toy_ensemble(ToySource.conditional(model), 96, seed=3, fit_block_size=32)
    assert not np.any(toys.status == FAILED)
    assert 0 < np.sum(np.abs(toys.mu_hat) == 1.5) < 96
    for i in (0, 17, 64):
        alone = minimize(model, data=ToySource.conditional(model).draw(3, i))
        poi = model.parameters.poi
        # An EDM of 1e-8 is 1e-4 errors.
        tolerance = 1e-4 * max(alone.errors[poi], 1e-9)
        assert toys.mu_hat[i] == pytest.approx(alone.parameters[poi], abs=tolerance)
