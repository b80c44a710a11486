"""Discovery statements against closed forms, exact Poisson sums, brute force, published numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke, plain_workspace
from engine_models import make_pair
from others_data import OTHERS, needs
from reference_numbers import FLAT, inject_pair, square
from scipy.stats import kstest, norm, poisson

from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.inference.discovery import discover_workspace, expect_discovery
from ddphf.inference.fit import fit_workspace
from ddphf.inference.nulls import compare_nulls
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.importance import _proposal, _remedy, log_ratio, sample_importance
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, summarize_toys
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.discover import DiscoverResult
from ddphf.statistics.tails import FAILED


def compiled(workspace):
    return CompiledModel.from_reference(ReferenceModel(workspace))


def counting(background, signal, observed, lower=-3.0):
    """One bin with a known background: q0 grows with the count, so p-values are Poisson sums."""
    return {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "s",
                        "data": [signal],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                    {"name": "b", "data": [background], "modifiers": []},
                ],
            }
        ],
        "observations": [{"name": "c", "data": [float(observed)]}],
        "measurements": [
            {
                "name": "m",
                "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[lower, 50.0]]}]},
            }
        ],
        "version": "1.0.0",
    }


def flat_pair(mean, mu, signal, *, shift=True, seed=None):
    flat = np.full(signal.size, float(mean))
    tested = flat + mu * signal
    partner = flat
    if seed is not None:
        rng = np.random.default_rng(seed)
        partner, tested = rng.poisson(flat), rng.poisson(tested)
    return make_pair(flat, partner, tested if shift else flat, signal * mu)


def with_known_background(workspace):
    parameters = json.loads(json.dumps(workspace["measurements"][0]["config"]["parameters"]))
    parameters[1]["fixed"] = True
    config = {"poi": "mu", "parameters": parameters}
    workspace["measurements"].append({"name": "known_background", "config": config})
    return workspace


@pytest.mark.parametrize("mean", FLAT)
def test_expected_significance_of_flat_pairs(mean):
    mu, _, z_pair, _ = FLAT[mean]
    workspace = with_known_background(flat_pair(mean, mu, square(6)))
    result = discover_workspace(workspace, mu_expected=None)
    pair, known = result.statements
    assert [s.measurement for s in result.statements] == ["discovery", "known_background"]
    assert pair.expected.z0 == pytest.approx(z_pair, abs=2e-6)
    assert known.expected.z0 == pytest.approx(5.0, abs=2e-6)
    np.testing.assert_allclose(
        known.expected.z0_asymptotic, known.expected.z0 + np.arange(-2, 3), rtol=1e-12
    )


@needs("cabinetry_tutorial")
def test_published_significances():
    spec = json.loads((OTHERS / "cabinetry_tutorial/built_example_workspace.json").read_text())
    reference = json.loads((OTHERS / "cabinetry_tutorial/reference.json").read_text())
    statement = discover_workspace(spec).statements[0]
    # Printed with three decimals; the expected one moves by 3e-4 with minuit's tolerance.
    assert statement.observed.z0 == pytest.approx(reference["significance"]["observed"], abs=6e-4)
    assert statement.expected.z0 == pytest.approx(reference["significance"]["expected"], abs=1e-3)
    folder = OTHERS / "pyhf_validation_micro"
    spec = json.loads((folder / "q0.workspace.json").read_text())
    reference = json.loads((folder / "reference.json").read_text())["1bin_shapesys_q0"]
    statement = discover_workspace(spec).statements[0]
    assert statement.observed.p0 == pytest.approx(reference["obs"], rel=3e-4)
    expected = norm.sf(statement.expected.z0_asymptotic)[::-1]
    np.testing.assert_allclose(expected, reference["exp"], rtol=5e-4)


@needs("cabinetry_tutorial")
def test_toys_leave_a_local_minimum():
    """One-sided variations make two minima: the free fit starts again from the null's."""
    spec = json.loads((OTHERS / "cabinetry_tutorial/built_example_workspace.json").read_text())
    toys = toy_ensemble(ToySource.conditional(compiled(spec), 1.0), 1000, seed=2)
    assert not np.any(toys.status == FAILED)


def test_toy_null_against_exact_poisson():
    result = discover_workspace(counting(30.0, 10.0, 41), nulls=("toys",), toys=8000, seed=4)
    statement = result.statements[0]
    exact = poisson.sf(40, 30.0)
    assert statement.toys["p0"] == pytest.approx(exact, abs=4 * np.sqrt(exact / 8000))
    assert statement.toys["resolved"]
    # The asymptotic p0 is off by more than the toys' error.
    assert abs(statement.observed.p0 - exact) > 0.1 * exact
    # Expected by toys: quantiles of the Poisson with the signal, through the exact q0.
    counts = poisson.ppf(norm.cdf(np.arange(-2, 3)), 40.0)
    z = np.sign(counts - 30) * np.sqrt(2 * (30 - counts + counts * np.log(counts / 30)))
    step = 1 / np.sqrt(30.0)  # of Z per event
    np.testing.assert_allclose(statement.expected.toys["z0"], z, atol=1.1 * step)


@pytest.mark.parametrize(("background", "observed"), [(30.0, 49), (400.0, 497), (3.0, 16)])
def test_importance_sampling_against_exact_poisson(background, observed):
    model = compiled(counting(background, 10.0, observed, lower=0.0))
    mu = (observed - background) / 10.0
    q0 = 2 * (background - observed + observed * np.log(observed / background))
    null = ToySource.conditional(model)
    found = sample_importance(null, mu, q0, 4000, seed=2)
    exact = poisson.sf(observed - 1, background)
    assert 3 < norm.isf(exact) < 5.5
    assert found.p0 == pytest.approx(exact, abs=4 * found.p0_error)
    assert found.p0_error < 0.1 * exact
    assert found.normalization == pytest.approx(1.0, abs=4 * found.normalization_error)
    low, high = found.z0_interval
    assert low < found.z0 < high


@pytest.mark.parametrize("z", [3.0, 4.5])
def test_importance_sampling_of_a_pair(z):
    """At 1e4 events per bin asymptotics hold; at z = 3 brute force counts too."""
    signal = square(4, 6)
    mu = inject_pair(np.full(36, 1e4), signal, z)
    result = discover_workspace(
        flat_pair(1e4, mu, signal), nulls=("asymptotic", "importance"), toys=5000, seed=3
    )
    statement = result.statements[0]
    assert statement.observed.z0 == pytest.approx(z, abs=1e-6)
    assert statement.importance.p0 == pytest.approx(norm.sf(z), rel=0.15)
    assert statement.importance.p0_error < 0.05 * statement.importance.p0
    if z == 3:
        toys = toy_ensemble(
            ToySource.conditional(compiled(flat_pair(1e4, mu, signal))), 100_000, seed=5
        )
        brute = summarize_toys(toys, statement.observed.q0)
        error = np.hypot(np.sqrt(brute.n_ge) / brute.n, statement.importance.p0_error)
        assert statement.importance.p0 == pytest.approx(brute.p0, abs=4 * error)


def test_importance_sampling_at_low_counts_against_brute_force():
    """Asymptotics fail by a factor here; empty bins make rates of the proposal vanish."""
    signal = square(2, 6)
    workspace = flat_pair(2.0, 14.0, signal, seed=3)
    model = compiled(workspace)
    statement = discover_workspace(workspace, nulls=("importance",), toys=40_000, seed=1)
    found, q0 = statement.statements[0].importance, statement.statements[0].observed.q0
    brute = summarize_toys(toy_ensemble(ToySource.conditional(model), 100_000, seed=8), q0)
    assert brute.n_ge > 50
    error = np.hypot(np.sqrt(brute.n_ge) / brute.n, found.p0_error)
    assert found.p0 == pytest.approx(brute.p0, abs=4 * error)


def test_importance_weights_are_likelihood_ratios():
    """By pyhf's own likelihood, auxiliary data of both kinds included."""
    rng = np.random.default_rng(2)
    flat = np.full(6, 50.0)
    variations = (rng.normal(0, 0.03, (2, 6)), rng.normal(0, 0.03, (2, 6)))
    workspace = make_pair(
        flat, rng.poisson(flat), rng.poisson(flat + 6), np.full(6, 6.0), variations=variations,
        fakes=(np.full(6, 8.0), np.full(6, 5.0)), errors=(np.full(6, 2.0), np.full(6, 1.0)),
    )  # fmt: skip
    reference = ReferenceModel(workspace)
    model = CompiledModel.from_reference(reference)
    one, other = ToySource.conditional(model, 1.0), ToySource.conditional(model)
    data = one.draw_block(1, 0)[:5]
    expected = [
        0.5 * (reference.twice_nll(other.parameters, data=d)
               - reference.twice_nll(one.parameters, data=d))
        for d in data
    ]  # fmt: skip
    np.testing.assert_allclose(log_ratio(one, other, data), expected, atol=1e-8)


def test_importance_sampling_refuses():
    model = compiled(counting(30.0, 10.0, 49))
    null = ToySource.conditional(model)
    with pytest.raises(ModelError, match="no excess"):
        sample_importance(null, -1.0, -2.0, 1000, seed=0)
    with pytest.raises(InputError, match="100 toys, expected at least 500"):
        sample_importance(null, 2.0, 9.0, 100, seed=0)
    with pytest.raises(FitError, match=r"effective number of .* of 1000 toys reach the observed"):
        sample_importance(null, 0.2, 60.0, 1000, seed=0)


def test_a_null_that_cannot_be_done_is_said_and_the_others_are_kept():
    workspace = counting(5.0, 1.0, 90)  # mu <= 50, below the data
    result = discover_workspace(workspace, nulls=("asymptotic", "toys", "importance"), toys=600)
    statement = result.to_dict()["statements"][0]
    assert statement["null"]["importance"] is None
    reason = statement["null"]["failed"]["importance"]
    assert reason.endswith("the data lie beyond: widen the bound")
    assert f"the null by importance is missing: {reason}" in result.warnings[-1]
    assert statement["null"]["toys"]["n"] == 600
    assert statement["null"]["asymptotic"]["z0"] == statement["observed"]["z0"]
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert DiscoverResult.from_dict(data).to_dict() == data


def signal_alone(observed):
    """Two bins, the second of signal alone."""
    workspace = counting(30.0, 10.0, observed)
    signal, background = workspace["channels"][0]["samples"]
    signal["data"], background["data"] = [10.0, 3.0], [30.0, 0.0]
    workspace["observations"][0]["data"] = [float(observed), 0.0]
    return workspace


def test_a_bin_of_signal_alone_keeps_what_was_observed():
    """No data with the signal are possible without it, so nothing is expected of it."""
    nulls = ("asymptotic", "toys")
    result = discover_workspace(signal_alone(60), nulls=nulls, toys=100, seed=2)
    (statement,) = result.statements
    # d(2NLL)/d(mu) = 0: 10 n / (30 + 10 mu) = 13.
    rate = 10 * 60 / 13
    mu = (rate - 30) / 10
    assert statement.observed.mu_hat == pytest.approx(mu, rel=1e-6)
    q0 = 2 * (60 * np.log(rate / 30) - 13 * mu)
    assert statement.observed.q0 == pytest.approx(q0, rel=1e-6)
    assert statement.expected is None
    assert result.to_dict()["statements"][0]["expected"] is None
    assert any("in channel 'c', bin 1 signal alone is expected" in w for w in result.warnings)
    assert statement.toys["n_ge"] == 0  # of 100: P(n >= 60 | 30) is 1e-6
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert DiscoverResult.from_dict(data).to_dict() == data


def test_importance_sampling_draws_nothing_where_the_null_has_nothing():
    """An event there has weight 0."""
    null = ToySource.conditional(compiled(signal_alone(60)))
    proposal = _proposal(null, 1.0)
    assert proposal.rates[1] == 0
    assert proposal.rates[0] > null.rates[0]
    data = np.array([[50.0, 0.0]])
    expected = poisson.logpmf(50, proposal.rates[0]) - poisson.logpmf(50, 30.0)
    assert log_ratio(proposal, null, data) == pytest.approx(expected, rel=1e-9)


def test_too_few_toys_for_importance_sampling_keep_the_other_nulls():
    nulls = ("asymptotic", "toys", "importance")
    result = discover_workspace(counting(30.0, 10.0, 49), nulls=nulls, toys=100)
    null = result.to_dict()["statements"][0]["null"]
    assert null["failed"] == {"importance": "importance sampling: 100 toys, expected at least 500"}
    assert null["importance"] is None
    assert null["toys"]["n"] == 100
    with pytest.raises(InputError, match="100 toys, expected at least 500"):
        discover_workspace(counting(30.0, 10.0, 49), nulls=("importance",), toys=100)


def test_a_second_statement_that_fails_keeps_the_first():
    """Its background is held at 0, where there are events."""
    workspace = with_known_background(flat_pair(100.0, 100.0, square(2, 3), seed=1))
    workspace["measurements"][1]["config"]["parameters"][1]["inits"] = [0.0] * 9
    workspace["measurements"][1]["config"]["parameters"][1]["bounds"] = [[0.0, 10.0]] * 9
    result = discover_workspace(workspace)
    assert [s.measurement for s in result.statements] == ["discovery"]
    assert result.warnings[-1].startswith("known_background: this statement is missing: ")
    fit = fit_workspace(workspace)
    assert fit.discovery.z0 == pytest.approx(result.statements[0].observed.z0, abs=1e-9)
    assert fit.known_background is None
    assert any("known_background: this statement is missing" in w for w in fit.warnings)


@pytest.mark.parametrize(
    ("size", "advice"),
    [(5.0, "ask for more toys, at least 12000"), (50.0, "at least 1200"),
     (1e-3, "even 1e+07 toys would not do"), (0.0, "the asymptotic p0 is all there is")],
)  # fmt: skip
def test_the_remedy_for_few_effective_toys_is_one(size, advice):
    assert advice in _remedy(600, size)


def test_deficits_have_no_importance_sampling():
    result = discover_workspace(counting(30.0, 10.0, 20), nulls=("importance",), toys=1000)
    assert result.statements[0].importance is None
    assert "no excess" in result.warnings[0]


@pytest.mark.parametrize(("error", "z"), [(0.002357, 2.501), (0.01, 0.812)])
def test_a_ratio_error_without_side_bins(error, z):
    """One bin that holds the 6 x 6 window: nothing but the calibration measures the ratio."""
    total, mu = 36e4, FLAT[1e4][0]
    up = (np.full((1, 1), error), np.zeros((1, 1)))
    workspace = make_pair([total], [total], [total + mu], [mu], variations=up)
    statement = discover_workspace(workspace).statements[0]
    # The numbers are of the Gaussian approximation, good to mu / total.
    assert statement.observed.z0 == pytest.approx(z, abs=0.01)


@pytest.mark.parametrize("reference", ["normal", "normal_capped"])
def test_comparison_of_nulls(reference):
    n = 3000
    z = np.random.default_rng(3).normal(0.05, 1.1, n)
    if reference == "normal_capped":
        z = np.maximum(z, 0.0)
    toys = ToySample(
        np.zeros(n, int), np.arange(n), z * np.abs(z), z, np.zeros(n, np.int8),
        np.zeros(n, bool), 0.0, "",
    )  # fmt: skip
    comparison = compare_nulls(toys, reference=reference)
    if reference == "normal":
        expected = kstest(z, "norm")
        assert comparison.ks_distance == pytest.approx(expected.statistic, abs=1e-12)
        assert comparison.ks_p_value == pytest.approx(expected.pvalue, rel=1e-6)
    else:
        grid = np.linspace(0, 5, 100_001)
        by_grid = np.searchsorted(np.sort(z), grid, side="right") / n - norm.cdf(grid)
        assert comparison.ks_distance == pytest.approx(np.max(np.abs(by_grid)), abs=4e-4)
    assert sum(comparison.counts) + comparison.below + comparison.above == n
    assert comparison.counts == tuple(np.histogram(z, comparison.edges)[0])
    assert len(comparison.toys) == len(comparison.probability)
    np.testing.assert_allclose(comparison.toys, np.quantile(z, comparison.probability))


def test_a_small_p_value_is_a_bound_and_never_zero():
    result = discover_workspace(counting(30.0, 10.0, 66), nulls=("asymptotic", "toys"), toys=500)
    toys = result.to_dict()["statements"][0]["null"]["toys"]
    assert (toys["p0"], toys["z0"], toys["n_ge"], toys["resolved"]) == (None, None, 0, False)
    # Clopper-Pearson: 1 - .15865^(1/500).
    assert toys["p0_interval"] == pytest.approx([0.0, 1 - norm.sf(1.0) ** (1 / 500)], rel=1e-3)
    assert "--null importance" in result.warnings[0]
    extreme = discover_workspace(counting(1e4, 1e4, 20_000)).to_dict()["statements"][0]
    assert extreme["observed"]["z0"] > 38
    assert extreme["observed"]["p0"] is None
    assert extreme["null"]["asymptotic"]["p0"] is None
    assert extreme["null"]["asymptotic"]["log10_p0"] < -320


def test_importance_sampling_is_not_advised_where_it_was_done():
    methods = ("toys", "importance")
    result = discover_workspace(counting(30.0, 10.0, 66), nulls=methods, toys=2000)
    assert result.warnings[0].endswith("toys reach the observed q0, too few for p0 (68 % upper "
                                       "end 0.00092)")  # fmt: skip
    with pytest.raises(FitError, match="POI is at its upper bound, and the data lie beyond: widen"):
        discover_workspace(counting(5.0, 1.0, 90), nulls=("importance",), toys=1000)


@pytest.mark.parametrize(
    ("poi", "fixed", "message"),
    [
        ("", False, "'m' has no POI, so there is no signal strength to hold at 0"),
        ("mu", True, "'m' holds its POI 'mu' fixed, so it tests no signal"),
        ("lumi", False, "'m' has a POI that is no normfactor, 'lumi': 0 is no null"),
    ],
)
def test_a_measurement_without_a_null_says_why(poi, fixed, message):
    workspace = counting(30.0, 10.0, 41)
    lumi = {"name": "lumi", "type": "lumi", "data": None}
    for sample in workspace["channels"][0]["samples"]:
        sample["modifiers"].append(lumi)
    config = workspace["measurements"][0]["config"]
    config["poi"] = poi
    config["parameters"][0]["fixed"] = fixed
    config["parameters"].append(
        {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]], "inits": [1.0]}
    )
    with pytest.raises(ModelError, match=message):
        discover_workspace(workspace)


def test_record_survives_json_and_seeds_repeat():
    workspace = flat_pair(100.0, 100.0, square(2, 6), seed=1)
    methods = ("asymptotic", "toys", "importance")
    first = discover_workspace(workspace, nulls=methods, toys=700, seed=9)
    again = discover_workspace(workspace, nulls=methods, toys=700, seed=9)
    assert first.to_dict() == again.to_dict()
    data = json.loads(json.dumps(first.to_dict()))
    assert DiscoverResult.from_dict(data).to_dict() == data
    with pytest.raises(ValueError, match="expected schema 'ddphf/discover/1'"):
        DiscoverResult.from_dict({**data, "schema": "ddphf/fit/1"})


def test_signal_toys_follow_the_asimov_expectation():
    """Median and width of Z at 1e4 events per bin; 2000 toys know them to .028 and .016."""
    signal = square(4, 6)
    mu = inject_pair(np.full(36, 1e4), signal, 3.5)
    result = discover_workspace(flat_pair(1e4, mu, signal), nulls=("toys",), toys=2000, seed=6)
    expected = result.statements[0].expected
    bands = np.array(expected.toys["z0"])
    assert expected.z0 == pytest.approx(3.5, abs=1e-6)
    # Four standard errors of the quantiles of 2000 normal numbers.
    error = 4 * np.sqrt(norm.cdf([-2, -1, 0, 1, 2]) * norm.sf([-2, -1, 0, 1, 2]) / 2000)
    np.testing.assert_array_less(
        np.abs(bands - expected.z0_asymptotic), error / norm.pdf([-2, -1, 0, 1, 2]) + 0.01
    )
    # At the median 2000 null toys see about nothing: a bound, not 0.
    assert expected.toys["p0_null_toys"][4] is None


def test_expectation_needs_a_mu_inside_the_bounds():
    with pytest.raises(ModelError, match=r"mu = 60 is outside the bounds \[-3, 50\] of the POI"):
        discover_workspace(counting(30.0, 10.0, 41), mu_expected=60.0)
    with pytest.raises(ModelError, match="mu = nan is outside"):
        discover_workspace(counting(30.0, 10.0, 41), mu_expected=float("nan"))


def test_bounds_below_the_stated_signal_keep_what_was_observed(folder):
    """Nobody asked for the expectation at 1."""
    Path("w.json").write_text(json.dumps(counting(30.0, 10.0, 33)))
    bounds = ("--poi-bounds", "-1,0.5")
    done = invoke("discover", "w.json", *bounds, "-o", "discover.json")
    assert done.code == 0, done.err
    assert (
        "ddphf: warning: m: the expected significance is missing: mu = 1 is outside the bounds "
        "[-1, 0.5] of the POI 'mu'; take one inside, or widen the bounds\n"
    ) in done.err
    (statement,) = json.loads(Path("discover.json").read_text())["statements"]
    assert statement["expected"] is None
    q0 = 2 * (33 * np.log(33 / 30) - 3)
    assert statement["observed"]["q0"] == pytest.approx(q0, rel=1e-8)
    done = invoke("discover", "w.json", *bounds, "--mu-expected", "0.3", "-o", "-")
    assert json.loads(done.out)["statements"][0]["expected"]["mu"] == 0.3
    assert invoke("discover", "w.json", *bounds, "--mu-expected", "0.7", "-o", "-").code == 3


def test_toys_of_another_model_are_refused():
    model = compiled(counting(30.0, 10.0, 41))
    toys = toy_ensemble(ToySource.conditional(model), 64, seed=1)
    with pytest.raises(InputError, match="toys are of another model or data set"):
        discover_workspace(counting(31.0, 10.0, 41), nulls=("toys",), sample=toys)
    with_signal = toy_ensemble(ToySource.conditional(model, 1.0), 64, seed=1)
    with pytest.raises(InputError, match="not drawn at mu = 0"):
        discover_workspace(counting(30.0, 10.0, 41), nulls=("toys",), sample=with_signal)


def test_failed_toys_above_one_in_a_thousand_are_refused():
    toys = toy_ensemble(ToySource.conditional(compiled(counting(30.0, 10.0, 41))), 640, seed=1)
    toys = replace(toys, status=np.where(np.arange(640) < 1, 2, toys.status))
    with pytest.raises(FitError, match="1 of 640 toys have no certificate"):
        discover_workspace(counting(30.0, 10.0, 41), nulls=("toys",), sample=toys)


def test_asimov_data_are_fitted_exactly():
    model = compiled(flat_pair(400.0, 100.0, square(2, 6), seed=2))
    source = ToySource.conditional(model, 0.7)
    fit = minimize(model, data=source.expected())
    np.testing.assert_allclose(fit.parameters, source.parameters, rtol=1e-5)
    assert expect_discovery(source).mu == 0.7


def run(folder, *options, workspace=None):
    (folder / "w.json").write_text(json.dumps(workspace or plain_workspace()))
    return invoke("discover", "w.json", *options)


def test_command_writes_json_and_figures(folder):
    workspace = with_known_background(plain_workspace())
    options = ["--null", "asymptotic,toys", "--toys", "600", "--plots", "plots", "-o", "d.json"]
    outcome = run(folder, *options, workspace=workspace)
    assert outcome.code == 0, outcome.err
    data = json.loads((folder / "d.json").read_text())
    assert data["schema"] == "ddphf/discover/1"
    assert [s["measurement"] for s in data["statements"]] == ["discovery", "known_background"]
    assert "expected, toys (median)" in outcome.err
    for name in ("discover_null.png", "discover_null_known_background.png"):
        assert (folder / "plots" / name).read_bytes().startswith(b"\x89PNG")
    assert run(folder, *options, workspace=workspace).code == 2
    assert run(folder, *options, "--force", workspace=workspace).code == 0


def test_command_takes_toys_from_a_file(folder):
    (folder / "w.json").write_text(json.dumps(plain_workspace()))
    assert invoke("toys", "w.json", "-o", "t.npz", "--toys", "300", "--seed", "3").code == 0
    kept = run(folder, "--null", "toys", "--toys-file", "t.npz")
    drawn = run(folder, "--null", "toys", "--toys", "300", "--seed", "3")
    assert kept.code == drawn.code == 0
    one, other = (json.loads(o.out)["statements"][0]["null"]["toys"] for o in (kept, drawn))
    assert one == other


def test_command_reads_a_pipe_and_expects_mu_hat():
    outcome = invoke(
        "discover", "-", "--mu-expected", "mu_hat", stdin=json.dumps(plain_workspace())
    )
    statement = json.loads(outcome.out)["statements"][0]
    assert statement["expected"]["mu"] == statement["observed"]["mu_hat"]
    assert list(statement["null"]) == ["asymptotic"]


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "z_mean", "z_sd"), [(1e4, 3.53, 1.0), (100.0, 3.53, 1.002)])
def test_signal_toys_of_the_paper(mean, z_mean, z_sd):
    """28 x 28 bins, signal drawn: mean and width of Z at Z_L1 = 5."""
    workspace = flat_pair(mean, FLAT[mean][0], square(6))
    toys = toy_ensemble(ToySource.conditional(compiled(workspace), 1.0), 20_000, seed=3)
    assert np.mean(toys.z0) == pytest.approx(z_mean, abs=0.03)
    assert np.std(toys.z0) == pytest.approx(z_sd, abs=0.02)
