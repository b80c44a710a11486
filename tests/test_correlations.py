"""The correlation study: the published matrices by closed form and by toys, and the command."""

import json

import numpy as np
import pytest
from conftest import invoke
from scipy.optimize import minimize_scalar
from test_lepton_id_build import write_event_analysis

from ddphf.exceptions import FitError, ModelError
from ddphf.inputs.covariance import axis_correlation, make_covariance, rho_covariance
from ddphf.likelihood.closed_form import PlainPair
from ddphf.studies.correlations import (
    RHOS,
    CorrelationResult,
    advise,
    closed_widths,
    study_correlations,
    toy_widths,
)
from ddphf.studies.pair_fits import ShapedPair, fit_pairs
from ddphf.workspace.eigen import decompose

U = np.array([0.010, 0.008, 0.006, 0.005, 0.004, 0.004, 0.006])
N = 50_000.0
DELTA = 0.005

WIDTHS = np.array(
    [
        [1, 0.811815, 0.765800, 0.811092, 0.966159],
        [1.276488, 1, 0.890632, 0.878586, 0.974729],
        [1.502945, 1.157996, 1, 0.941253, 0.983225],
        [1.699490, 1.296885, 1.098533, 1, 0.991648],
        [1.875550, 1.422275, 1.188928, 1.055482, 1],
    ]
)
WITH_SHAPESYS = np.array([0.822616, 0.870358, 0.915614, 0.958736, 1])


def factor(rho):
    matrix = rho_covariance(U, [axis_correlation(np.arange(7), rho)])
    return decompose(make_covariance(matrix), np.eye(7)).columns


def ratio_model(rho, delta):
    """Shared background, R free in the tested channel, x on the tested channel alone."""
    shapes, own = factor(rho), delta * np.eye(7)
    if delta:
        deltas = np.concatenate([np.zeros(shapes.shape[1]), np.full(7, delta)])
        shapes = np.hstack([shapes, own])
    else:
        deltas = np.zeros(shapes.shape[1])
    return ShapedPair(
        np.full(7, N), np.ones(7), shapes, np.zeros_like(shapes), poi="ratio", auxiliary=deltas
    )


def closed(delta):
    variance = np.full(7, 2 / N + delta**2)
    return closed_widths(np.ones(7), variance, [factor(rho) for rho in RHOS])


def test_closed_form_gives_the_published_matrix():
    assert closed(0.0) == pytest.approx(WIDTHS, abs=1e-6)
    assert closed(DELTA)[:, 4] == pytest.approx(WITH_SHAPESYS, abs=1e-6)
    assert np.diag(closed(DELTA)) == pytest.approx(np.ones(5), abs=1e-12)


def test_closed_form_is_the_dense_matrix_formula():
    rng = np.random.default_rng(0)
    d, variance = rng.normal(size=9), rng.uniform(1, 2, 9)
    factors = [rng.normal(size=(9, 3)), rng.normal(size=(9, 5))]
    dense = [np.diag(variance) + f @ f.T for f in factors]
    for row, toy in enumerate(dense):
        for column, model in enumerate(dense):
            inverse = np.linalg.inv(model)
            s2 = 1 / (d @ inverse @ d)
            w = s2 * inverse @ d
            expected = np.sqrt(w @ toy @ w / s2)
            assert closed_widths(d, variance, factors)[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_toys_agree_with_the_closed_form(delta):
    """10 000 toys per row: 25 numbers in 5 independent rows, accepted within 4.5 sigma."""
    models = [ratio_model(rho, delta) for rho in RHOS]
    widths, errors = toy_widths(models, n_toys=10_000, seed=3)
    assert np.all(errors < 0.016)
    assert np.all(np.abs(widths - closed(delta)) < 4.5 * errors)
    if not delta:
        assert np.all(np.abs(widths - WIDTHS) < 4.5 * errors)


def test_full_correlation_is_the_conservative_model():
    for delta in (0.0, DELTA):
        best, sentence = advise(RHOS, closed(delta))
        assert best == 1.0
        assert "rho = 1 is conservative" in sentence
    assert advise(RHOS, closed(0.0)[:, :4])[0] is None
    assert "does not matter" in advise(RHOS, np.ones((5, 5)))[1]


def test_many_fits_are_the_plain_pair_without_shapes():
    rng = np.random.default_rng(5)
    background, signal = np.full(12, 40.0), 10 * np.exp(-(np.linspace(-3, 3, 12) ** 2))
    r, fb, fa = rng.uniform(0.8, 1.1, 12), np.full(12, 3.0), np.full(12, 2.0)
    model = ShapedPair(
        background, r, np.zeros((12, 0)), np.zeros((12, 0)), signal_tested=signal,
        signal_partner=0.1 * signal, fakes_tested=fb, fakes_partner=fa,
    )  # fmt: skip
    b = rng.poisson(r * background + fb + signal, (20, 12)).astype(float)
    a = rng.poisson(background + fa, (20, 12)).astype(float)
    fits = fit_pairs(model, b, a)
    for i in range(20):
        pair = PlainPair.of(
            b[i], a[i], signal, signal_partner=0.1 * signal, ratio=r, fakes_tested=fb,
            fakes_partner=fa,
        )  # fmt: skip
        assert fits.poi[i] == pytest.approx(pair.fit().mu, abs=1e-5)
    assert np.all(fits.edm < 1e-8)


def test_pulls_of_mu_are_normal_where_the_model_is_true():
    shapes = 0.02 * np.stack([np.ones(10), np.linspace(-1, 1, 10)], axis=1)
    signal = np.zeros(10)
    signal[4:6] = 100.0
    model = ShapedPair(
        np.full(10, 5000.0), np.full(10, 0.9), shapes, -0.5 * shapes, signal_tested=signal
    )
    widths, errors = toy_widths([model], n_toys=5000, seed=11)
    assert abs(widths[0, 0] - 1) < 4 * errors[0, 0]


def free_and_null(ratio_error):
    """2NLL of the free and the null fit of 784 bins with r = 1 + s a; None: no constraint."""
    side = np.zeros((28, 28))
    side[11:17, 11:17] = 1 / 36
    signal = side.ravel()
    background = np.full(784, 1e4)
    mu = 3004.163780

    def value(a, null):
        s = 0.01 if ratio_error is None else ratio_error
        pair = PlainPair.of(background + mu * signal, background, signal, ratio=1 + s * a)
        fit = pair.fit()
        constraint = 0.0 if ratio_error is None else a**2
        return (fit.twice_nll_null if null else fit.twice_nll) + constraint

    return [
        minimize_scalar(value, bracket=(-0.02, 0.02), args=(null,), tol=1e-10).fun
        for null in (False, True)
    ]


@pytest.mark.parametrize(("error", "z"), [(0.01, 3.450895), (None, 3.450683)])
def test_a_common_ratio_error_costs_little_with_the_side_bins(error, z):
    free, null = free_and_null(error)
    assert np.sqrt(null - free) == pytest.approx(z, abs=1e-4)


def test_fixed_error_sums_the_window_alone():
    """The 6 x 6 sum without its side bins: 3.533 -> 2.501 (.2357 %) and .812 (1 %)."""
    mu, window = 3004.163780, 36 * 1e4
    for error, z in ((0.002357, 2.501), (0.01, 0.812)):
        spread = np.sqrt(2 * window + mu + (error * window) ** 2)
        assert mu / spread == pytest.approx(z, abs=1e-3)


def test_few_toys_and_bad_shapes_are_refused():
    model = ratio_model(0.5, 0.0)
    with pytest.raises(ModelError, match="1 toys, expected 2 or more"):
        toy_widths([model], n_toys=1, seed=0)
    with pytest.raises(ModelError, match=r"data sets: shapes \(3, 5\) and \(3, 5\), expected"):
        fit_pairs(model, np.ones((3, 5)), np.ones((3, 5)))
    with pytest.raises(FitError, match="1 of 1 fits have no minimum"):
        fit_pairs(model, np.zeros((1, 7)), np.zeros((1, 7)))


def test_the_record_survives_json():
    model = ratio_model(0.0, 0.0)
    shapes = [(factor(rho), 0 * factor(rho)) for rho in RHOS]
    from dataclasses import replace

    result = study_correlations(replace(model, auxiliary=None), shapes, n_toys=50, seed=2)
    again = CorrelationResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert result.conservative == 1.0


def test_the_command(folder):
    write_event_analysis(folder)
    outcome = invoke(
        "correlations", "analysis.yml", "-o", "rho.json", "--toys", "200", "--plots", "figures"
    )
    assert outcome.code == 0
    data = json.loads((folder / "rho.json").read_text())
    assert data["rho"] == list(RHOS)
    closed_table, toys = np.array(data["closed"]), np.array(data["toys"])
    assert np.diag(closed_table) == pytest.approx(np.ones(5), abs=1e-9)
    assert np.all(np.abs(toys - closed_table) < 5 * np.array(data["toy_errors"]))
    assert data["advice"] in outcome.err
    assert (folder / "figures/correlations.png").read_bytes().startswith(b"\x89PNG")
    same = invoke("correlations", "analysis.yml", "--toys", "200")
    assert json.loads(same.out)["toys"] == data["toys"]
