"""Empty bins whose best rate is 0: the likelihood ends there, and no box describes where."""

import numpy as np
import pytest
from empty_models import KINDS, make_empty
from slow_likelihood import SlowLikelihood

from ddphf.exceptions import FitError
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.batch import minimize_batch
from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.general.zero_rates import minimize_at_zero
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import CAREFUL


def compare_with_slow(kind, dark, seeds):
    """Fit free and null by the engine and by SLSQP; return how often a rate ended at 0."""
    at_zero = 0
    for seed in seeds:
        reference = ReferenceModel(make_empty(kind, seed, dark=dark))
        model, slow = CompiledModel.from_reference(reference), SlowLikelihood(reference)
        assert model.pair is None
        table, empty = model.parameters, model.data[: model.n_main] == 0
        for null in (False, True):
            fixed, start = table.fixed.copy(), table.init.copy()
            if null:
                fixed[table.poi], start[table.poi] = True, 0.0
            minimum = minimize(model, start=start, fixed=fixed)
            assert minimum.converged, (seed, null, minimum.status)
            assert minimum.edm < EDM_TOLERANCE
            # Of the Lagrangian: along the rates' own walls -2 ln L is steep, and that is no defect.
            assert minimum.projected_gradient < 1e-4
            rates = slow.rates(minimum.parameters).real
            assert np.all(rates >= 0)
            assert slow.twice_nll(minimum.parameters).real == pytest.approx(
                minimum.twice_nll, abs=1e-8
            )
            # SLSQP stops within about 1e-6 of the minimum, and may step over a rate of 0 by 1e-9.
            best, _ = slow.minimize(fixed, start)
            assert minimum.twice_nll == pytest.approx(best, abs=3e-6)
            at_zero += np.any(rates[empty] < 1e-6)
    return at_zero


@pytest.mark.parametrize("kind", ["normfactor", "staterror", "shapefactor"])
def test_rates_at_zero_against_slsqp(kind):
    # About half of these fits have their minimum at the edge.
    assert compare_with_slow(kind, False, range(6)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_many_rates_at_zero_against_slsqp(kind, dark):
    assert compare_with_slow(kind, dark, range(40)) >= 10


def one_sample(signal, counts, background):
    """Two bins with mu times a signal on a fixed background."""
    mu = [{"name": "mu", "type": "normfactor", "data": None}]
    return {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {"name": "b", "data": background, "modifiers": []},
                    {"name": "s", "data": signal, "modifiers": mu},
                ],
            }
        ],
        "observations": [{"name": "c", "data": counts}],
        "version": "1.0.0",
        "measurements": [
            {
                "name": "m",
                "config": {
                    "poi": "mu",
                    "parameters": [{"name": "mu", "bounds": [[-50.0, 50.0]], "inits": [0.0]}],
                },
            }
        ],
    }


def test_an_edge_worked_out():
    # -ln L = (4 + mu - 2 ln(4 + mu)) + (2 + mu): the slope 2 - 2/(4 + mu) is 1 at mu = -2, where
    # the second rate is 0. Without that condition the minimum would be at mu = -3.
    result = fit_workspace(one_sample([1.0, 1.0], [2.0, 0.0], [4.0, 2.0]))
    fit = result.fit.parameters[0]
    assert fit.value == pytest.approx(-2.0, abs=1e-8)
    assert result.fit.twice_nll == pytest.approx(2 * (2 - 2 * np.log(2) + np.log(2)), abs=1e-8)
    q0 = 2 * ((4 - 2 * np.log(4) + 2) - (2 - 2 * np.log(2)))
    assert result.discovery.q0 == pytest.approx(-q0, abs=1e-8)
    assert result.fit.certificate.edm < EDM_TOLERANCE
    # Every epsilon keeps the point away from the edge by at most that in -ln L, 1e-9 in all.
    above = result.fit.twice_nll - 2 * (2 - 2 * np.log(2) + np.log(2))
    assert -1e-12 < above < 2e-9 * 1.001
    assert result.fit.certificate.edm >= above - 1e-12
    assert any("bin 1 is held at 0" in line for line in result.warnings)


def test_profile_errors_end_where_a_rate_would_be_negative():
    model = CompiledModel.from_reference(
        ReferenceModel(one_sample([1.0, 1.0], [2.0, 0.0], [4.0, 2.0]))
    )
    low, high = profile_errors(model, minimize(model), 0)
    assert low is None

    def rise(mu):  # the likelihood of two bins, and 1 above its value at mu = -2
        return 2 * (4 + mu - 2 * np.log(4 + mu) + 2 + mu) - 2 * (2 - 2 * np.log(2)) - 1

    assert rise(-2 + high) == pytest.approx(0.0, abs=1e-7)
    # An edge on the way: mu_hat = .3, and at mu = -.5 the second rate is 0, less than 1 above.
    other = CompiledModel.from_reference(
        ReferenceModel(one_sample([1.0, 1.0], [5.0, 0.0], [2.2, 0.5]))
    )
    minimum = minimize(other)
    assert minimum.parameters[0] == pytest.approx(0.3, abs=1e-6)
    assert profile_errors(other, minimum, 0)[0] is None


def test_what_has_no_inside_is_refused():
    # Rates mu and -mu in two empty bins: mu = 0 is the only point, and nothing can be said there.
    workspace = one_sample([1.0, -1.0], [0.0, 0.0], [0.0, 0.0])
    minimum = minimize(CompiledModel.from_reference(ReferenceModel(workspace)))
    assert not minimum.converged
    assert "kept at a distance" in minimum.status
    with pytest.raises(FitError, match=r"free fit failed.*kept at a distance"):
        fit_workspace(workspace)


def test_one_compilation_per_structure():
    sizes = []
    for seed in range(4):
        model = CompiledModel.from_reference(ReferenceModel(make_empty("normfactor", seed)))
        table = model.parameters
        held = table.fixed.copy()
        held[table.poi] = True
        for fixed in (table.fixed, held):
            for data in (model.data, model.data + 1):
                problem = Problem(model.on_device, data, fixed, table.lower, table.upper)
                minimize_at_zero(model.codes, problem, table.init)
        sizes.append(minimize_at_zero._cache_size())
    assert len(set(sizes)) == 1


def test_batches_take_the_same_path():
    model = CompiledModel.from_reference(ReferenceModel(make_empty("normfactor", 1)))
    data = np.tile(model.data, (5, 1))
    data[1:, : model.n_main] = np.random.default_rng(0).poisson(0.5, (4, model.n_main))
    batch = minimize_batch(model, data)
    assert batch.n_failed == 0
    assert CAREFUL in batch.status
    for i in range(5):
        alone = minimize(model, data=data[i])
        assert batch.twice_nll[i] == pytest.approx(alone.twice_nll, abs=1e-8)
