"""Closure with the errors of maps and fakes: the statistic, the side region, the warnings."""

import json

import numpy as np
import pytest
from conftest import (
    ANALYSIS,
    COLUMNS,
    JES_A,
    JES_B,
    LEPTON_A,
    LEPTON_B,
    C,
    full_pair,
    invoke,
    plain_pair,
    write_analysis,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from ddphf.statistics.n_sigma import null_variance
from ddphf.studies.closure import restore_workspace, summarize_closure
from ddphf.symmetry.closure import (
    Contrast,
    find_side_region,
    global_p_value,
    profile_closure,
    pulls,
)
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.closure import state_closure, warn_of_closure
from ddphf.workspace.read_pair import read_pair

PAIRING = {"tested": "SR_mue", "partner": "CR_emu"}


@st.composite
def contrasts(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, k = draw(st.integers(1, 12)), draw(st.integers(0, 5))
    size = 10.0 ** draw(st.integers(-2, 3))
    return Contrast(rng.normal(0, 30, m), rng.uniform(1, 900, m), size * rng.normal(0, 1, (m, k)))


@given(contrasts())
def test_profiling_is_the_inverse_of_the_whole_covariance(contrast):
    v = np.diag(contrast.variance) + contrast.shapes @ contrast.shapes.T
    inverse = np.linalg.inv(v)
    found = profile_closure(contrast)
    y = contrast.difference
    assert found.chi2 == pytest.approx(y @ inverse @ y, rel=1e-6, abs=1e-9)
    assert found.p_value == pytest.approx(chi2.sf(found.chi2, len(y)), rel=1e-9)
    weights = inverse @ np.sqrt(contrast.variance)
    if found.n_sigma is not None:
        spread = np.sqrt(weights @ v @ weights)
        assert found.n_sigma == pytest.approx(weights @ y / spread, rel=1e-4, abs=1e-6)
        assert found.n_sigma_p_value == pytest.approx(2 * norm.sf(abs(found.n_sigma)), rel=1e-9)
    assert contrast.error == pytest.approx(np.sqrt(np.diag(v)), rel=1e-12)


def test_without_nuisances_it_is_the_closure_with_everything_known():
    b, a = C["tested"], C["partner"]
    values = pulls(b, a, C["ratio"], C["fakes"], C["fakes_partner"])
    v = null_variance(b, a, C["ratio"], C["fakes"], C["fakes_partner"])[1]
    y = (b - C["fakes"]) - C["ratio"] * (a - C["fakes_partner"])
    found = profile_closure(Contrast(y, v, np.zeros((4, 0))))
    assert found.chi2 == pytest.approx(np.sum(values**2), rel=1e-12)
    assert found.n_sigma == pytest.approx(values.sum() / 2, rel=1e-12)


def test_a_nuisance_that_is_the_common_shift_leaves_no_n_sigma():
    contrast = Contrast(np.array([3.0, -2.0]), np.ones(2), 1e5 * np.ones((2, 1)))
    found = profile_closure(contrast)
    assert (found.n_sigma, found.n_sigma_p_value) == (None, None)
    assert found.chi2 == pytest.approx(12.5, rel=1e-6)  # what is left: the difference, 5^2 / 2
    empty = profile_closure(Contrast(np.zeros(2), np.zeros(2), np.zeros((2, 0))))
    assert (empty.degrees_of_freedom, empty.p_value) == (0, None)


def test_p_values_are_uniform_where_the_maps_are_drawn_from_their_errors():
    """Counts with a ratio that is off by its stated errors; taken as known it fails in most."""
    rng = np.random.default_rng(8)
    m, n = 12, 2000
    shapes = rng.normal(0, 0.015, (m, 3)) + np.array([0.02, 0.0, 0.0])
    base, ratio = rng.uniform(1000, 4000, m), rng.uniform(0.8, 1.1, m)
    profiled, known, by_n_sigma = [], [], []
    for _ in range(n):
        true = ratio * (1 + shapes @ rng.normal(size=3))
        b, a = rng.poisson(true * base), rng.poisson(base)
        background, v = null_variance(b, a, ratio, np.zeros(m), np.zeros(m))
        f = (ratio * background)[:, None] * shapes
        found = profile_closure(Contrast(b - ratio * a, v, f))
        profiled.append(found.p_value)
        by_n_sigma.append(found.n_sigma_p_value)
        known.append(profile_closure(Contrast(b - ratio * a, v, np.zeros((m, 0)))).p_value)
    assert kstest(profiled, "uniform").pvalue > 1e-3
    assert kstest(by_n_sigma, "uniform").pvalue > 1e-3
    # A part f of good data fails at .05: f = .05 within 4 errors, and far from it where known.
    assert np.mean(np.array(profiled) < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.0475 / n))
    assert np.mean(np.array(known) < 0.05) > 0.3


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_the_side_region_holds_little_of_any_signal(seed, scale):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 40))
    signal = np.exp(rng.normal(0, 4, m)) * rng.choice([0, 1, 1], m)
    variance = rng.uniform(10, 1000, m)
    side = find_side_region(signal, variance)
    information = signal**2 / variance
    assert information[side].sum() <= 0.01 * information.sum() * (1 + 1e-9)
    assert np.all(side[signal == 0])
    if side.any() and not side.all():
        assert information[side].max() < information[~side].min()
    assert np.array_equal(side, find_side_region(-scale * signal, scale * variance))
    # A signal of 5 sigma: what it adds to chi2 there.
    if information.sum() > 0:
        mu = 5 / np.sqrt(information.sum())
        y = np.where(side, mu * signal, 0.0)
        added = profile_closure(Contrast(y, variance, np.zeros((m, 0)))).chi2
        assert added <= 0.25 * (1 + 1e-6)


def test_equal_bins_are_not_told_apart():
    assert not find_side_region(np.ones(400), np.full(400, 7.0)).any()
    some = find_side_region(np.array([0.01] * 5 + [3.0] * 5), np.full(10, 7.0))
    assert some.tolist() == [True] * 5 + [False] * 5
    # Without events there is no information, yet the signal is there.
    assert find_side_region(np.array([1.0, 0.0]), np.array([0.0, 0.0])).tolist() == [False, True]


def test_sidak():
    rng = np.random.default_rng(3)
    smallest = rng.random((200_000, 4)).min(axis=1)
    observed = np.mean(smallest <= 0.03)
    assert global_p_value(0.03, 4) == pytest.approx(observed, abs=4 * np.sqrt(0.1 / 200_000))
    assert global_p_value(1e-20, 5) == pytest.approx(5e-20, rel=1e-12)
    assert global_p_value(None, 5) is None
    assert global_p_value(1.0, 3) == pytest.approx(1, abs=1e-12)


def test_every_error_of_a_workspace_is_in_its_contrast():
    """By hand: shapes of ratio and fakes with shared names, errors per bin of both fakes."""
    built = build_workspace(full_pair(), signal_scale="auto")
    pair = read_pair(built.workspace, PAIRING)
    b, a, r, f_b, f_a = (C[k] for k in ("tested", "partner", "ratio", "fakes", "fakes_partner"))
    background, v = null_variance(b, a, r, f_b, f_a)
    columns = [
        r * background * (LEPTON_B - LEPTON_A),
        f_b * (JES_B - 1) - r * f_a * (JES_A - 1),
        (f_b - r * f_a) * (1.2 - 0.85) / 2,
    ]
    contrast = pair.contrast()
    independent = C["fakes_error"] ** 2 + (r * 0.1 * f_a) ** 2
    assert contrast.variance == pytest.approx(v + independent, rel=1e-9)
    expected = sum(np.outer(c, c) for c in columns)
    assert contrast.shapes @ contrast.shapes.T == pytest.approx(expected, rel=1e-9)
    assert contrast.difference == pytest.approx((b - f_b) - r * (a - f_a), rel=1e-9)
    scale = built.metadata["signal"]["scale"]
    assert pair.signal == pytest.approx(scale * (C["signal"] - r * C["signal_partner"]), rel=1e-9)
    restored = restore_workspace(built.workspace, PAIRING)
    assert b - restored.expected == pytest.approx(contrast.difference, rel=1e-9)


def make_pair(tested, *, error=0.0, fakes=None):
    """Six bins of 2000, a signal in the third, an efficiency error alike in all bins."""
    axes_free = np.full(6, 2000.0)
    systematics = [Systematic("eff", "normsys", 1 + error, 1 - error)] if error else []
    signal = Template([0.0, 0.0, 100.0, 1.0, 0.0, 0.0])
    return Pair(
        Channel("mue", tested, signal=signal, systematics=systematics, fakes=fakes),
        Channel("emu", axes_free),
    )


OFF = np.array([2200.0, 1850, 2000, 2000, 2150, 1990])


def test_a_signal_fails_all_bins_and_not_the_side_region():
    built = build_workspace(make_pair([2030.0, 1960, 2600, 2006, 2010, 1990]))
    entry = built.metadata["closure"]
    assert entry["profiled"]["p_value"] < 1e-6
    assert entry["side"]["bins"] == 5
    assert entry["side"]["p_value"] > 0.5
    assert built.warnings == ()


def test_what_the_errors_allow_is_no_failure():
    shifted = np.full(6, 2000.0) * 1.06
    known = build_workspace(make_pair(np.round(shifted)))
    assert known.metadata["closure"]["side"]["global_p_value"] < 1e-3
    assert "away from the signal (5 of 6 bins)" in known.warnings[-1]
    allowed = build_workspace(make_pair(np.round(shifted), error=0.05))
    assert allowed.metadata["closure"]["side"]["global_p_value"] > 0.1
    assert allowed.warnings == ()
    # The same from fakes: a common error of their size.
    fakes = Template(np.full(6, 200.0), systematics=[Systematic("norm", "normsys", 1.6, 0.4)])
    by_fakes = build_workspace(make_pair(np.round(shifted) + 200, fakes=fakes))
    assert by_fakes.metadata["closure"]["side"]["global_p_value"] > 0.1
    fixed = build_workspace(make_pair(np.round(shifted) + 200, fakes=Template(np.full(6, 200.0))))
    assert fixed.metadata["closure"]["side"]["global_p_value"] < 1e-3


def test_the_smaller_of_two_is_counted_as_such():
    entry, side = state_closure(build_workspace(make_pair(OFF)).workspace, PAIRING)
    found = entry["side"]
    assert found["tried"] == 2
    assert found["smallest_p_value"] == min(found["p_value"], found["n_sigma_p_value"])
    assert found["global_p_value"] == pytest.approx(1 - (1 - found["smallest_p_value"]) ** 2)
    (line,) = warn_of_closure(entry, 6)
    assert f"chi2 {found['chi2']:.1f} for 5 bins" in line
    assert side.tolist() == [True, True, False, True, True, True]
    # A huge failure: p underflows, and is no 0.
    entry, _ = state_closure(build_workspace(make_pair(OFF + 4000)).workspace, PAIRING)
    assert entry["side"]["p_value"] is None
    assert "p < 1e-300" in warn_of_closure(entry, 6)[0]


def test_a_signal_in_every_bin_has_no_side_region():
    pair = Pair(
        Channel("mue", OFF, signal=Template(np.full(6, 50.0))), Channel("emu", np.full(6, 2000.0))
    )
    # Equal but for the counts: no bin holds less than a hundredth.
    built = build_workspace(pair)
    assert built.metadata["closure"]["side"] is None
    assert built.warnings == ()


def off(folder, tested):
    columns = {**COLUMNS, "tested": tested, "signal": [0.0, 30.0, 0.0, 0.0]}
    analysis = {**ANALYSIS, "signal_scale": "auto"}
    return write_analysis(folder, analysis, columns)


@pytest.mark.parametrize(
    ("tested", "fails"), [([210, 85, 20, 41], True), ([115, 85, 58, 45], False)]
)
def test_build_and_fit_warn_where_the_side_region_does_not_close(folder, tested, fails):
    off(folder, tested)
    built = invoke("build", "analysis.yml", "-o", "pair.json")
    fitted = invoke("fit", "pair.json", "-o", "fit.json")
    assert (built.code, fitted.code) == (0, 0)
    text = "away from the signal (3 of 4 bins) the two samples differ"
    record = json.loads((folder / "fit.json").read_text())
    sidecar = json.loads((folder / "pair.metadata.json").read_text())
    for said in (built.err, fitted.err, str(record["warnings"]), str(sidecar["warnings"])):
        assert (text in " ".join(said.split())) == fails
    # Without a sidecar, or with another's, nothing tells the channels apart: no closure.
    (folder / "alone.json").write_text((folder / "pair.json").read_text())
    alone = invoke("fit", "alone.json", "-o", "alone.fit.json")
    assert alone.code == 0
    assert "closure" not in alone.err
    spec = json.loads((folder / "pair.json").read_text())
    spec["observations"][0]["data"][0] += 1
    (folder / "pair.json").write_text(json.dumps(spec))
    other = invoke("fit", "pair.json", "-o", "other.fit.json")
    assert other.code == 0
    assert "closure" not in other.err


@pytest.mark.parametrize(
    ("change", "fitted_says", "inspect_says"),
    [
        ({"pairing": 3}, "is no whole sidecar", "is no whole sidecar"),
        (
            {"pairing": {"tested": "nobody", "partner": "CR_emu"}},
            "is damaged (", "is no whole sidecar",
        ),
        ({"closure": 7}, "is damaged (", "is no sidecar"),
        ({"closure": {"variables": {"tried": 1}}}, "is damaged (", "is no sidecar"),
    ],
)  # fmt: skip
def test_a_damaged_sidecar_costs_the_closure_and_not_the_fit(
    folder, change, fitted_says, inspect_says
):
    off(folder, [115, 85, 58, 45])
    invoke("build", "analysis.yml", "-o", "pair.json")
    path = folder / "pair.metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    fitted = invoke("fit", "pair.json", "-o", "fit.json")
    assert fitted.code == 0
    warning = " ".join(fitted.err.split())
    assert f"warning: pair.metadata.json: {fitted_says}" in warning
    assert "closure is not tested" in warning
    shown = invoke("inspect", "pair.json")
    assert shown.code == 3
    assert shown.message.startswith(f"pair.metadata.json: {inspect_says} of 'ddphf build'")


def test_inspect_shows_both_and_says_which_is_which(folder):
    off(folder, [210, 85, 20, 41])
    invoke("build", "analysis.yml", "-o", "pair.json")
    shown = invoke("inspect", "pair.json")
    assert shown.code == 0
    assert "ratio and fakes taken as known" in shown.out
    assert "errors of maps and fakes profiled" in shown.out
    assert "3 bins away from the signal, the smaller of 2 p-values counts" in shown.out
    entry = json.loads(invoke("inspect", "pair.json", "-o", "-").out)["closure"]
    sidecar = json.loads((folder / "pair.metadata.json").read_text())["closure"]
    assert entry["taken_as_known"] == ["ratio", "fakes"]
    for key in ("profiled", "side"):
        assert entry[key] == sidecar[key]
    # Errors make every difference smaller.
    assert entry["profiled"]["chi2"] < entry["chi2"]


def test_the_plain_pair_has_equal_closures():
    built = build_workspace(plain_pair(), signal_scale="auto")
    entry = summarize_closure(built.workspace, PAIRING)
    assert entry["profiled"]["chi2"] == pytest.approx(entry["chi2"], rel=1e-12)
    assert entry["profiled"]["p_value"] == pytest.approx(entry["p_value"], rel=1e-12)
    assert entry["profiled"]["n_sigma"] == pytest.approx(entry["n_sigma"]["restored"], rel=1e-12)
