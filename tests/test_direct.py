"""Single fits in numpy: the likelihood is pyhf's, derivatives, matrices and minima are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from model_zoo import random_point, size_of_terms, zoo

from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.interpolation import histosys_weights, normsys_factors
from ddphf.likelihood.direct.matrix import factorise
from ddphf.likelihood.interpolation import normsys_coefficients
from ddphf.likelihood.reference import ReferenceModel

many = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def dense(split, matrix):
    """Return an arrowhead matrix as an ordinary one."""
    out, k = np.zeros((split.n + 1, split.n + 1)), split.global_
    out[np.ix_(k, k)] = matrix.corner
    for row, edge, block in zip(split.local, matrix.edges, matrix.blocks, strict=True):
        for i, p in enumerate(row):
            out[p, k] = out[k, p] = edge[i]
            out[p, row] = block[i]
    return out[:-1, :-1]


@pytest.mark.parametrize("code", ["code0", "code4p"])
def test_histosys_weights(code):
    x, h = np.array([-2.3, -0.6, 0.3, 0.9, 1.7]), 1e-5
    (value, first, second) = histosys_weights(x, code)
    up, down = histosys_weights(x + h, code), histosys_weights(x - h, code)
    np.testing.assert_allclose((up[0] - down[0]) / (2 * h), first, atol=1e-8)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), second, atol=1e-8)
    np.testing.assert_allclose(value.sum(axis=0), x, atol=1e-15)  # symmetric shifts are linear


@pytest.mark.parametrize("code", ["code1", "code4"])
def test_normsys_factors(code):
    x, h = np.array([-2.3, -0.6, 0.3, 0.9, 1.7]), 1e-5
    table = normsys_coefficients(np.full(5, 0.8), np.full(5, 1.3), code)
    (_, first, second) = normsys_factors(x, table, code)
    up, down = normsys_factors(x + h, table, code), normsys_factors(x - h, table, code)
    np.testing.assert_allclose((up[0] - down[0]) / (2 * h), first, atol=1e-8)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), second, atol=1e-8)
    ends = np.array([1.0, -1.0, 0.0, 1.0, -1.0])
    assert normsys_factors(ends, table, code)[0] == pytest.approx([1.3, 0.8, 1.0, 1.3, 0.8])


@many
@given(zoo(), st.integers(0, 2**31))
def test_derivatives(workspace, seed):
    reference = ReferenceModel(workspace)
    model = CompiledModel.from_reference(reference)
    direct, split, data = model.direct, model.direct.split, model.data
    x = random_point(reference.parameters, np.random.default_rng(seed))
    x[reference.parameters.poi] *= seed % 2  # a factor of exactly 0 is the null
    assume(np.all(model.rates(x) > 1e-3))
    scale = 2 * size_of_terms(model.rates(x), data)
    value = reference.twice_nll(x, backend="numpy")
    assert abs(model.twice_nll(x) - value) <= 1e-10 * scale
    at = direct.evaluate(x[None], data).row(0)
    found = direct.curvature(at)
    steps = 1e-5 * np.eye(len(x))
    # Second derivatives jump where a code changes, at 0 and +-1.
    kinks = np.min(np.abs(x[:, None] - np.array([-1.0, 0.0, 1.0])), axis=1)
    assume(np.all((kinks > 1e-4) | (np.arange(len(x)) == reference.parameters.poi) | (x == 1.0)))
    up, down = direct.evaluate(x + steps, data), direct.evaluate(x - steps, data)
    np.testing.assert_allclose(
        (up.value - down.value) / 2e-5, at.gradient, rtol=1e-6, atol=1e-7 * scale
    )
    np.testing.assert_allclose(
        (up.gradient - down.gradient) / 2e-5, dense(split, found.hessian),
        rtol=1e-5, atol=1e-5 * scale,
    )  # fmt: skip


@many
@given(zoo(), st.integers(0, 2**31), st.booleans())
def test_matrices(workspace, seed, hold):
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    rng, split, n = np.random.default_rng(seed), model.direct.split, model.direct.n
    x = random_point(model.parameters, rng)
    assume(np.all(model.rates(x) > 1e-3))
    at = model.direct.evaluate(x[None], model.data).row(0)
    matrix = model.direct.information(at, model.direct.curvature(at))
    free = rng.random(n) < 0.7 if hold else np.ones(n, dtype=bool)
    damped = dense(split, matrix) + 0.1 * np.diag(np.diag(dense(split, matrix)))
    vector = rng.normal(size=(2, n))
    np.testing.assert_allclose(
        split.multiply(matrix, vector[0]), dense(split, matrix) @ vector[0], rtol=1e-9, atol=1e-9
    )
    inside = np.ix_(free, free)
    assume(np.linalg.cond(damped[inside]) < 1e9 if free.any() else True)
    factored = factorise(matrix, split, free, 0.1)
    assert factored is not None
    want = np.zeros((2, n))
    want[:, free] = np.linalg.solve(damped[inside], vector[:, free].T).T
    np.testing.assert_allclose(factored.solve(vector), want, rtol=1e-6, atol=1e-8)
    variances = np.zeros(n)
    variances[free] = np.diag(np.linalg.inv(damped[inside]))
    np.testing.assert_allclose(factored.variances(), variances, rtol=1e-6, atol=1e-8)


@many
@given(zoo(), st.integers(0, 2**31))
def test_many_fits_are_each_alone(workspace, seed):
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    rng = np.random.default_rng(seed)
    starts = np.stack([random_point(model.parameters, rng) for _ in range(3)])
    data = np.tile(model.data, (3, 1))
    data[:, : model.n_main] = rng.poisson(data[:, : model.n_main])
    problems = [model.problem(row) for row in data]
    for found, problem, start in zip(
        newton.minimize_many(problems, starts), problems, starts, strict=True
    ):
        alone = newton.minimize(problem, start)
        reach = model.parameters.upper - model.parameters.lower
        if not (found.edm < 1e-10 and np.all(found.errors < reach)):
            continue  # flat, or failed: where it stops is rounding
        np.testing.assert_allclose(alone.parameters, found.parameters, rtol=1e-4, atol=1e-4)
        again = newton.certify(problem, found.parameters)
        assert again.edm == pytest.approx(found.edm, abs=1e-12)
        np.testing.assert_allclose(again.errors, found.errors, rtol=1e-7)
