"""Limits and intervals against pyhf, exact Poisson sums and published numbers."""

import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import invoke, plain_workspace
from engine_models import make_pair
from others_data import OTHERS, needs
from reference_numbers import square
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import chi2, norm, poisson
from test_discover import counting, flat_pair

from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.figures.limit import draw_limit
from ddphf.figures.null import draw_null
from ddphf.inference.discovery import discover_workspace
from ddphf.inference.limits.cls import cls_asymptotic, cls_expected
from ddphf.inference.limits.crossing import find_crossings
from ddphf.inference.limits.limits import limit_workspace
from ddphf.inference.limits.profile import ProfileScan, find_crossing
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import toy_statistics
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.results.limit import LimitResult

# Flat 28 x 28, 1e4 events per bin, 6 x 6 signal, in events: -2 to +2 sigma.
FLAT_LIMITS = [892.451, 1198.118, 1663.087, 2314.099, 3102.220]


def compiled(workspace):
    return CompiledModel.from_reference(ReferenceModel(workspace))


def test_flat_limits():
    flat, scale = np.full(784, 1e4), 1000.0
    limit = limit_workspace(make_pair(flat, flat, flat, square(6) * scale)).asymptotic
    np.testing.assert_allclose(np.array(limit.expected) * scale, FLAT_LIMITS, rtol=1e-5)
    # Without an excess the observed limit is the median one.
    assert limit.observed == pytest.approx(limit.expected[2], rel=1e-6)


MODELS = {
    "uncorrelated": (
        lambda: pyhf.simplemodels.uncorrelated_background([5.0, 10.0], [50.0, 60.0], [7.0, 5.0]),
        [60.0, 62.0],
    ),
    "correlated, deficit": (
        lambda: pyhf.simplemodels.correlated_background(
            [5.0, 10.0], [50.0, 60.0], [52.0, 65.0], [48.0, 55.0]
        ),
        [45.0, 52.0],
    ),
}


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("name", MODELS)
def test_limits_are_those_of_pyhf(name, level):
    make, observed = MODELS[name]
    with pyhf_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12)):
        model = make()
        data = observed + model.config.auxdata
        stock = pyhf.infer.intervals.upper_limits.toms748_scan(
            data, model, 0.0, 9.9, level=1 - level, rtol=1e-10
        )
    found = limit_workspace(dict(pyhf.Workspace.build(model, data)), level=level).asymptotic
    expected = [float(stock[0]), *map(float, stock[1])]
    np.testing.assert_allclose([found.observed, *found.expected], expected, rtol=1e-5)


def test_scanned_cls_is_that_of_pyhf():
    make, observed = MODELS["uncorrelated"]
    with pyhf_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12)):
        model = make()
        data = observed + model.config.auxdata
        workspace = dict(pyhf.Workspace.build(model, data))
        limit = limit_workspace(workspace).asymptotic
        for i in (0, 12, 29):
            stock = pyhf.infer.hypotest(
                float(limit.mu[i]), data, model, test_stat="qtilde", return_expected_set=True
            )
            assert limit.scan_observed[i] == pytest.approx(float(stock[0]), rel=1e-4)
            np.testing.assert_allclose(
                limit.scan_expected[:, i], np.array(stock[1], dtype=float), rtol=1e-4
            )


@needs("cabinetry_tutorial")
def test_published_limits():
    folder = OTHERS / "cabinetry_tutorial"
    spec = json.loads((folder / "built_example_workspace.json").read_text())
    reference = json.loads((folder / "reference.json").read_text())["upper_limits_95CL"]
    found = limit_workspace(spec).asymptotic
    # cabinetry stops its bracket when CLs is within .01 of the level.
    assert found.observed == pytest.approx(reference["observed"], rel=3e-3)
    np.testing.assert_allclose(found.expected, reference["expected"], rtol=3e-3)


def test_formulas():
    # Median: q = q_A; the bands: q moves by n sigma (Cowan et al., Eq. 65).
    assert cls_asymptotic(4.0, 4.0) == pytest.approx(2 * norm.sf(2.0))
    for n in (-2, -1, 0, 1, 2):
        q = (2.0 - n) ** 2 if n >= 0 else 4.0 - 2 * 2.0 * n
        assert cls_expected(4.0, n) == pytest.approx(cls_asymptotic(q, 4.0), rel=1e-12)
    # Above q_A the distribution of q~ is another one (Eq. 66).
    q, q_asimov = 9.0, 4.0
    signal = norm.sf((q + q_asimov) / (2 * np.sqrt(q_asimov)))
    background = norm.sf((q - q_asimov) / (2 * np.sqrt(q_asimov)))
    assert cls_asymptotic(q, q_asimov) == pytest.approx(signal / background)


def test_find_crossing():
    assert find_crossing(lambda x: 2.0 - x, inner=0.0, step=0.01, bound=10.0) == pytest.approx(2.0)
    assert find_crossing(lambda x: 2.0 + x, inner=0.0, step=5.0, bound=-10.0) == pytest.approx(-2)
    assert find_crossing(lambda x: 2.0 - x, inner=0.0, step=0.01, bound=1.0) is None


def test_points_without_toys_do_not_raise_a_limit():
    """CLs = exp(-mu) in 4000 pseudo-scans of 9 points with 60 toys each: half have zeros."""
    mu, rng = np.linspace(1.0, 6.0, 9), np.random.default_rng(1)
    counts = rng.binomial(60, np.exp(-mu), (4000, 9)).astype(float)
    counts = np.concatenate([60 * np.exp(-mu)[None], counts])  # decides on the points
    assert np.mean(np.any(counts[:, mu < 5.0] == 0, axis=1)) > 0.45
    ones = np.ones(9)
    for shape in (np.exp(-mu), np.exp(-0.8 * mu)):
        found = find_crossings(mu, counts, 60 * ones, np.ones_like(counts), shape, 0.05)
        assert found[0] == pytest.approx(np.log(20), rel=2e-3)
        assert np.mean(np.isnan(found)) < 0.01
        assert np.nanmean(found[1:]) == pytest.approx(np.log(20), rel=0.02)


def test_what_does_not_cross_has_no_limit():
    mu, ones = np.linspace(1.0, 5.0, 5), np.ones(5)
    for cls in (0.4, 0.02):
        found = find_crossings(mu, 100 * cls * ones[None], 100 * ones, ones[None], cls * ones, 0.05)
        assert np.isnan(found).all()
    few = find_crossings(mu, np.exp(-mu)[None], ones, ones[None], np.exp(-mu), 0.05)
    assert np.isnan(few).all()


def test_profile_against_the_closed_form():
    rng = np.random.default_rng(1)
    a, b, s = rng.poisson(30, 16), rng.poisson(30, 16), np.full(16, 3.0)
    scan = ProfileScan(compiled(make_pair(np.full(16, 30.0), a, b, s)))
    pair = PlainPair.of(b, a, s)
    best = pair.fit()
    assert scan.mu_hat == pytest.approx(best.mu, abs=1e-6)
    for mu in (-1.0, 0.0, 0.5, 4.0):
        assert scan.t(mu) == pytest.approx(pair.at(mu).twice_nll() - best.twice_nll, abs=1e-7)
    expected = scan.t(2.0) - (scan.t(0.0) if best.mu < 0 else 0.0)
    assert scan.q_tilde(2.0) == pytest.approx(expected if best.mu < 2 else 0.0, abs=1e-9)


@pytest.mark.parametrize("mean", [1.0, 30.0])
def test_toy_statistics_against_single_fits(mean):
    """Empty bins included: toys on the corner at 0 are finished by held fits."""
    source = ToySource.conditional(compiled(flat_pair(mean, 4.0, square(4, 6), seed=3)), 1.0)
    toys = toy_statistics(source, [0.0, 1.0, 2.5], 64, seed=1)
    assert toys.n_failed == 0
    for i in (0, 5, 33):
        data = source.draw(1, i)
        # Channels are in alphabetical order: CR_a, then SR_b.
        pair = PlainPair.of(data[36:], data[:36], square(4, 6) * 4.0)
        best = pair.fit()
        expected = [pair.at(mu).twice_nll() - best.twice_nll for mu in toys.tests]
        np.testing.assert_allclose(toys.t[i], expected, atol=1e-6)
        assert toys.t_zero[i] == pytest.approx(expected[0], abs=1e-6)
        floor = expected[0] if best.mu < 0 else 0.0
        q = 0.0 if best.mu > 1.0 else expected[1] - floor
        assert toys.q_tilde(1)[i] == pytest.approx(q, abs=1e-6)


def test_limit_by_toys_against_exact_cls():
    """One bin: q~ falls with the count, so CLs = P(n <= obs | b + mu s) / P(n <= obs | b)."""
    background, signal, observed = 8.0, 2.0, 6
    workspace = counting(background, signal, observed, lower=0.0)
    found = limit_workspace(workspace, methods=("toys",), toys=2000, seed=3).toys

    def excess(mu):
        above = poisson.cdf(observed, background + mu * signal)
        return above / poisson.cdf(observed, background) - 0.05

    exact = brentq(excess, 0.1, 20)
    assert found.observed_error < 0.05 * exact
    assert found.observed == pytest.approx(exact, abs=4 * found.observed_error)
    for mu, cls, error in zip(found.mu, found.scan_observed, found.scan_error, strict=True):
        assert cls == pytest.approx(excess(mu) + 0.05, abs=4.5 * error + 1e-3)


def test_limits_by_toys_agree_with_asymptotics_at_high_counts():
    workspace = flat_pair(1e4, 300.0, square(4, 6), shift=False)
    limit = limit_workspace(workspace, methods=("asymptotic", "toys"), toys=3000, seed=2)
    for i in range(1, 5):  # at -2 sigma 3000 toys know too little
        toys, error = limit.toys.expected[i], limit.toys.expected_error[i]
        asymptotic = limit.asymptotic.expected[i]
        assert toys == pytest.approx(asymptotic, abs=4 * error)
    assert limit.toys.observed == pytest.approx(
        limit.asymptotic.observed, abs=4 * limit.toys.observed_error
    )


def feldman_cousins(background, mu, level):
    """Return the threshold of t(mu) by direct sums over the counts."""
    n = np.arange(200)
    best = np.maximum(n - background, 0.0)
    t = 2 * (poisson.logpmf(n, background + best) - poisson.logpmf(n, background + mu))
    order = np.argsort(t)
    total = np.cumsum(poisson.pmf(n, background + mu)[order])
    return t[order][np.searchsorted(total, level)]


@pytest.mark.parametrize(
    ("observed", "published"), [(8, (1.51, 10.99)), (4, (0.0, 5.60)), (0, (0.0, 1.08))]
)
def test_feldman_cousins_intervals(observed, published):
    """Published: Phys. Rev. D 57 (1998) 3873, table IV, b = 3, 90 %."""
    limit = limit_workspace(
        counting(3.0, 1.0, observed, lower=0.0), level=0.9, interval=True, methods=("toys",),
        toys=1000, seed=1,
    )  # fmt: skip
    found = limit.intervals[1]
    assert found.level == 0.9
    # Thresholds jump with single counts, and five points per side are interpolated.
    assert found.lower == pytest.approx(published[0], abs=0.6)
    assert found.upper == pytest.approx(published[1], abs=0.6)
    assert found.at_lower_bound == (published[0] == 0)
    for mu, value in zip(found.thresholds["mu"], found.thresholds["value"], strict=True):
        nearby = [feldman_cousins(3.0, mu, level) for level in (0.85, 0.94)]
        assert nearby[0] - 1e-6 <= value <= nearby[1] + 1e-6


def test_intervals_by_toys_go_on_until_they_end():
    """No event where 5 are expected: P(0 | 3) = .05 lies beyond the asymptotic end."""
    workspace = counting(5.0, 1.0, 0, lower=-4.9)
    limit = limit_workspace(workspace, methods=("asymptotic", "toys"), interval=True, toys=1000)
    asymptotic, by_toys = (i for i in limit.intervals if i.level == 0.95)
    assert asymptotic.upper == pytest.approx(-4.9 + chi2.ppf(0.95, 1) / 2, abs=1e-6)
    assert by_toys.upper == pytest.approx(-5 + np.log(20), abs=0.35)
    assert max(by_toys.thresholds["mu"]) > by_toys.upper
    # The interpolated end is inside the last step.
    assert by_toys.upper > asymptotic.upper + 0.4


@pytest.mark.parametrize(
    ("background", "observed", "exact", "asymptotic"),
    [
        (0.5, 0, 2.9957, 2.2110),
        (1.0, 1, 4.1130, 3.4030),
        (3.0, 3, 5.3954, 4.7793),
        (10.0, 10, 8.0825, 7.5393),
        (50.0, 50, 15.6556, 15.1680),
    ],
)
def test_asymptotic_limits_at_low_counts(background, observed, exact, asymptotic):
    """What docs/limits.md prints: asymptotic limits are too low, by a quarter without events."""

    def excess(mu):
        return poisson.cdf(observed, background + mu) / poisson.cdf(observed, background) - 0.05

    def q_tilde(n, mu):
        rates = background + np.array([max(n - background, 0.0), mu])
        best, held = 2 * (rates - xlogy(n, rates))
        return held - best

    def excess_asymptotic(mu):
        return cls_asymptotic(q_tilde(observed, mu), q_tilde(background, mu)) - 0.05

    assert brentq(excess, 0.1, 40) == pytest.approx(exact, abs=6e-5)
    found = limit_workspace(counting(background, 1.0, observed, lower=0.0)).asymptotic.observed
    assert found == pytest.approx(brentq(excess_asymptotic, 0.1, 40), rel=1e-8)
    assert found == pytest.approx(asymptotic, abs=6e-5)


def test_too_few_toys_for_a_limit_are_said():
    limit = limit_workspace(counting(5.0, 1.0, 0), methods=("toys",), toys=100, seed=1)
    assert limit.toys.observed is None
    assert "100 toys per ensemble do not resolve CLs = 0.05; ask for more" in limit.warnings[-1]


def test_asymptotic_interval_against_the_closed_form():
    rng = np.random.default_rng(4)
    a, b, s = rng.poisson(50, 16), rng.poisson(56, 16), np.full(16, 3.0)
    limit = limit_workspace(make_pair(np.full(16, 50.0), a, b, s), interval=True)
    pair = PlainPair.of(b, a, s)
    best = pair.fit()
    assert [i.level for i in limit.intervals] == [0.6827, 0.95]
    for interval in limit.intervals:
        for end in (interval.lower, interval.upper):
            t = pair.at(end).twice_nll() - best.twice_nll
            assert t == pytest.approx(chi2.ppf(interval.level, 1), abs=1e-6)


def test_interval_stops_at_the_bound():
    limit = limit_workspace(counting(30.0, 10.0, 28, lower=0.0), interval=True)
    for interval in limit.intervals:
        assert interval.lower == 0.0
        assert interval.at_lower_bound
        assert not interval.at_upper_bound


def test_interval_of_68_percent_holds_its_error():
    """Linear regime: both ends are one error away, by toys as well."""
    workspace = flat_pair(1e4, 300.0, square(4, 6))
    limit = limit_workspace(
        workspace, methods=("asymptotic", "toys"), interval=True, toys=2000, seed=5
    )
    by_toys = next(i for i in limit.intervals if i.method == "toys" and i.level == 0.6827)
    for end, error, sign in (
        (by_toys.lower, by_toys.lower_error, -1),
        (by_toys.upper, by_toys.upper_error, 1),
    ):
        assert end == pytest.approx(limit.mu_hat + sign * limit.mu_error, abs=4 * error)


def test_record_survives_json():
    workspace = flat_pair(50.0, 60.0, square(2, 6), seed=1)
    limit = limit_workspace(
        workspace, methods=("asymptotic", "toys"), interval=True, toys=200, seed=1
    )
    data = json.loads(json.dumps(limit.to_dict()))
    assert LimitResult.from_dict(data).to_dict() == data
    with pytest.raises(ValueError, match="expected schema 'ddphf/limit/1'"):
        LimitResult.from_dict({"schema": "ddphf/fit/1"})


def test_limits_beyond_the_bound():
    workspace = counting(30.0, 10.0, 45, lower=0.0)
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0.0, 1.6]]
    with pytest.raises(ModelError, match=r"up to the upper bound 1\.6 of the POI 'mu'"):
        limit_workspace(workspace)
    workspace["observations"][0]["data"] = [25.0]
    limit = limit_workspace(workspace)
    assert limit.asymptotic.observed < 1.6
    assert limit.asymptotic.expected[4] is None
    assert "are null" in limit.warnings[-1]


def test_refused_options():
    with pytest.raises(InputError, match="confidence level nan"):
        limit_workspace(plain_workspace(), level=float("nan"))
    with pytest.raises(InputError, match="toys: 10, expected at least 100"):
        limit_workspace(plain_workspace(), methods=("toys",), toys=10)


def test_failed_toys_are_refused():
    """At the tested POI the rate is negative: toys with events have no certified fit there."""
    source = ToySource.conditional(compiled(counting(1.0, 1.0, 2, lower=-3.0)))
    with pytest.raises(
        FitError, match=r"^mu = 0: \d+ of 256 toys have no certificate, more than 0\.001; limits"
    ):
        toy_statistics(source, [-2.0], 256, seed=1)


def lost(done, total):
    """What toys that fail raise, out of the progress that is told of them."""
    raise FitError("toys have no certificate")


def test_toys_that_fail_leave_what_is_asymptotic():
    workspace = counting(30.0, 10.0, 41)
    options = {"interval": True, "toys": 100, "toy_progress": lost}
    limit = limit_workspace(workspace, methods=("asymptotic", "toys"), **options)
    assert limit.warnings == (
        "m: the limits by toys are missing: toys have no certificate",
        "m: the intervals by toys are missing: toys have no certificate",
    )
    plain = limit_workspace(workspace, interval=True)
    assert limit.to_dict() == {**plain.to_dict(), "warnings": list(limit.warnings)}
    with pytest.raises(FitError, match=r"^toys have no certificate"):
        limit_workspace(workspace, methods=("toys",), **options)


def test_intervals_that_fail_leave_the_limits(folder):
    """The lower bound of the POI is where nothing is expected."""
    Path("w.json").write_text(json.dumps(counting(1.0, 1.0, 2, lower=-1.0)))
    done = invoke("limit", "w.json", "--interval", "-o", "limit.json")
    assert done.code == 0, done.err
    assert "warning: m: the intervals are missing: observed data, fit at mu = -1:" in done.err
    data = json.loads(Path("limit.json").read_text())
    assert "intervals" not in data
    assert invoke("limit", "w.json", "-o", "alone.json").code == 0
    assert data["asymptotic"] == json.loads(Path("alone.json").read_text())["asymptotic"]


def test_figures_have_numbers_on_their_logarithmic_axes():
    """Text is drawn as it is, so the default $\\mathdefault{10^{-1}}$ would show."""
    methods = ("asymptotic", "toys")
    limit = limit_workspace(counting(30.0, 10.0, 41), methods=methods, toys=100).to_dict()
    found = discover_workspace(counting(30.0, 10.0, 41), nulls=methods, toys=100).to_dict()
    statement = found["statements"][0]
    null = draw_null(statement["null"]["comparison"], statement["observed"]["z0"], "m")
    for figure in (draw_limit(limit), null):
        figure.draw_without_rendering()
        labels = [t.get_text() for panel in figure.axes for t in panel.get_yticklabels()]
        assert "1" in labels
        assert not any("$" in label for label in labels)


def test_command(folder):
    (folder / "w.json").write_text(json.dumps(plain_workspace()))
    options = ["limit", "w.json", "--method", "asymptotic,toys", "--interval", "--toys", "200"]
    outcome = invoke(*options, "--plots", "plots", "-o", "limit.json")
    assert outcome.code == 0, outcome.err
    data = json.loads((folder / "limit.json").read_text())
    assert data["schema"] == "ddphf/limit/1"
    assert [i["method"] for i in data["intervals"]] == ["asymptotic"] * 2 + ["toys"] * 2
    assert "95 % upper limit" in outcome.err
    assert (folder / "plots" / "limit.png").read_bytes().startswith(b"\x89PNG")
    assert invoke(*options, "--plots", "plots", "-o", "other.json").code == 2
    piped = invoke("limit", "-", "--cl", "0.9", stdin=json.dumps(plain_workspace()))
    low, high = (
        d["asymptotic"]["observed"] for d in (json.loads(piped.out), data)
    )  # a limit at 90 % is below the one at 95 %
    assert low < high


def toy_limits(workspace, seeds, toys):
    """Limits, their errors and the bands' order by seed: shape (seeds, 6) twice; NaN where null."""
    values, errors = [], []
    for seed in seeds:
        found = limit_workspace(workspace, methods=("toys",), toys=toys, seed=seed).toys
        values.append([found.observed, *found.expected])
        errors.append([found.observed_error, *found.expected_error])
        known = [x for x in found.expected if x is not None]
        assert known == sorted(known)
    return np.array(values, dtype=float), np.array(errors, dtype=float)


@pytest.mark.slow
def test_errors_of_toy_limits_are_right():
    """At 1e4 events per bin the asymptotic limits are exact to a tenth of these errors."""
    workspace = flat_pair(1e4, 300.0, square(4, 6), shift=False)
    limit = limit_workspace(workspace).asymptotic
    values, errors = toy_limits(workspace, range(100, 200), 5000)
    pulls = (values - [limit.observed, *limit.expected]) / errors
    rms = np.sqrt(np.nanmean(pulls**2, axis=0))
    print("pull rms of observed, -2 to +2 sigma:", np.round(rms, 3))
    print("mean", np.round(np.nanmean(pulls, axis=0), 3), np.sum(np.isfinite(pulls), axis=0))
    assert np.all(np.isfinite(pulls[:, 2:]))
    # An rms of 100 has an error of .07.
    assert np.all(np.abs(rms - 1) < 0.15)


@pytest.mark.slow
def test_bands_at_low_counts_are_ordered_and_their_errors_hold():
    """Two bins of 1.2 and 2 events with their own uncertainties: q~ is nearly a lattice."""
    shapesys = {"name": "uncorr", "type": "shapesys", "data": [0.5, 0.6]}
    mu = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [5.0, 3.0], "modifiers": [mu]},
        {"name": "background", "data": [1.2, 2.0], "modifiers": [shapesys]},
    ]
    workspace = {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [5.0, 7.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    values, errors = toy_limits(workspace, range(60), 2000)
    long_run = limit_workspace(workspace, methods=("toys",), toys=20_000, seed=99).toys
    reference = np.array([long_run.observed, *long_run.expected], dtype=float)
    pulls = (values - reference) / errors
    rms = np.sqrt(np.nanmean(pulls**2, axis=0))
    print("pull rms of observed, -2 to +2 sigma:", np.round(rms, 3))
    print("mean", np.round(np.nanmean(pulls, axis=0), 3), np.sum(np.isfinite(pulls), axis=0))
    # The long run's own error is .32 of one of these, the same for all seeds.
    assert np.all(np.abs(rms - 1) < 3 / np.sqrt(2 * 60))
    assert np.sqrt(np.nanmean(pulls**2)) == pytest.approx(1.05, abs=0.15)
