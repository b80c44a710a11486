"""Scans against other code, intervals, bounds, and cabinetry's container."""

import json

import matplotlib.figure
import numpy as np
import pyhf
import pytest
from conftest import invoke, plain_workspace
from engine_models import small_pair
from scipy.optimize import minimize_scalar
from scipy.stats import poisson
from test_ranking import with_fakes

from ddphf.inference.scan import scan_parameters
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.dense import minimize_dense
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.scan import ScanResult


def dense_rise(reference, free, held):
    """2NLL with parameters held by value, by the dense Newton on pyhf's logpdf."""
    table = reference.parameters
    start, fixed = np.array(free), table.fixed.copy()
    for name, value in held.items():
        start[table.names.index(name)] = value
        fixed[table.names.index(name)] = True
    found = minimize_dense(reference, start=start, fixed=fixed)
    assert found.converged
    return found.twice_nll


@pytest.mark.parametrize("name", ["mu", "fakes_norm", "symmetric_shape[5]", "fakes_CR_a[2]"])
def test_profile_equals_pyhfs_own_likelihood(name):
    workspace = with_fakes()
    scan = scan_parameters(workspace, [name], points=5)
    reference = ReferenceModel(workspace)
    free = minimize_dense(
        reference, start=reference.parameters.init, fixed=reference.parameters.fixed
    )
    axis = scan.parameters[0]
    assert axis.best == pytest.approx(free.parameters[reference.parameters.names.index(name)])
    assert scan.twice_nll == pytest.approx(free.twice_nll, abs=1e-8)
    for value, delta in zip(axis.values, scan.delta_twice_nll, strict=True):
        expected = dense_rise(reference, free.parameters, {name: value}) - free.twice_nll
        assert delta == pytest.approx(expected, abs=1e-6)
    low, high = axis.values[0] - axis.best, axis.values[-1] - axis.best
    assert high == pytest.approx(3 * axis.error)
    assert low == pytest.approx(-3 * axis.error)


def test_profile_of_a_shapefactor_by_hand():
    """One background of a plain pair: mu profiled numerically, the other bins in closed form."""
    workspace = plain_workspace()
    scan = scan_parameters(workspace, ["symmetric_shape[1]"], points=7)
    data = {o["name"]: np.array(o["data"]) for o in workspace["observations"]}
    a, b, s = data["CR_emu"], data["SR_mue"], np.array([5.0, 20.0, 5.0])

    def value(mu, factor):
        d = np.sqrt((a - b + 2 * mu * s) ** 2 + 4 * a * b)
        background = (a + b - 2 * mu * s + d) / 4
        background[1] = 80.0 * factor
        rates = background, background + mu * s
        if np.any(rates[1] <= 0):
            return np.inf
        return -2 * sum(poisson.logpmf(n, r).sum() for n, r in zip((a, b), rates, strict=True))

    def profile(factor):
        return minimize_scalar(
            value, args=(factor,), bounds=(-3, 5), method="bounded", options={"xatol": 1e-9}
        ).fun

    values = np.array([profile(f) for f in scan.parameters[0].values])
    assert np.allclose(values - scan.twice_nll, scan.grid(), atol=1e-6)


def test_intervals_are_where_the_profile_rises():
    workspace = small_pair(k=2, n=2)
    scan = scan_parameters(workspace, ["mu"])
    axis = scan.parameters[0]
    assert len(axis.values) == 41
    for interval, rise in zip(scan.intervals, (1.0, 4.0), strict=True):
        assert interval["rise"] == pytest.approx(rise, abs=2e-3)
        for end in (interval["low"], interval["high"]):
            again = scan_parameters(workspace, ["mu"], points=2, ranges=[(end - 1e-9, end + 1e-9)])
            assert np.allclose(again.grid(), interval["rise"], atol=1e-6)


def test_contours_reach_the_profile_of_each_parameter():
    """The extent of a contour is the one-parameter interval of the same rise."""
    workspace = small_pair(k=2, n=2)
    names = ["mu", "lepid_main_eig00"]
    scan = scan_parameters(workspace, names, points=21)
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    free = minimize(model)
    assert scan.grid().shape == (21, 21)
    for contour, rise in zip(scan.contours, (2.2958, 6.1805), strict=True):
        assert contour["rise"] == pytest.approx(rise, abs=2e-3)
        (path,) = contour["paths"]
        for name, key in zip(names, "xy", strict=True):
            index = model.parameters.names.index(name)
            low, high = profile_errors(model, free, index, rise=contour["rise"])
            best, error = free.parameters[index], free.errors[index]
            assert min(path[key]) == pytest.approx(best + low, abs=0.01 * error)
            assert max(path[key]) == pytest.approx(best + high, abs=0.01 * error)
    # A point of the plane itself.
    values = {n: a.values[5] for n, a in zip(names, scan.parameters, strict=True)}
    expected = dense_rise(ReferenceModel(workspace), free.parameters, values) - free.twice_nll
    assert scan.grid()[5, 5] == pytest.approx(expected, abs=1e-6)


def test_a_scan_stays_in_the_bounds():
    workspace = small_pair(k=2, n=2)
    workspace["observations"][0]["data"] = [300.0] * 4
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0.0, 3.0]]
    scan = scan_parameters(workspace, ["mu"], points=11)
    axis = scan.parameters[0]
    assert (axis.best, axis.error, axis.values[0]) == (0.0, 0.0, 0.0)
    assert 0 < axis.values[-1] <= 3.0
    assert scan.grid()[0] == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.diff(scan.grid()) > 0)
    assert scan.intervals[0]["low"] is None
    assert scan.intervals[0]["high"] > 0


def test_failed_points_are_none_and_reported():
    """From some value on a rate is negative whatever the other parameters do."""
    model = pyhf.simplemodels.correlated_background([5, 0], [50, 50], [60, -20], [40, 120])
    workspace = dict(pyhf.Workspace.build(model, [60.0, 50.0, *model.config.auxdata]))
    scan = scan_parameters(
        workspace, ["correlated_bkg_uncertainty"], points=5, ranges=[(-0.5, 1.5)]
    )
    assert scan.delta_twice_nll[-1] is None
    assert scan.delta_twice_nll[0] is not None
    assert scan.failures[-1]["values"] == [1.5]
    assert any("have no certificate" in line for line in scan.warnings)
    json.dumps(scan.to_dict(), allow_nan=False)


def test_command_line_and_cabinetry(folder):
    from cabinetry import visualize

    (folder / "workspace.json").write_text(json.dumps(plain_workspace()))
    options = ["--parameter", "mu", "--points", "9", "--range", "-2", "3", "--plots", "p"]
    outcome = invoke("scan", "workspace.json", "-o", "scan.json", *options)
    assert outcome.code == 0, outcome.err
    assert "68.27%" in outcome.err
    data = json.loads((folder / "scan.json").read_text())
    assert data["schema"] == "ddphf/scan/1"
    assert data["parameters"][0]["values"] == np.linspace(-2, 3, 9).tolist()
    assert "contours" not in data
    result = ScanResult.from_dict(data)
    assert json.loads(json.dumps(result.to_dict())) == data
    figure = visualize.scan(result.to_cabinetry(), save_figure=False)
    assert isinstance(figure, matplotlib.figure.Figure)
    assert (folder / "p" / "scan.png").stat().st_size > 5000
    options = ["--parameter", "mu", "--parameter", "symmetric_shape[1]", "--points", "5"]
    outcome = invoke("scan", "-", *options, "--plots", "q", stdin=json.dumps(plain_workspace()))
    assert outcome.code == 0, outcome.err
    plane = ScanResult.from_dict(json.loads(outcome.out))
    assert plane.grid().shape == (5, 5)
    assert len(plane.contours) == 2
    assert plane.intervals == ()
    assert (folder / "q" / "scan.png").exists()
    with pytest.raises(ValueError, match="a scan of two"):
        plane.to_cabinetry()


def test_a_null_that_cannot_be_fitted_stops_no_scan():
    """Observed events where only the signal is expected: mu = 0 has no likelihood."""
    model = pyhf.simplemodels.correlated_background([5, 5], [50, 0], [52, 0], [48, 0])
    workspace = dict(pyhf.Workspace.build(model, [60.0, 9.0, *model.config.auxdata]))
    scan = scan_parameters(workspace, ["mu"], points=5)
    assert any("no null fit" in line for line in scan.warnings)
    assert scan.parameters[0].best > 1.0
    assert None not in scan.delta_twice_nll[1:]
