"""The curve, the template for the other half, the power of the default, the ideal limits."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import invoke
from learn_toys import toy, unequal
from scipy.special import gamma
from scipy.stats import chi2, kstest, norm
from test_lepton_id_build import write_event_analysis

from ddphf.config.analysis import read_analysis
from ddphf.learning.calibration import count_redraws, smallest_p
from ddphf.learning.curve import _largest_pulls, learn_curve, learn_ratio
from ddphf.learning.ideal import ideal_t, ideal_z, known_background_z, toy_densities
from ddphf.learning.labels import make_labels
from ddphf.learning.pool import make_pool
from ddphf.learning.power import Injected, Signal, learn_power, limit_of
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.run_test import DEFAULT, learn_test
from ddphf.learning.template import held_out_z, split_halves

IDEAL = {
    ("tail", 10, 2000): (7.6618, 4.777953),
    ("bulk", 35, 2000): (2.1715, 2.256151),
    ("bulk", 90, 2000): (12.6164, 5.583729),
    ("non-local", 90, 2000): (7.5682, 4.540742),
    ("bulk", 500, 20000): (42.6969, 10.080300),
    ("non-local", 500, 20000): (26.0927, 8.230329),
}
"""t_id and Z_id by signal, its events, and events of the background in each sample."""


@pytest.mark.parametrize("case", IDEAL, ids=str)
def test_ideal_values_of_the_toy_model(case):
    signal, strength, size = case
    step = 2e-5
    x = (np.arange(200_000) + 0.5) * step
    b, s = toy_densities(signal, x)
    t, z = IDEAL[case]
    assert ideal_t(step * size * b, step * (size * b + strength * s)) == pytest.approx(t, abs=2e-4)
    assert known_background_z(step * size * b, step * strength * s) == pytest.approx(z, abs=2e-5)


def test_ideal_significances_of_12_degrees_of_freedom():
    for t, z in ((7.6618, 1.32), (2.1715, 0.42), (12.6164, 2.01), (7.5682, 1.31)):
        assert ideal_z(t) == pytest.approx(z, abs=0.006)


def make_events(folder, strength=0, seed=1, size=1500, variables=({"column": "x"},)):
    """Write events of the toy model with a bump in the tested sample at x = .2."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(1 / 8, 2 * size)
    f1 = rng.choice([11, 13], 2 * size)
    x, f1 = np.append(x, rng.normal(0.2, 0.02, strength)), np.append(f1, np.full(strength, 13))
    n = len(x)
    table = {"x": x, "y": rng.normal(size=n), "f1": f1, "f2": 24 - f1, "number": np.arange(n)}
    table |= {"pt1": rng.uniform(20, 60, n), "pt2": rng.uniform(10, 30, n)}

    def change(analysis):
        analysis["events"]["axes"] = [{"column": "x", "edges": {"bins": 20, "low": 0, "high": 1}}]
        analysis["events"]["identifier"] = ["number"]
        analysis["tested"] = {"label": "mue", "select": "f1 == 13"}
        analysis["learn"] = {"variables": list(variables), "redraws": 199}

    return write_event_analysis(folder, change, {"events": table})


def test_the_curve_finds_where(tmp_path):
    path = make_events(tmp_path, strength=250)
    found = learn_curve(read_analysis(path, needs_signal=False), redraws=256, seed=1)
    curve = found.curve
    assert curve["largest"]["pull"] > 4
    assert curve["largest"]["at"][0] == pytest.approx(0.2, abs=0.03)
    region = curve["region"]
    assert region["outside_band"]
    assert any(low < 0.2 < high for ((low, high),) in region["boxes"])
    assert region["tested"] - region["expected_tested"] > 50
    assert all(event["gain"] > 0 for event in curve["events"])
    assert found.p == pytest.approx(1 / 257)


def test_bands_hold_without_a_difference(tmp_path):
    """The simultaneous band is left by 5 % of null curves: here by few points of one."""
    path = make_events(tmp_path, seed=2)
    curve = learn_curve(read_analysis(path, needs_signal=False), redraws=256, seed=1).curve
    pulls = np.abs(curve["values"]) / np.array(curve["standard_deviation"])
    assert curve["simultaneous"] > 2.2
    assert np.mean(pulls > 1.96) < 0.35
    wide = np.array(curve["pointwise"]) / curve["standard_deviation"]
    assert np.median(wide) == pytest.approx(1.96, abs=0.15)


def test_one_redraw_has_no_band_of_width_zero():
    assert _largest_pulls(np.array([[2.0], [0.5]])).tolist() == [1.0]


@pytest.mark.parametrize("redraws", [10, 40])
def test_p_of_a_curve_is_uniform_with_few_redraws(redraws):
    """The data's curve is no part of its sd, so that no redraw's is part of its own."""
    rng = np.random.default_rng(21)
    p = []
    for _ in range(2000):
        values, null = rng.normal(size=12), rng.normal(size=(12, redraws))
        largest = float(np.max(np.abs(values) / np.sqrt(np.mean(null**2, axis=1))))
        p.append(count_redraws(largest, _largest_pulls(null, values)).p)
    for level in (0.1, 0.5):
        exact = np.floor(level * (redraws + 1)) / (redraws + 1)
        assert np.mean(np.array(p) <= exact + 1e-9) == pytest.approx(exact, abs=0.035)


def test_the_map_of_two_variables(tmp_path):
    path = make_events(tmp_path, strength=300, variables=[{"column": "x"}, {"column": "y"}])
    curve = learn_curve(read_analysis(path, needs_signal=False), redraws=128, seed=1).curve
    assert [len(axis) for axis in curve["axes"]] == [40, 40]
    assert len(curve["values"]) == 1600
    assert curve["largest"]["at"][0] == pytest.approx(0.2, abs=0.12)


def test_the_region_around_one_point_of_a_map_has_events(tmp_path):
    """Where nothing leaves the band, the region reaches to the next points of the grid."""
    path = make_events(tmp_path, variables=[{"column": "x"}, {"column": "y"}])
    curve = learn_curve(read_analysis(path, needs_signal=False), redraws=128, seed=1).curve
    region = curve["region"]
    assert not region["outside_band"]
    for axis, (low, high), at in zip(
        curve["axes"], region["boxes"][0], curve["largest"]["at"], strict=True
    ):
        place = axis.index(at)
        assert [low, high] == [axis[max(place - 1, 0)], axis[min(place + 1, 39)]]


def test_a_template_is_built_and_fitted_on_the_other_half(tmp_path, monkeypatch):
    make_events(tmp_path, strength=400)
    monkeypatch.chdir(tmp_path)
    assert invoke("learn", "template", "analysis.yml", "--folds", "2", "-o", "h.yml").code == 0
    for name in ("h", "h_2"):
        assert invoke("build", f"{name}.yml", "-o", f"{name}.json").code == 0
        assert invoke("fit", f"{name}.json", "-o", "fit.json", "--force").code == 0
        fit = json.loads((tmp_path / "fit.json").read_text())
        assert fit["discovery"]["z0"] > 2.5
        assert fit["fit"]["poi"]["value"] > 0
    halves = [np.load(tmp_path / f"{n}_held_out.npz")["number"] for n in ("h", "h_2")]
    assert len(np.intersect1d(*halves)) == 0
    assert len(np.union1d(*halves)) == 3400


def test_a_build_on_the_training_half_is_refused(tmp_path, monkeypatch):
    make_events(tmp_path)
    monkeypatch.chdir(tmp_path)
    invoke("learn", "template", "analysis.yml", "--folds", "2", "-o", "h.yml")
    document = yaml.safe_load((tmp_path / "h.yml").read_text())
    for file, count in (("h_2_held_out.npz", 1500), ("events.npz", 1500)):
        document["events"]["file"] = file
        (tmp_path / "again.yml").write_text(yaml.safe_dump(document))
        for command in (("build",), ("learn", "test")):
            found = invoke(*command, "again.yml", "-o", "w.json")
            assert found.code == 3
            assert f"{count} of" in found.err
            assert "among those that the template was learned from" in found.err


@pytest.mark.parametrize(
    "change", [{"coincidences": 1500}, {"columns": ["x"]}, {"seed": 9}, {"tested_on": 1}]
)
def test_a_changed_section_of_the_training_half_is_refused(tmp_path, monkeypatch, change):
    """Else a number edited by hand would let a build on the training half pass."""
    make_events(tmp_path, size=200)
    monkeypatch.chdir(tmp_path)
    invoke("learn", "template", "analysis.yml", "-o", "h.yml")
    document = yaml.safe_load((tmp_path / "h.yml").read_text())
    document["learned"].update(change)
    (tmp_path / "again.yml").write_text(yaml.safe_dump(document))
    found = invoke("build", "again.yml", "-o", "w.json")
    assert found.code == 3
    assert "at learned: was changed since 'ddphf learn template' wrote it" in found.err


@pytest.mark.parametrize(
    ("identifier", "kept", "copied"),
    [
        (["number"], lambda t: {"number": (t["number"] + 2**60).astype(np.uint64)},
         lambda t: {"number": t["number"].astype(np.int64)}),
        (None, lambda t: {}, lambda t: {k: v.astype(np.float32) for k, v in t.items()}),
    ],
)  # fmt: skip
def test_training_events_in_another_type_are_known(tmp_path, monkeypatch, identifier, kept, copied):
    """Large numbers of events with another sign bit, and everything in single precision."""
    path = make_events(tmp_path, size=200)
    table = dict(np.load(tmp_path / "events.npz"))
    table |= kept(table)
    np.savez(tmp_path / "events.npz", **table)
    np.savez(tmp_path / "copies.npz", **{**table, **copied(table)})
    document = yaml.safe_load(path.read_text())
    document["events"].pop("identifier")
    document["events"] |= {} if identifier is None else {"identifier": identifier}
    path.write_text(yaml.safe_dump(document))
    monkeypatch.chdir(tmp_path)
    assert invoke("learn", "template", "analysis.yml", "-o", "h.yml").code == 0
    assert invoke("build", "h.yml", "-o", "w.json").code == 0
    learned = yaml.safe_load((tmp_path / "h.yml").read_text())
    learned["events"]["file"] = "copies.npz"
    (tmp_path / "again.yml").write_text(yaml.safe_dump(learned))
    found = invoke("build", "again.yml", "-o", "v.json")
    assert found.code == 3
    assert "200 of 400 events are among those" in found.err


def test_a_learned_template_is_known_without_its_section(tmp_path, monkeypatch):
    """In an analysis file of one's own, and beside the section of the other half."""
    make_events(tmp_path, size=200)
    monkeypatch.chdir(tmp_path)
    invoke("learn", "template", "analysis.yml", "--folds", "2", "-o", "h.yml")
    documents = [yaml.safe_load((tmp_path / f"{n}.yml").read_text()) for n in ("h", "h_2")]
    bare = {k: v for k, v in documents[0].items() if k != "learned"}
    bare["events"] = {**bare["events"], "file": "events.npz"}
    swapped = {**documents[0], "tested": documents[1]["tested"], "partner": documents[1]["partner"]}
    for document, words in ((bare, "no section 'learned'"), (swapped, "the section 'learned' of")):
        (tmp_path / "own.yml").write_text(yaml.safe_dump(document))
        found = invoke("build", "own.yml", "-o", "w.json")
        assert found.code == 3
        assert words in found.err


def test_the_sidecar_says_what_was_learned_from(tmp_path, monkeypatch):
    make_events(tmp_path, strength=100, size=200)
    monkeypatch.chdir(tmp_path)
    invoke("learn", "template", "analysis.yml", "-o", "h.yml")
    invoke("learn", "test", "analysis.yml", "--redraws", "20", "-o", "l.json")
    (tmp_path / "far").mkdir()
    (tmp_path / "h_training.npz").rename(tmp_path / "far" / "t.npz")  # it may be moved
    document = yaml.safe_load((tmp_path / "h.yml").read_text())
    document["learned"]["training"] = "far/t.npz"
    (tmp_path / "h.yml").write_text(yaml.safe_dump(document))
    found = invoke("build", "h.yml", "-o", "w.json")
    assert found.code == 0, found.err
    sidecar = json.loads((tmp_path / "w.metadata.json").read_text())
    whole = json.loads((tmp_path / "l.json").read_text())
    assert sidecar["learned"]["sample_digest"] == whole["data_digest"]
    assert sidecar["learned"]["learned_from"] + sidecar["learned"]["tested_on"] == sum(
        whole["labels"][key] for key in ("n_tested", "n_partner")
    )


def test_halves_are_those_of_the_seed():
    one, again, other = split_halves(1001, 1), split_halves(1001, 1), split_halves(1001, 2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.sum() == 500


def test_power_grows_with_the_signal(tmp_path):
    path = make_events(tmp_path, size=500)
    found = learn_power(
        read_analysis(path, needs_signal=False),
        Injected(Signal((0.2,), (0.02,)), [0.0, 100.0], toys=12), redraws=99, seed=1,
    )  # fmt: skip
    none, much = found.power["points"]
    assert much["median_z"] > none["median_z"] + 1
    assert much["power"] > none["power"]
    assert much["q0_l1"]["z"] > much["ideal"]["z"] > 0


def flat_signal(means, widths, dimensions, n=4000):
    """Return t_id of 60 events in a flat pool of n, in [-3, 3] along each variable."""
    x = np.random.default_rng(6).uniform(-3, 3, (n, dimensions))
    events = SimpleNamespace(raw=x, labels=make_labels(np.arange(n) % 2 == 0))
    return limit_of(events, Signal(means, widths), 60.0)


@pytest.mark.parametrize(("dimensions", "width"), [(1, 0.05), (2, 0.1), (3, 0.3), (4, 0.5)])
def test_the_limit_knows_narrow_signals_of_several_variables(dimensions, width):
    """Against the integral of n_A ln(n_A / n) + n_B ln(n_B / n) over a flat background."""
    t = flat_signal((0.5,) * dimensions, (width,) * dimensions, dimensions)
    r = np.linspace(0, 9, 40_001)
    shell = np.diff(chi2.cdf(r**2, dimensions))
    sphere = np.pi ** (dimensions / 2) / gamma(dimensions / 2 + 1)
    volume = sphere * width**dimensions * np.diff(r**dimensions)
    inside = 2000 / 6**dimensions * volume
    rest = 2000 - inside.sum()
    exact = ideal_t(np.append(inside + 60 * shell, max(rest, 0.0)), np.append(inside, max(rest, 0)))
    assert t == pytest.approx(exact, rel=0.2)


def test_a_curve_of_few_redraws_says_so(tmp_path):
    config = read_analysis(make_events(tmp_path, size=300), needs_signal=False)
    few = learn_curve(config, redraws=3, seed=1).warnings
    assert any("bands come of 3 redraws" in line for line in few)
    assert not any("bands come" in w for w in learn_curve(config, redraws=100, seed=1).warnings)


def test_events_far_away_are_said(tmp_path):
    """One event at 1e6 leaves every other one in one cell of a scan."""
    path = make_events(tmp_path, size=300)
    assert not any("98 %" in w for w in learn_test(read_analysis(path, needs_signal=False),
                                                     redraws=20).warnings)  # fmt: skip
    table = dict(np.load(tmp_path / "events.npz"))
    table["x"][0] = 1e6
    np.savez(tmp_path / "events.npz", **table)
    found = learn_test(read_analysis(path, needs_signal=False), redraws=20)
    assert any("98 % of the events have 'x' within" in w for w in found.warnings)


FRESH = 20_261_126
"""Seed of toys that were drawn after the default was chosen."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal", "strength", "least"),
    [("tail", 10, 1.0), ("bulk", 90, 1.5), ("non-local", 90, 1.2)],
)
def test_power_of_the_default_on_fresh_toys(signal, strength, least):
    rng = np.random.default_rng([FRESH, len(signal)])
    z = []
    for seed in range(200):
        points, y = toy(rng, signal, strength)
        pool = make_pool(points, make_labels(y), DEFAULT)
        t, flipped, _ = smallest_p(pool.observed[0], redraw_pool(pool, 499, seed=seed)[0])
        z.append(norm.isf(count_redraws(t, flipped).p))
    print(f"{signal} {strength}: median Z {np.median(z):.2f}")
    assert np.median(z) >= least


@pytest.mark.slow
def test_held_out_z_is_standard_normal():
    rng = np.random.default_rng(14)
    z = []
    for seed in range(500):
        points, y, ratio, _ = unequal(rng, size=500)
        half = split_halves(len(y), seed)
        first, second = (make_labels(y[some], ratio[some]) for some in (half, ~half))
        z.append(held_out_z(learn_ratio(points[half], first), points[~half], second))
    assert kstest(z, "norm").pvalue > 1e-3
    assert np.std(z) == pytest.approx(1.0, abs=0.1)
