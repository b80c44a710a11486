"""A nuisance parameter with a minimum on either side: every held fit is the lowest."""

from __future__ import annotations

import numpy as np
import pytest
from odd_models import STRENGTH, bounded, workspace

from ddphf import discover_workspace, limit_workspace, scan_parameters
from ddphf.inference.fitter import Fitter
from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.ranking.impacts import rank_model
from ddphf.inference.ranking.priors import read_priors
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.fits import minimize_starts
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import silent

GRID = np.linspace(-5.0, 5.0, 20_001)


def histosys(name, up, down):
    return {"name": name, "type": "histosys", "data": {"hi_data": up, "lo_data": down}}


@pytest.fixture(scope="module")
def two_sided():
    """Both sides of a variation raise the first bin; which one fits depends on mu."""
    variation = histosys("norm", [134.0, 80.0, 127.0], [124.0, 109.0, 108.0])
    return workspace(
        [("signal", [9.0, 6.0, 4.0], [STRENGTH]), ("background", [100.0] * 3, [variation])],
        [139, 128, 126],
        [bounded("mu", -20, 40)],
    )


@pytest.fixture(scope="module")
def fitter(two_sided):
    return Fitter(ReferenceModel(two_sided))


def lowest(model, mu, data=None):
    """Return the lowest 2NLL at mu, by all values of the only other parameter."""
    points = np.empty((len(GRID), 2))
    poi = model.parameters.poi
    points[:, poi], points[:, 1 - poi] = mu, GRID
    return np.nanmin(model.direct.twice_nll(points, model.data if data is None else data))


def test_a_scan_takes_the_lowest_at_every_point(two_sided, fitter):
    scan = scan_parameters(two_sided, ["mu"], points=15)
    values = scan.parameters[0].values
    expected = [lowest(fitter.compiled, mu) - scan.twice_nll for mu in values]
    np.testing.assert_allclose(scan.delta_twice_nll, expected, atol=1e-4)
    assert any("several minima (norm)" in warning for warning in scan.warnings)
    for interval in scan.intervals:
        for end in (interval["low"], interval["high"]):
            rise = lowest(fitter.compiled, end) - scan.twice_nll
            assert rise == pytest.approx(interval["rise"], abs=1e-4)


def test_a_scan_in_two_parameters_has_no_other_sides(two_sided, fitter):
    scan = scan_parameters(two_sided, ["mu", "norm"], points=5)
    model = fitter.compiled
    for mu, row in zip(scan.parameters[0].values, scan.delta_twice_nll, strict=True):
        for norm, delta in zip(scan.parameters[1].values, row, strict=True):
            point = np.empty(2)
            point[model.parameters.poi], point[1 - model.parameters.poi] = mu, norm
            assert delta == pytest.approx(model.twice_nll(point) - scan.twice_nll, abs=1e-8)


def test_profiles_of_limits_and_errors_take_the_lowest(two_sided, fitter):
    free, model = fitter.fit_free(silent).free, fitter.compiled
    profile = ProfileScan(model, free=free)
    best, error = profile.mu_hat, free.error(model.parameters.poi)
    for k in (-3.0, 3.0, -2.0, 2.0, -1.0, 1.0, -0.3):
        mu = best + k * error
        assert profile.t(mu) == pytest.approx(lowest(model, mu) - free.twice_nll, abs=1e-4)
    for rise in (1.0, 4.0, 9.0):
        for size in profile_errors(model, free, model.parameters.poi, rise=rise):
            found = lowest(model, best + size) - free.twice_nll
            assert found == pytest.approx(rise, abs=1e-4)
    for interval in limit_workspace(two_sided, interval=True).intervals:
        rises = [lowest(model, end) - free.twice_nll for end in (interval.lower, interval.upper)]
        assert rises[0] == pytest.approx(rises[1], abs=2e-4)


def test_toys_and_asimov_data_come_from_the_lowest_null(two_sided, fitter):
    null, model = fitter.fit_both(silent).null, fitter.compiled
    source = ToySource.conditional(model)
    assert null.twice_nll == pytest.approx(lowest(model, 0.0), abs=1e-4)
    np.testing.assert_allclose(source.parameters, null.parameters, atol=1e-6)


def test_the_expected_significance_is_that_of_the_lowest_null(two_sided, fitter):
    model = fitter.compiled
    expected = discover_workspace(two_sided).statements[0].expected
    source = ToySource.conditional(model, expected.mu)
    data = source.expected()
    q0 = lowest(model, 0.0, data) - model.twice_nll(source.parameters, data=data)
    assert abs(expected.q0) == pytest.approx(q0, abs=1e-4)


def test_a_held_fit_is_the_lowest(fitter):
    """Tested values of a measurement are fitted so."""
    table, free = fitter.reference.parameters, fitter.fit_free(silent).free
    start, held = free.parameters.copy(), table.fixed.copy()
    start[table.poi], held[table.poi] = 0.0, True
    found = fitter.minimize(start, held, "held").minimum
    assert found.twice_nll == pytest.approx(lowest(fitter.compiled, 0.0), abs=1e-4)


def test_the_free_fit_starts_at_the_null_too():
    """A start at the null finds the minimum that no single side leads to."""
    variations = [
        histosys("one", [92.0, 130.0, 89.0], [114.0, 102.0, 122.0]),
        histosys("other", [91.0, 119.0, 110.0], [88.0, 101.0, 116.0]),
    ]
    samples = [("signal", [14.0, 3.0, 13.0], [STRENGTH]), ("background", [100.0] * 3, variations)]
    document = workspace(samples, [63, 70, 155], [bounded("mu", -20, 40)])
    fitter = Fitter(ReferenceModel(document))
    found, model = fitter.fit_both(silent), fitter.compiled
    others = np.stack(np.meshgrid(*[np.linspace(-4, 4, 5)] * 3), axis=-1).reshape(-1, 3)
    ends = [m.twice_nll for m in minimize_starts(model, others) if m.converged]
    assert found.free.twice_nll == pytest.approx(min(ends), abs=1e-7)
    assert fitter.fit_free(silent).free.twice_nll == found.free.twice_nll


def test_refits_of_a_ranking_are_the_lowest(fitter):
    """Of the POI and one nuisance parameter: the POI is free at the shifted data."""
    ranked, model = rank_model(fitter), fitter.compiled
    (norm,) = ranked.parameters
    poi, priors = model.parameters.poi, read_priors(model)
    for sign, impact in ((1.0, norm.auxiliary_up), (-1.0, norm.auxiliary_down)):
        data = priors.shifted(model.data, 1 - poi, sign)
        starts = np.stack(np.meshgrid([-9.0, 0.0, 9.0], np.linspace(-3, 3, 7)), -1).reshape(-1, 2)
        starts = starts[:, [0, 1] if poi == 0 else [1, 0]]
        ends = [m for m in minimize_starts(model, starts, data=data) if m.converged]
        best = min(ends, key=lambda m: m.twice_nll)
        assert ranked.poi.value + impact == pytest.approx(best.parameters[poi], abs=1e-4)


def test_refits_that_jump_to_another_minimum_are_found_and_said():
    """At shifted auxiliary data a minimum that two parameters lead to may be the lowest."""
    variations = [
        histosys("one", [129.0, 99.0, 98.0], [108.0, 129.0, 91.0]),
        histosys("other", [97.0, 111.0, 97.0], [105.0, 102.0, 88.0]),
    ]
    samples = [("signal", [3.0, 4.0, 10.0], [STRENGTH]), ("background", [100.0] * 3, variations)]
    fitter = Fitter(ReferenceModel(workspace(samples, [148, 144, 125], [bounded("mu", -20, 40)])))
    ranked, model = rank_model(fitter), fitter.require_compiled("rankings")
    assert any("refits are lower in another one" in line for line in ranked.warnings)
    table, priors = model.parameters, read_priors(model)
    starts = np.stack(np.meshgrid(*[np.linspace(-4, 4, 5)] * 3), axis=-1).reshape(-1, 3)
    for found in ranked.parameters:
        for sign, impact in ((1.0, found.auxiliary_up), (-1.0, found.auxiliary_down)):
            data = priors.shifted(model.data, table.names.index(found.name), sign)
            ends = [m for m in minimize_starts(model, starts, data=data) if m.converged]
            best = min(ends, key=lambda m: m.twice_nll)
            assert ranked.poi.value + impact == pytest.approx(best.parameters[table.poi], abs=1e-5)
