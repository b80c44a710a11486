"""A measurement without a null: what is stated, by every command, and never a significance."""

import json
import math
import re

import numpy as np
import pyhf
import pytest
from conftest import invoke
from measured_models import COUPLING, MASSES, ratio_workspace, write_measurement
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from ddphf.exceptions import ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.inference.limits.limits import limit_workspace
from ddphf.results.fit import FitResult
from ddphf.results.measured import Declared, DerivedRule
from ddphf.statistics.couplings import phase_space_ratio

T = np.array([4000.0, 6000.0])
DECLARED = Declared(measurement=True, tested=0.98, derived=(DerivedRule.of(COUPLING),))


def by_hand(ratio=None):
    """Minimise -2 ln L of the small ratio in plain numpy, R held or free; without constants."""
    counts = {"e": np.array([4040.0, 6010.0]), "m": np.array([4040.0, 6110.0])}

    def value(x):
        b, i = x[0], x[1]
        r = x[2] if ratio is None else ratio
        reference = 1.02**b if abs(b) >= 1 else _code4(b, 1.02, 0.98)
        rates = {"e": T * reference, "m": T * reference * r * (1 + 0.01 * i) + T / 100}
        main = sum(
            np.sum(rates[k] - counts[k] - counts[k] * np.log(rates[k] / counts[k])) for k in "em"
        )
        return 2 * main + b**2 + i**2

    start = [0.0, 0.0] if ratio is not None else [0.0, 0.0, 1.0]
    found = minimize(value, start, method="BFGS", options={"gtol": 1e-9})
    best = minimize(value, found.x, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13})
    return best.x, best.fun


def _code4(alpha, hi, lo):
    """pyhf's interpolation between lo and hi: a polynomial of sixth degree inside +-1."""
    model = pyhf.interpolators.code4([[[[lo], [1.0], [hi]]]])
    return float(np.asarray(model(np.array([[alpha]])))[0, 0, 0, 0])


def test_the_statement_against_plain_numpy():
    found = fit_workspace(ratio_workspace(), declared=DECLARED)
    s = found.measurement_statement
    best, least = by_hand()
    assert s.value == pytest.approx(best[2], abs=2e-7)
    ends = [
        brentq(lambda r: by_hand(r)[1] - least - 1.0, *pair, xtol=1e-7)
        for pair in ((0.95, best[2]), (best[2], 1.05))
    ]
    assert s.value + s.error_down == pytest.approx(ends[0], abs=2e-6)
    assert s.value + s.error_up == pytest.approx(ends[1], abs=2e-6)
    assert s.tested.t == pytest.approx(by_hand(0.98)[1] - least, abs=1e-6)
    assert s.tested.p_two_sided == pytest.approx(2 * norm.sf(math.sqrt(s.tested.t)), rel=1e-12)
    # B_e is known from its prior, 2 %, and from the electrons' counts, in this part of it:
    part = (1 / 0.02**2) / (1 / 0.02**2 + 10050)
    counts = math.sqrt(10150 / 10050**2 + (1 - part) ** 2 / 10050)
    assert s.statistical == pytest.approx(s.value * counts, rel=2e-3)
    systematic = math.hypot(0.01, part * 0.02)
    assert s.systematic == pytest.approx(s.value * systematic, rel=2e-3)
    assert math.hypot(s.statistical, s.systematic) == pytest.approx(s.error, rel=1e-12)
    assert s.frozen["statistical"] == pytest.approx(s.value * math.sqrt(10150) / 10050, rel=2e-3)
    assert [i["level"] for i in s.intervals] == [0.6827, 0.9545]


def test_derived_quantities_follow_to_first_order():
    s = fit_workspace(ratio_workspace(), declared=DECLARED).measurement_statement
    (g,) = s.derived
    space = phase_space_ratio(**MASSES)
    assert g.value == pytest.approx(math.sqrt(s.value / space), rel=1e-12)
    for part in ("error", "statistical", "systematic"):
        slope = g.value / (2 * s.value)
        assert getattr(g, part) == pytest.approx(slope * getattr(s, part), rel=1e-9)
    assert g.inputs == {"masses": MASSES, "phase_space_ratio": space}


@pytest.mark.parametrize(("tau", "expected"), [(1776.93, 0.972562707), (1776.86, 0.972560600)])
def test_phase_space(tau, expected):
    assert phase_space_ratio(**{**MASSES, "tau": tau}) == pytest.approx(expected, abs=5e-10)


def test_a_factor_with_an_error_is_systematic():
    rule = DerivedRule.of(
        {"name": "B", "kind": "power", "factor": 0.1782, "factor_error": 0.0004, "power": 1}
    )
    found = rule.apply(0.97, 0.003, 0.002)
    assert found.value == pytest.approx(0.1782 * 0.97)
    assert found.error == pytest.approx(math.hypot(0.1782 * 0.003, 0.97 * 0.0004))
    assert found.statistical == pytest.approx(0.1782 * 0.002)
    assert math.hypot(found.statistical, found.systematic) == pytest.approx(found.error)


def by_pyhf(statistic, tested, workspace, bounds):
    model = pyhf.Workspace(workspace).model()
    data = pyhf.Workspace(workspace).data(model)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, strategy=2))
    try:
        every = model.config.suggested_bounds()
        every[model.config.poi_index] = bounds
        return float(
            statistic(tested, data, model, model.config.suggested_init(), every,
                      model.config.suggested_fixed())
        )  # fmt: skip
    finally:
        pyhf.set_backend("numpy")


def negative():
    """Fewer events than the background: the best fit of R is below 0."""
    workspace = ratio_workspace(bounds=(-2.0, 5.0), numerator=(3950.0, 5920.0))
    signal, background = workspace["channels"][1]["samples"]
    background["data"] = [4050.0, 6050.0]
    signal["data"], signal["modifiers"] = [400.0, 600.0], signal["modifiers"][:1]
    return workspace


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tested", [0.0, 0.05, 0.3])
def test_tested_values_are_those_of_pyhf(tested):
    workspace = negative()
    s = fit_workspace(workspace, declared=Declared(True, tested)).measurement_statement
    assert s.value < -0.1
    statistics = pyhf.infer.test_statistics
    t = by_pyhf(statistics.tmu, tested, workspace, (-2.0, 5.0))
    tilde = by_pyhf(statistics.tmu_tilde, tested, workspace, (0.0, 5.0))
    assert s.tested.t == pytest.approx(t, abs=1e-5)
    assert s.tested.t_tilde == pytest.approx(tilde, abs=1e-5)
    assert 0 <= s.tested.p_two_sided_tilde <= 1


def test_a_value_below_zero_has_no_tilde():
    s = fit_workspace(negative(), declared=Declared(True, -0.1)).measurement_statement
    assert (s.tested.t_tilde, s.tested.p_two_sided_tilde) == (None, None)
    assert s.tested.t > 0


def test_undefined_at_a_value_that_is_not_positive():
    found = fit_workspace(negative(), declared=Declared(True, None, DECLARED.derived))
    assert found.measurement_statement.derived == ()
    assert any(re.match("'g_mu/g_e' is not defined at R = -0", line) for line in found.warnings)


def test_asymptotic_p_of_the_bounded_statistic():
    """Monte Carlo of a Gaussian estimate: t~ of mu_hat below 0 is relative to the bound."""
    from ddphf.inference.measured import _p_tilde

    rng = np.random.default_rng(3)
    value, sigma = 0.7, 1.0
    estimate = value + sigma * rng.standard_normal(400_000)
    t = np.where(
        estimate >= 0, ((estimate - value) / sigma) ** 2,
        (value / sigma) ** 2 - 2 * estimate * value / sigma**2,
    )  # fmt: skip
    for cut in (0.1, 0.4, 0.6, 2.0, 5.0):
        fraction = np.mean(t >= cut)
        allowed = 4 * math.sqrt(fraction * (1 - fraction) / len(t))
        assert _p_tilde(cut, value, sigma) == pytest.approx(fraction, abs=allowed)


def test_a_declared_measurement_has_no_significance_whatever_its_bounds():
    workspace = ratio_workspace(bounds=(0.0, 10.0))
    plain = fit_workspace(workspace)
    assert plain.discovery.z0 > 50  # what a ratio must not be taken for
    found = fit_workspace(workspace, declared=DECLARED)
    assert (found.null, found.discovery) == (None, None)
    assert found.warnings == ()
    record = found.to_dict()
    assert (record["null"], record["discovery"]) == (None, None)
    assert FitResult.from_dict(json.loads(json.dumps(record))) == found
    inside = fit_workspace(ratio_workspace(), declared=DECLARED).measurement_statement
    assert found.measurement_statement.value == pytest.approx(inside.value, abs=1e-9)
    assert found.measurement_statement.tested.t == pytest.approx(inside.tested.t, abs=1e-9)


def test_one_that_is_not_declared_says_why_and_states_it_too():
    found = fit_workspace(ratio_workspace())
    assert any("exclude 0, so there is no null" in line for line in found.warnings)
    s = found.measurement_statement
    assert (s.tested, s.derived) == (None, ())
    assert "exclude 0" in s.no_null
    assert s.error_down < 0 < s.error_up


def test_pyhfs_engine_states_what_it_can():
    found = fit_workspace(ratio_workspace(), declared=DECLARED, engine="pyhf")
    s = found.measurement_statement
    best = fit_workspace(ratio_workspace(), declared=DECLARED).measurement_statement
    assert s.value == pytest.approx(best.value, abs=1e-6)
    assert (s.error_up, s.statistical, s.intervals) == (None, None, ())
    assert any("need the compiled likelihood" in line for line in found.warnings)


def test_intervals_need_no_null():
    found = limit_workspace(ratio_workspace(), interval=True)
    s = fit_workspace(ratio_workspace()).measurement_statement
    assert (found.asymptotic, found.toys) == (None, None)
    ends = [(i.lower, i.upper) for i in found.intervals]
    assert ends[0] == pytest.approx((s.intervals[0]["low"], s.intervals[0]["high"]), abs=1e-8)
    with pytest.raises(ModelError, match="exclude 0, so there is no null"):
        limit_workspace(ratio_workspace())
    with pytest.raises(ModelError, match="declared by the sidecar"):
        limit_workspace(ratio_workspace(bounds=(0.0, 10.0)), declared=DECLARED)


def test_intervals_by_toys_need_none_either():
    found = limit_workspace(
        ratio_workspace(), interval=True, methods=("asymptotic", "toys"), toys=400, seed=1
    )
    by_method = {(i.method, i.level): i for i in found.intervals}
    asymptotic, toys = (by_method[m, 0.6827] for m in ("asymptotic", "toys"))
    assert toys.lower == pytest.approx(asymptotic.lower, abs=4 * toys.lower_error + 1e-5)
    assert toys.upper == pytest.approx(asymptotic.upper, abs=4 * toys.upper_error + 1e-5)


@pytest.fixture
def declared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = ratio_workspace(bounds=(0.0, 10.0))
    write_measurement(
        tmp_path, workspace, name="R", statement="measurement", tested=0.98, derived=[COUPLING]
    )
    return tmp_path


def run(line, code=0):
    outcome = invoke(*line.split())
    assert outcome.code == code, outcome.err
    return outcome


def test_every_command_that_needs_no_null(declared):
    fit = run("fit w.json -o fit.json")
    assert "R = 0.98 tested: t = " in fit.err
    assert "g_mu/g_e = " in fit.err
    assert "q0" not in fit.err
    assert "warning" not in fit.err
    run("fit w.json --tested 1.0 -o other.json")
    other = json.loads((declared / "other.json").read_text())["measurement_statement"]
    assert other["tested"]["value"] == 1.0
    for line in (
        "scan w.json --parameter R -o scan.json",
        "rank w.json -o rank.json",
        "limit w.json --interval -o limit.json",
        "yields w.json --fit fit.json -o yields.json",
        "inspect w.json -o inspect.json",
    ):
        assert "null" not in run(line).err
    run("report w.json fit.json rank.json scan.json limit.json yields.json -o r.html")
    page = (declared / "r.html").read_text()
    assert "there is no null hypothesis" in page
    assert "phase space ratio 0.9725627073" in page
    assert "Z:" not in page
    limit = json.loads((declared / "limit.json").read_text())
    assert set(limit) & {"asymptotic", "toys"} == set()


def test_a_published_measurement_is_verified(declared):
    from ddphf.publish.archive import pack, unpack
    from ddphf.publish.contents import SUMS, make_sums
    from ddphf.publish.verify import verify_archive

    run("fit w.json -o fit.json")
    run("limit w.json --interval -o limit.json")
    run("publish w.json fit.json limit.json -o R.tar.gz")
    packed = (declared / "R.tar.gz").read_bytes()
    files = unpack(packed, name="R")
    results = json.loads(files["results.json"])
    assert results["statements"] == []
    (stated,) = results["measured"]
    assert stated["poi"] == "R"
    assert "BkgOnly.json" not in files
    readme = files["README.md"].decode()
    assert "without a null" in readme
    assert "q0" not in readme.split("## What the numbers mean")[1]
    good = verify_archive(packed, level=2, records=True)
    assert good.passed
    assert any("tested value" in check.what for check in good.checks)

    def forged(change):
        changed = json.loads(files["results.json"])
        change(changed)
        new = {**files, "results.json": json.dumps(changed).encode()}
        new[SUMS] = make_sums(new)
        return verify_archive(pack(new), level=1, records=True)

    def narrower(r):
        r["measured"][0]["error"] *= 0.5

    def other_coupling(r):
        r["measured"][0]["derived"][0]["value"] += 0.01

    def other_t(r):
        r["measured"][0]["tested"]["t"] += 1.0

    def other_end(r):
        r["measured"][0]["intervals"][0]["low"] -= 0.01

    def a_significance(r):
        r["statements"] = [
            {"measurement": "ratio", "point": "ratio", "null": "ratio", "mu_hat": 1.0,
             "mu_error": 0.1, "q0": 0.0, "z0": 0.0, "p0": 0.5, "q0_capped": 0.0}
        ]  # fmt: skip

    for change in (narrower, other_coupling, other_t, other_end, a_significance):
        assert not forged(change).passed, change.__name__


@pytest.mark.parametrize(
    "line",
    [
        "discover w.json",
        "toys w.json --toys 9 -o t.npz",
        "limit w.json",
        "inject w.json --z 3 -o i.json",
    ],
)
def test_no_significance_of_a_declared_measurement(declared, line):
    outcome = run(line, code=3)
    assert "(statement: measurement)" in outcome.err
    assert "'ddphf limit --interval' its intervals" in outcome.err


def test_a_sidecar_of_another_workspace_is_said(declared):
    workspace = ratio_workspace(bounds=(0.0, 9.0))
    (declared / "w.json").write_text(json.dumps(workspace))
    outcome = run("fit w.json -o fit.json")
    assert "belongs to another workspace, so what it declares is not used" in outcome.err
    assert "discovery" in json.loads((declared / "fit.json").read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tested": 12.0}, r"the tested value 12 of 'R' is outside its bounds \[0, 10\]"),
        ({"statement": "search"}, "a tested value is for a measurement without a null"),
    ],
)
def test_tested_values_that_cannot_be(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    declared = {"statement": "measurement", "tested": 0.98, **change}
    if declared["statement"] == "search":
        declared |= {
            "pairing": {"tested": "muon", "partner": "electron"},
            "binning": {"axes": [{"label": "x", "unit": "", "edges": [0.0, 1.0, 2.0]}]},
        }
    write_measurement(tmp_path, ratio_workspace(bounds=(0.0, 10.0)), **declared)
    assert re.search(message, run("fit w.json -o fit.json", code=3).err.replace("\n", " "))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"derived": [{"name": "g", "kind": "coupling_ratio"}]}, "'masses' is a required property"),
        ({"derived": [{**COUPLING, "masses": {**MASSES, "muon": 2000.0}}]}, "expected less than"),
        ({"derived": [{"name": "g", "kind": "power", "factor": 0.0}]}, "minimum of 0"),
        ({"statement": "ratio"}, "is not one of"),
    ],
)
def test_a_damaged_declaration_is_said_and_not_used(tmp_path, monkeypatch, wrong, message):
    monkeypatch.chdir(tmp_path)
    declared = {"statement": "measurement", **wrong}
    write_measurement(tmp_path, ratio_workspace(), **declared)
    outcome = run("fit w.json -o fit.json")
    assert message in outcome.err.replace("\n", " ")
    assert "what it declares is not used" in outcome.err.replace("\n", " ")
