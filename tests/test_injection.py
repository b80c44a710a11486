"""Injected signals: Birman et al., Eq. 10 and 11, stock pyhf; the scan against closed forms."""

import json

import numpy as np
import pyhf
import pytest
from conftest import invoke
from engine_models import eigen_variations, gaussian_signal, make_pair
from reference_numbers import CURVE, FLAT, TWELVE_BINS, inject_known, inject_pair, square
from scipy.stats import poisson

from ddphf.cli.inject import make_tables
from ddphf.exceptions import ModelError, UsageError
from ddphf.inference.fitter import Fitter
from ddphf.inference.injection.record import inject_signal
from ddphf.inference.injection.scan import ensemble_fits, scan_strengths
from ddphf.inference.injection.signals import Injection
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.injection import InjectionResult
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace


def pair_workspace(background, signal, tested=None, partner=None):
    """A pair with known background, mu = 1 the stated signal."""
    pair = Pair(
        Channel("b", background if tested is None else tested, signal=Template(signal)),
        Channel("a", background if partner is None else partner),
        known_background=background,
        integer_data=False,
    )
    return build_workspace(pair, signal_scale="auto").workspace


def inject(workspace, measurement=None, background="fit"):
    return Injection(Fitter(ReferenceModel(workspace, measurement)), background=background)


def events(injection, mu):
    return mu * injection.signal.sum()


@pytest.mark.parametrize("level", list(FLAT))
def test_flat_backgrounds_worked_out(level):
    known, paired, z_pair, z_deficit = FLAT[level]
    background, shape = np.full(784, level), square(6)
    workspace = pair_workspace(background, shape * known)
    l1, l2 = inject(workspace, measurement="known_background"), inject(workspace)
    mu = l1.solve(5.0)
    assert events(l1, mu) == pytest.approx(known, abs=2e-6)
    assert events(l2, l2.solve(5.0)) == pytest.approx(paired, abs=2e-6)
    assert l2.asimov_z(mu) == pytest.approx(z_pair, abs=1e-6)
    assert l2.asimov_z(-mu) == pytest.approx(z_deficit, abs=1e-6)
    assert l2.solve(z_deficit) == pytest.approx(-mu, rel=1e-6)
    if level == 1e4:
        for z, expected in CURVE.items():
            assert l2.asimov_z(l1.solve(z)) == pytest.approx(expected, abs=1e-6)


def test_a_background_that_is_not_flat():
    background, shape = np.array(TWELVE_BINS["known"]), TWELVE_BINS["signal"]
    workspace = pair_workspace(background, 30 * shape)
    l1, l2 = inject(workspace, measurement="known_background"), inject(workspace)
    for z in (0.1, 1.0, 3.0):
        for injection, solve in ((l1, inject_known), (l2, inject_pair)):
            expected = solve(background, shape, z)
            assert events(injection, injection.solve(z)) == pytest.approx(expected, rel=1e-8)
    assert l2.solve(0.0) == 0.0


def stock_workspace():
    model = pyhf.simplemodels.uncorrelated_background([5.0, 8.0], [50.0, 60.0], [7.0, 6.0])
    return dict(pyhf.Workspace.build(model, [55.0, 66.0, *model.config.auxdata]))


def test_any_workspace_by_stock_pyhf():
    """The written data are found at the wanted Z by pyhf's own test statistic."""
    written, record = inject_signal(stock_workspace(), z=2.0)
    workspace = pyhf.Workspace(written)
    model = workspace.model()
    q0 = pyhf.infer.test_statistics.q0(
        0.0, workspace.data(model), model, model.config.suggested_init(),
        model.config.suggested_bounds(), model.config.suggested_fixed(),
    )  # fmt: skip
    assert float(q0) == pytest.approx(4.0, abs=1e-5)
    assert record.found.z0 == pytest.approx(2.0, abs=1e-7)
    assert record.found.mu_hat == pytest.approx(record.mu, rel=1e-6)
    assert record.signal_events == {"singlechannel": pytest.approx(13 * record.mu)}
    assert InjectionResult.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_constrained_parameters_stay_where_their_auxiliary_data_are():
    """Observed data that pull a nuisance parameter do not change what is injected."""
    spec = stock_workspace()
    far = {**spec, "observations": [{"name": "singlechannel", "data": [90.0, 120.0]}]}
    one, other = (inject_signal(w, z=2.0)[1] for w in (spec, far))
    assert one.mu == pytest.approx(other.mu, rel=1e-9)


@pytest.mark.parametrize("background", ["fit", "known"])
def test_what_is_injected_is_found_with_other_auxiliary_data(background):
    """Auxiliary data from the measurement's configuration, starting values elsewhere."""
    spec = stock_workspace()
    config = spec["measurements"][0]["config"]
    model = pyhf.Workspace(spec).model()
    name = next(n for n in model.config.par_order if n != model.config.poi_name)
    size = len(model.config.par_map[name]["paramset"].suggested_init)
    moved = {"name": name, "auxdata": [1.02 * x for x in model.config.param_set(name).auxdata],
             "inits": [1.3] * size}  # fmt: skip
    others = [p for p in config["parameters"] if p["name"] != name]
    config = {**config, "parameters": [*others, moved]}
    names = (spec["measurements"][0]["name"], "known_background")
    spec = {**spec, "measurements": [{"name": n, "config": config} for n in names]}
    written, record = inject_signal(spec, z=2.0, background=background)
    assert record.found.mu_hat == pytest.approx(record.mu, rel=1e-5)
    assert record.found.z0 == pytest.approx(2.0, abs=1e-5)
    assert written["measurements"] == spec["measurements"]


def test_background_fitted_or_known():
    background = np.full(12, 400.0)
    observed = np.random.default_rng(2).poisson(400.0, (2, 12)).astype(float)
    workspace = pair_workspace(background, 20 * TWELVE_BINS["signal"], *observed)
    known = inject(workspace, background="known")
    fitted = inject(workspace)
    np.testing.assert_allclose(known.data(0.0, "asimov"), 400.0, rtol=1e-12)
    # Eq. 4 at mu = 0: the mean of the two samples.
    mean = np.tile(observed.mean(axis=0), 2)
    np.testing.assert_allclose(fitted.data(0.0, "asimov"), mean, rtol=1e-9)


def test_kinds_of_data():
    workspace = pair_workspace(np.full(12, 400.0), 20 * TWELVE_BINS["signal"])
    injection = inject(workspace)
    mu = injection.solve(3.0)
    shifted = injection.data(mu, "shift")
    np.testing.assert_allclose(shifted - 400.0, mu * injection.signal, atol=1e-9)
    drawn = injection.data(mu, "poisson", seed=4)
    np.testing.assert_array_equal(drawn, injection.data(mu, "poisson", seed=4))
    assert np.any(drawn != injection.data(mu, "poisson", seed=5))
    np.testing.assert_array_equal(drawn, np.round(drawn))
    assert np.all(np.abs(drawn - shifted) < 6 * np.sqrt(shifted))


def test_fits_of_toys_by_the_closed_form():
    signal = 60 * TWELVE_BINS["signal"]
    workspace = pair_workspace(np.full(12, 100.0), signal)
    injection = inject(workspace)
    scale = injection.signal.max() / signal.max()
    data = np.random.default_rng(6).poisson(100.0, (20, 24)).astype(float)
    mu_hat, error, q0, q_true, failed, _ = ensemble_fits(injection, 0.7, data, shifted=True)
    assert not failed.any()
    for i in range(20):
        tested = data[i, 12:] + 0.7 * scale * signal
        pair = PlainPair.of(tested, data[i, :12], scale * signal)
        fit = pair.fit()
        assert mu_hat[i] == pytest.approx(fit.mu, abs=1e-5 * fit.error)
        assert error[i] == pytest.approx(fit.error, rel=1e-4)
        assert q0[i] == pytest.approx(fit.q0, abs=1e-6)
        assert q_true[i] == pytest.approx(pair.at(0.7).twice_nll() - fit.twice_nll, abs=1e-6)


@pytest.mark.parametrize("kind", ["poisson", "shift"])
def test_scan_is_unbiased_and_covers(kind):
    """400 events per bin: Gaussian enough for nominal coverage within binomial errors."""
    workspace = pair_workspace(np.full(36, 400.0), 150 * gaussian_signal(6, 1.5))
    injection = inject(workspace)
    rows = scan_strengths(injection, [0.0, injection.solve(3.0)], toys=800, kind=kind, seed=3)
    for row, z in zip(rows, (0.0, 3.0), strict=True):
        assert row.z_asimov == pytest.approx(z, abs=1e-9)
        assert (row.n, row.n_failed) == (800, 0)
        assert row.bias == pytest.approx(0.0, abs=4 * row.mu_mean_error)
        assert row.z_mean == pytest.approx(z, abs=4 * row.z_mean_error + 0.02)
        assert row.mu_sd == pytest.approx(row.mu_error_mean, abs=4 * row.mu_sd_error)
        assert row.z_sd == pytest.approx(1.0, abs=4 * row.z_sd_error)
        for level, near, inside in zip(
            (0.6827, 0.95), row.covered_error, row.covered_profile, strict=True
        ):
            band = 4 * np.sqrt(level * (1 - level) / 800)
            assert near == pytest.approx(level, abs=band)
            assert inside == pytest.approx(level, abs=band)
        assert row.coverage_error[0] == pytest.approx(np.sqrt(0.6827 * 0.3173 / 800), rel=0.05)


def test_coverage_of_a_counting_experiment():
    """One bin, known background 8: the intervals' coverage summed over the Poisson law."""
    model = pyhf.Model(
        {"channels": [{"name": "c", "samples": [
            {"name": "s", "data": [1.0],
             "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "b", "data": [8.0], "modifiers": []}]}]}, poi_name="mu",
    )  # fmt: skip
    spec = dict(pyhf.Workspace.build(model, [8.0]))
    spec["measurements"][0]["config"]["parameters"] = [
        {"name": "mu", "inits": [1.0], "bounds": [[-7.9, 90.0]]}
    ]
    (row,) = scan_strengths(inject(spec), [2.0], toys=2000, seed=1)
    n = np.arange(0, 90)
    weight = poisson.pmf(n, 10.0)
    best = np.maximum(n, 0.1)  # the bound of mu
    log_term = np.where(n > 0, n * np.log(best / 10.0), 0.0)
    q = 2 * (10.0 - best + log_term)
    error = np.where(n > 0, np.sqrt(n), 0.0)
    for i, (level, z) in enumerate(((1.0, 1.0), (3.841459, 1.959964))):
        exact = weight[q <= level].sum()
        assert row.covered_profile[i] == pytest.approx(exact, abs=4 * np.sqrt(exact / 4 / 2000))
        exact = weight[np.abs(n - 10.0) <= z * error].sum()
        assert row.covered_error[i] == pytest.approx(exact, abs=4 * np.sqrt(exact / 4 / 2000))


def test_nothing_injected_is_scanned_once():
    _, record = inject_signal(stock_workspace(), z=0.0, toys=16)
    assert [row.mu for row in record.scan] == [0.0]


def test_the_table_has_digits_for_any_scale_of_mu():
    spec = stock_workspace()
    for sample in spec["channels"][0]["samples"]:
        if any(m["type"] == "normfactor" for m in sample["modifiers"]):
            sample["data"] = [1e6 * x for x in sample["data"]]
    _, record = inject_signal(spec, z=2.0, toys=32, seed=1)
    estimates, _ = make_tables(record)
    for column in (1, 2, 3, 4):
        assert all(float(cell) != 0 for cell in estimates.columns[column].cells)


def test_nuisance_parameters_in_the_scan():
    rng = np.random.default_rng(3)
    flat = np.full(36, 400.0)
    workspace = make_pair(
        flat, flat, flat, 150 * gaussian_signal(6, 1.5), variations=eigen_variations(3, 36, rng)
    )
    written, record = inject_signal(workspace, z=3.0, toys=64, scan=[0.5], kind="poisson", seed=9)
    (row,) = record.scan
    assert record.seed == 9
    assert (row.mu, row.n_failed) == (0.5, 0)
    assert row.mu_sd == pytest.approx(row.mu_error_mean, abs=5 * row.mu_sd_error)
    again, _ = inject_signal(workspace, z=3.0, kind="poisson", seed=9)
    assert written == again


def test_refusals_of_the_functions():
    workspace = pair_workspace(np.full(12, 400.0), 20 * TWELVE_BINS["signal"])
    with pytest.raises(UsageError, match="one of the two"):
        inject_signal(workspace, z=1.0, mu=1.0)
    with pytest.raises(ModelError, match=r"no mu reaches Z = 1000: at 10, the bounds"):
        inject_signal(workspace, z=1000.0)
    with pytest.raises(UsageError, match="1 toys, expected 2 or more"):
        scan_strengths(inject(workspace), [0.0], toys=1)
    injection = inject(workspace)
    assert injection.limits == (pytest.approx(-400 / injection.signal.max()), 10.0)


def test_command_writes_workspace_and_record(folder):
    (folder / "pair.json").write_text(json.dumps(stock_workspace()))
    outcome = invoke("inject", "pair.json", "--z", "2", "--toys", "4", "-o", "out/two.json")
    assert outcome.code == 0, outcome.err
    assert "Asimov Z 2.000000" in outcome.err
    assert "68 % profile" in outcome.err
    record = InjectionResult.from_dict(json.loads((folder / "out/two.injection.json").read_text()))
    assert [row.mu for row in record.scan] == [0.0, record.mu / 2, record.mu]
    fitted = invoke("fit", "out/two.json")
    assert json.loads(fitted.out)["discovery"]["z0"] == pytest.approx(2.0, abs=1e-6)
    piped = invoke("inject", "-", "--mu", str(record.mu), stdin=json.dumps(stock_workspace()))
    assert json.loads(piped.out) == json.loads((folder / "out/two.json").read_text())
    assert invoke("inject", "pair.json", "--z", "2", "-o", "out/two.json").code == 2
