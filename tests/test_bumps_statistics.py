"""Statistics of bumps that need minutes: Delta Z, AUC, false positives, global p-values, speed."""

import time

import numpy as np
import pytest
from bump_data import drawn, smooth, with_bump
from iminuit import Minuit
from others_data import needs, others
from scipy.optimize import minimize_scalar
from scipy.stats import kstest

from ddphf.bumps.binning import Binning
from ddphf.bumps.evaluate import evaluate_bumps
from ddphf.bumps.evaluation_tables import QUIET, Row, summarize
from ddphf.bumps.generator import SETS, draw_background, draw_sample
from ddphf.bumps.global_p import toy_maxima
from ddphf.bumps.hunt import hunt
from ddphf.bumps.known import fit_signal
from ddphf.bumps.many import hunt_all
from ddphf.bumps.prepare import Width
from ddphf.bumps.run_scan import scan_spectra
from ddphf.bumps.spectra import read_spectra
from ddphf.bumps.templates import density_templates


def spectra_of(which, n=None):
    rng = np.random.default_rng(4)
    return [draw_sample(rng, which, signal=i % 2 == 0) for i in range(n or 40)]


@pytest.mark.parametrize("which", SETS)
def test_samples_fall_and_hold_what_is_asked_for(which):
    for sample in spectra_of(which):
        assert np.all(np.diff(sample.background) <= 1e-9)
        assert sample.background.max() <= 1e5
        assert sample.background.min() >= 10 - 1e-9
        assert 30 <= len(sample.counts) <= 100
        assert (sample.at is None) == (sample.z == 0.0)


def test_samples_are_those_of_their_seed():
    one, other = (draw_sample(np.random.default_rng(3), "talk", signal=True) for _ in range(2))
    assert np.array_equal(one.counts, other.counts)
    assert evaluate_bumps(["talk"], signals=3, backgrounds=3, seed=5) == evaluate_bumps(
        ["talk"], signals=3, backgrounds=3, seed=5
    )


def test_tables_of_an_evaluation_are_those_of_its_rows():
    """A thousand backgrounds and some signals of known numbers."""
    quiet = np.linspace(0.0, 5.0, 2000)
    rows = [Row("f", False, (0.0, 0.0), False, (z, z, z), (0.0, 50.0, 0.5, 60.0, 1.5), True, 0)
            for z in quiet]  # fmt: skip
    for i in range(40):
        largest = (9.0, 9.0, QUIET if i < 10 else 9.0)
        about = (5.0, 50.0, 0.5, 60.0, 1.0 + i / 40)
        rows.append(Row("g", True, (5.0, 5.0 + i / 40), i >= 10, largest, about, True, 0))
    found = summarize("set", rows)
    assert found["auc"]["value"] == found["auc_stated"]["value"] == 1.0
    assert found["auc_missed"]["value"] == pytest.approx(0.75)
    assert (found["delta_z"]["n"], found["delta_z_all"]["n"]) == (30, 40)
    assert found["delta_z_all"]["bias"] == pytest.approx(19.5 / 40)
    at = found["threshold"]
    assert (at["rate"], at["signals"]) == (1e-3, 0.75)
    assert at["z"] == quiet[-2]
    assert at["z_interval"][0] < at["z"] <= at["z_interval"][1]
    four = next(row for row in found["false_positives"] if row["z"] == 4.0)
    assert four["n"] == np.sum(quiet >= 4.0)
    assert sum(row["n"] for row in found["against"]["width"]) == 40
    assert sum(found["delta_z_histogram"]["counts"]) == 40
    assert [row["true"] for row in found["roc"]] == [1.0] * 12
    assert summarize("few", rows[:500])["threshold"] is None


@pytest.mark.slow
def test_in_family():
    found = evaluate_bumps(["talk"], signals=400, backgrounds=400, seed=1).sets[0]
    assert found["failed"] == 0
    assert found["signals"] == 400
    for key in ("delta_z_all", "delta_z"):  # of all signals, and where Z is stated
        assert found[key]["n"] > 300
        assert abs(found[key]["bias"]) < 0.15
        assert found[key]["half_range"] < 0.8
    assert found["auc"]["value"] > 0.93
    assert found["auc_missed"]["value"] < found["auc"]["value"] < found["auc_known"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("which", [name for name in SETS if name != "talk"])
def test_unseen_smooth_families(which):
    found = evaluate_bumps([which], signals=400, backgrounds=200, seed=1).sets[0]
    assert found["failed"] == 0
    assert abs(found["delta_z_all"]["bias"]) < 0.3
    assert found["delta_z_all"]["half_range"] < 1.0
    assert found["auc"]["value"] > 0.93


@pytest.mark.slow
def test_rate_of_false_bumps():
    """10 000 spectra without a bump: the largest Z is beyond 5 in at most one of a thousand."""
    found = evaluate_bumps(["talk"], signals=2, backgrounds=10_000, seed=2).sets[0]
    five = next(row for row in found["false_positives"] if row["z"] == 5.0)
    assert five["interval"][1] < 1e-3
    assert five["interval"][0] <= five["rate"] <= five["interval"][1]
    at = found["threshold"]
    assert at["rate"] == pytest.approx(1e-3)
    assert at["rate_interval"][0] < 1e-3 < at["rate_interval"][1]
    assert 3.5 < at["z"] < 5
    assert at["z_interval"][0] <= at["z"] <= at["z_interval"][1]


@pytest.mark.slow
def test_global_p_is_uniform_over_500_spectra_without_a_bump():
    rng = np.random.default_rng(11)
    shapes = list(SETS["talk"].values())
    p = []
    for seed in range(500):
        n = int(rng.integers(30, 61))
        places = Binning(np.arange(n + 1.0), np.full(n, 1.0))
        background = draw_background(rng, n, shapes[seed % len(shapes)])
        (found,) = hunt(places, rng.poisson(background).astype(float)[None])
        if found.best is None:
            continue
        maxima = toy_maxima([places], [found.null], 160, seed=seed)[0]
        ties = np.sum(maxima == found.z) + 1
        p.append((np.sum(maxima > found.z) + rng.random() * ties) / (len(maxima) + 1))
    assert len(p) > 400
    assert kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p) < 0.05) < 0.085


@pytest.mark.slow
@needs("mass_spectra")
def test_global_p_of_published_spectra():
    place = others("mass_spectra")
    (atlas,), _ = read_spectra([str(place / "atlas_diphoton_2012.csv")])
    best = scan_spectra([atlas], Width(mass=1.656), toys=10_000, seed=1).spectra[0]["best"]
    assert best["mass"] == 127.0
    assert best["z"] == pytest.approx(3.349, abs=0.001)
    # .0153(12) of 10 000 toys of another seed: three standard deviations of the difference
    assert best["p_global"] == pytest.approx(0.0153, abs=0.0052)
    # .293(15) and .342(15) of 1 000 toys of another seed: the same band
    for name, bins, p in (("cms_diphoton", 1.5, 0.293), ("cms_dimuon", 1.0, 0.342)):
        (cms,), _ = read_spectra([str(place / f"{name}.csv")])
        best = scan_spectra([cms], Width(bins=bins), toys=1000, seed=1).spectra[0]["best"]
        assert best["p_global"] == pytest.approx(p, abs=0.063)


def spend(work):
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.slow
def test_known_background_is_50_times_as_fast_as_scipy():
    b = smooth(60)
    counts = np.random.default_rng(1).poisson(b, size=(64, 60)).astype(float)
    templates = density_templates(np.arange(61.0), np.arange(60) + 0.5, np.full(60, 1.5))

    def ours():
        for block in counts.reshape(4, 16, 1, 60):
            fit_signal(block, b, templates)

    def scipys():
        for t in templates:
            seen = t > 1e-9 * t.max()  # further away b / t overflows, and never is the least
            low = -0.999 * float(np.min(b[seen] / t[seen]))
            minimize_scalar(
                lambda mu, t=t: 2 * np.sum(b + mu * t - counts[0] * np.log(b + mu * t)),
                bounds=(low, 5000.0), method="bounded", options={"xatol": 1e-6},
            )  # fmt: skip

    assert spend(scipys) / 60 > 50 * spend(ours) / counts.size


@pytest.mark.slow
def test_a_scan_is_20_times_as_fast_as_minuit():
    """All candidates with and without their best bump, and every place: 50 + 50 fits by Minuit are
    compared as a part of them."""
    n, places = drawn(with_bump(smooth(), 25, 120.0)), Binning(np.arange(51.0), np.full(50, 1.5))
    counts = np.stack([n] * 8)
    design = places.designs[0]
    x = design.columns

    def minuits():
        def nll(p):
            r = np.exp(x @ p[1:]) + p[0] * places.templates[25]
            d = np.diff(p[1:], 3)
            return float(np.sum(r - n * np.log(np.maximum(r, 1e-9))) + 500 * d @ d)

        fit = Minuit(nll, np.append(0.0, np.linspace(7, 3, 20)))
        fit.errordef = 0.5
        fit.migrad()

    models = 2 * 25 + 50
    assert models * spend(minuits) > 20 * spend(lambda: hunt(places, counts)) / 8


@pytest.mark.slow
def test_many_spectra_in_bounded_time():
    """300 spectra of binnings of their own: a hundredth of 30 000 within 20 minutes."""
    samples = spectra_of("talk", 300)
    binnings = [
        Binning(np.arange(len(s.counts) + 1.0), np.full(len(s.counts), 1.5)) for s in samples
    ]
    counts = [s.counts for s in samples]
    assert spend(lambda: hunt_all(binnings, counts)) < 300 / 30_000 * 1200
