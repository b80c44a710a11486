"""Every modifier type, in any mixture: the compiled likelihood is pyhf's, its fits no higher."""

import jax
import numpy as np
import pyhf
import pytest
import scipy.special
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from model_zoo import CODES, random_point, size_of_terms, zoo

from ddphf.exceptions import FitError
from ddphf.inference.fitter import Fitter
from ddphf.likelihood import interpolation
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.expansion import expand_model
from ddphf.likelihood.general import likelihood as general
from ddphf.likelihood.general.derivatives import Model, evaluate
from ddphf.likelihood.general.layout import build_arrays
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend


def of(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def check_arrays(workspace, codes, number):
    """Compare with pyhf's numpy backend, our formulas evaluated by numpy too.

    XLA takes a second to compile each new structure, numpy none: the functions are the engine's
    own, with numpy in the place of jax.numpy.
    """
    reference = ReferenceModel(workspace)
    rng = np.random.default_rng(number)
    with pyhf_backend("numpy"), pytest.MonkeyPatch.context() as patch:
        model = pyhf.Workspace(workspace).model(
            poi_name="mu",
            modifier_settings={
                "normsys": {"interpcode": codes[0]},
                "histosys": {"interpcode": codes[1]},
            },
        )
        arrays, static = build_arrays(expand_model(model))
        assert static.normsys in (codes[0], "code4")  # the default where a model has none
        assert static.histosys in (codes[1], "code4p")
        for module in (general, interpolation):
            patch.setattr(module, "jnp", np)
        patch.setattr(general, "gammaln", scipy.special.gammaln)
        for _ in range(3):
            x = random_point(reference.parameters, rng)
            data = reference.data + rng.uniform(0, 2, len(reference.data))
            rates = np.asarray(model.expected_actualdata(x.tolist()))
            np.testing.assert_allclose(
                general.rates(static, arrays, x), rates, rtol=1e-11, atol=1e-11
            )
            if np.any(rates <= 0):
                continue
            law = float(model.logpdf(x.tolist(), data.tolist())[0])
            mine = float(general.logpdf(static, arrays, x, data))
            assert abs(mine - law) <= 1e-10 * size_of_terms(rates, data)


@of(120)
@given(zoo(), st.sampled_from(CODES), st.integers(0, 2**31))
def test_zoo_is_pyhfs(workspace, codes, number):
    check_arrays(workspace, codes, number)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_large_zoo_is_pyhfs(part):
    """1 500 models, in parts that each end within minutes and draw from a seed of their own."""
    draws = zoo(max_bins=6), st.sampled_from(CODES), st.integers(0, 2**31)
    seed(part)(of(150)(given(*draws)(check_arrays)))()


def check_derivatives(workspace, number):
    """Compare value, gradient and Hessian with automatic derivatives of pyhf's own likelihood."""
    reference = ReferenceModel(workspace)
    model = CompiledModel.from_reference(reference)
    x = random_point(reference.parameters, np.random.default_rng(number))
    x[reference.parameters.poi] *= number % 2  # a factor of exactly 0 is the null
    rates = model.rates(x)
    assume(np.all(rates > 0))
    scale = 2 * size_of_terms(rates, reference.data)
    assert abs(model.twice_nll(x) - reference.twice_nll(x)) <= 1e-10 * scale
    point = jax.jit(evaluate, static_argnums=0)(
        model.codes, Model(model.arrays, model.cells), x, reference.data
    )
    gradient = reference.value_and_gradient(x)[1] / 2
    np.testing.assert_allclose(point.gradient, gradient, rtol=0, atol=1e-10 * scale)
    dense, n = reference.hessian(x) / 2, len(x)
    whole, k = np.zeros((n + 1, n + 1)), np.asarray(model.cells.global_)
    whole[np.ix_(k, k)] = point.hessian.corner
    for row, edge, block in zip(
        np.asarray(model.cells.local), point.hessian.edges, point.hessian.blocks, strict=True
    ):
        for i, p in enumerate(row):
            whole[p, k] = whole[k, p] = edge[i]
            whole[p, row] = block[i]
    np.testing.assert_allclose(
        whole[:n, :n], dense, rtol=0, atol=1e-10 * max(scale, np.abs(dense).max())
    )


@of(3)
@given(zoo(max_bins=2), st.integers(0, 2**31))
def test_zoo_derivatives(workspace, number):
    check_derivatives(workspace, number)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_large_zoo_derivatives(part):
    def check(workspace, number):
        jax.clear_caches()  # hundreds of compiled models do not fit into one process
        check_derivatives(workspace, number)

    seed(part)(of(15)(given(zoo(), st.integers(0, 2**31))(check)))()


def have_one_effect(reference, point, step=1e-5):
    """Whether some direction of the free parameters moves no expected datum, by differences.

    Along a curve (mu times a shape factor) 2NLL has a second derivative where it has a first one,
    and Minuit stops before the minimum: there the Hessian is not singular, the rates' Jacobian is.
    """
    free = np.flatnonzero(~np.asarray(reference.parameters.fixed))
    with pyhf_backend("numpy"):
        columns = [
            np.subtract(
                *(np.asarray(reference.model.expected_data((point + move).tolist()))
                  for move in (step * np.eye(len(point))[i], -step * np.eye(len(point))[i]))
            ) / (2 * step)
            for i in free
        ]  # fmt: skip
    sizes = np.linalg.svd(np.transpose(columns), compute_uv=False)
    return len(sizes) < len(free) or sizes[-1] < 1e-6 * sizes[0]


def curved_flat():
    """A sample of mu times a shape factor, and one that is known."""
    modifiers = [
        {"name": "mu", "type": "normfactor", "data": None},
        {"name": "shape", "type": "shapefactor", "data": None},
    ]
    samples = [
        {"name": "s", "data": [10.0, 50.0], "modifiers": modifiers},
        {"name": "b", "data": [50.0, 26.0], "modifiers": []},
    ]
    return {
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [70.0, 90.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def test_flatness_is_seen_away_from_the_minimum():
    reference = ReferenceModel(curved_flat())
    point = np.array([0.5, 1.0, 1.0])  # parameters are free, and 2NLL falls here
    eigenvalues = np.linalg.eigvalsh(reference.hessian(point))
    assert abs(eigenvalues[0]) > 1e-3 * eigenvalues[-1]
    assert have_one_effect(reference, point)
    with pytest.raises(FitError, match=r"do not determine mu, shape\[0\], shape\[1\]"):
        Fitter(reference).fit_free(lambda line: None)
    known = curved_flat()
    del known["channels"][0]["samples"][0]["modifiers"][1]
    assert not have_one_effect(ReferenceModel(known), np.array([0.5]))


def check_fit(workspace):
    """Our minimum is not above that of pyhf with minuit, by more than 1e-6 in -2 ln L."""
    reference = ReferenceModel(workspace)
    table = reference.parameters
    try:  # with its other starts: some of these models have several minima
        minimum = Fitter(reference).fit_free(lambda line: None).free
    except FitError as error:
        minimum, reason = None, str(error)
    with pyhf_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3)):
        try:
            point, value = pyhf.infer.mle.fit(
                reference.data.tolist(), reference.model, return_fitted_val=True
            )
        except pyhf.exceptions.FailedMinimization:
            assume(False)
        except AttributeError as error:  # pyhf 0.7.6, where iminuit finds no covariance
            if "correlation" not in str(error):
                raise
            assume(False)
        rates = np.asarray(reference.model.expected_actualdata(list(point)))
    assume(np.all(rates > 0))  # what has a negative rate is no candidate
    if minimum is None:  # two free parameters with one effect: flat, and said so
        with np.errstate(all="ignore"):
            eigenvalues = np.linalg.eigvalsh(reference.hessian(np.asarray(point)))
        flat = eigenvalues[0] < 1e-7 * eigenvalues[-1]
        assert flat or have_one_effect(reference, np.asarray(point)), reason
        return
    assert np.all((minimum.parameters >= table.lower) & (minimum.parameters <= table.upper))
    assert minimum.twice_nll <= float(value) + 1e-6
    assert reference.twice_nll(minimum.parameters, backend="numpy") == pytest.approx(
        minimum.twice_nll, rel=1e-10, abs=1e-8
    )


@of(3)
@given(zoo(max_bins=2))
def test_zoo_fits_are_not_above_minuits(workspace):
    check_fit(workspace)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_large_zoo_fits_are_not_above_minuits(part):
    def check(workspace):
        jax.clear_caches()
        check_fit(workspace)

    seed(part)(of(15)(given(zoo())(check)))()
