"""The reference study: worked numbers, its record, its command, and the paper's table."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke
from reference_numbers import FLAT
from scipy.stats import norm
from test_first_hour import commands

from ddphf.config.analysis import read_analysis
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inputs.histogram import Axis
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.results.birman import BirmanResult
from ddphf.studies.birman import run_study
from ddphf.studies.birman_setups import Setup, build_models, flat_setups, sample_setup

WORKSPACES = Path(__file__).parent.parent / "workspaces"


def small_setup(level=400.0, n=8):
    edges = tuple(float(i) for i in range(n + 1))
    shape = np.zeros((n, n))
    shape[3:5, 3:5] = 1.0
    axes = (Axis("x", edges), Axis("y", edges))
    return Setup("small", "small", np.full((n, n), level), shape, axes)


@pytest.fixture(scope="module")
def study():
    return run_study(toys=512, seed=4, setups=[small_setup()], window=2)


def test_asimov_values_in_closed_form(study):
    setup = study.setups[0]
    s = setup.mu_known / 4
    assert 4 * 2 * ((400 + s) * np.log1p(s / 400) - s) == pytest.approx(25.0, rel=1e-9)
    pair = 4 * 2 * ((400 + s) * np.log1p(s / (800 + s)) - 400 * np.log1p(s / 800))
    window = 2 * s / np.sqrt(800 + s)
    for name, expected in (
        ("L1", 5.0), ("L2", np.sqrt(pair)), ("N_sigma window", window),
        ("N_sigma all", 4 * s / np.sqrt(800 + s) / 8),
    ):  # fmt: skip
        assert setup.statistic(name).asimov == pytest.approx(expected, rel=1e-9)
    assert setup.window_sizes == (2, 4, 6, 8)
    closed = [min(k, 4 / k) * s / np.sqrt(800 + s) for k in setup.window_sizes]
    assert setup.window_asimov == pytest.approx(closed, rel=1e-12)
    assert (setup.best_start, setup.best_size) == ((3, 3), (2, 2))
    assert setup.best_n_sigma == pytest.approx(window, rel=1e-12)
    assert setup.signal_fraction == pytest.approx(4 * s / (64 * 400))
    assert setup.statistic("L1").injected_asimov == pytest.approx(setup.injected_z, abs=1e-9)


def test_ensembles_are_where_they_belong(study):
    for statistic in study.setups[0].statistics:
        error = 4 / np.sqrt(512)
        assert statistic.n_failed == 0
        assert statistic.null_mean == pytest.approx(0.0, abs=error)
        assert statistic.null_sd == pytest.approx(1.0, abs=error / np.sqrt(2))
        assert statistic.signal_mean == pytest.approx(statistic.asimov, abs=error + 0.05)
        # Next to 1 a handful of toys makes the area, and its error: a floor of .0005.
        band = 5 * statistic.auc_error + 5e-4
        assert statistic.auc == pytest.approx(statistic.auc_gaussian, abs=band)
        assert statistic.auc_gaussian == pytest.approx(norm.cdf(statistic.asimov / np.sqrt(2)))
        assert sum(statistic.null_counts) == sum(statistic.signal_counts) == 512
        found = np.array(statistic.injected_mean) - statistic.injected_asimov
        assert np.max(np.abs(found)) < 5 / np.sqrt(50)
    bands = np.array(study.setups[0].window_bands)
    assert np.all(np.diff(bands, axis=0) > 0)
    null = np.array(study.setups[0].window_null_bands)
    assert null[2] == pytest.approx(np.zeros(4), abs=0.25)


def test_toys_by_the_closed_form():
    """L1 as one channel is the measurement known_background of the pair."""
    models = build_models(small_setup(30.0))
    signal = models.signal.ravel()
    rng = np.random.default_rng(2)
    a, b = rng.poisson(30.0, (2, 256, 64)).astype(float)
    b += signal
    z = []
    for fitter, data in (
        (ToyFitter(models.known.source(0.0)), b),
        (ToyFitter(models.pair.source(0.0)), np.concatenate([a, b], axis=1)),
    ):
        q0, _, status, _ = fitter.fit(data, 20)
        assert np.all(status < 2)
        z.append(np.sign(q0) * np.sqrt(np.abs(q0)))
    for i in range(20):
        known = PlainPair.of(b[i], a[i], signal, known_background=np.full(64, 30.0))
        assert z[0][i] == pytest.approx(known.fit().z0, abs=1e-6)
        assert z[1][i] == pytest.approx(PlainPair.of(b[i], a[i], signal).fit().z0, abs=1e-6)


def test_record_survives_its_json(study):
    again = BirmanResult.from_dict(json.loads(json.dumps(study.to_dict())))
    assert again == study
    with pytest.raises(ValueError, match="expected schema 'ddphf/study_birman/1'"):
        BirmanResult.from_dict({"schema": "ddphf/fit/1"})


def test_a_seed_gives_the_same_study(study):
    again = run_study(toys=512, seed=4, setups=[small_setup()], window=2)
    assert again.setups[0].statistic("N_sigma all") == study.setups[0].statistic("N_sigma all")
    other = run_study(toys=512, seed=5, setups=[small_setup()], window=2)
    assert other.setups[0].statistic("L2").null_mean != study.setups[0].statistic("L2").null_mean


def test_rows_of_the_sample_stay_without_it(study):
    rows = {row.quantity: row for row in study.table}
    assert rows["sample: Z_L2"].ours is None
    assert rows["sample: N_sigma, window"].paper == "2.74"
    assert rows["small: Z_L2"].ours == study.setups[0].statistic("L2").asimov
    assert all(row.why for row in study.table)


def test_command_on_the_shipped_sample(folder):
    analysis = WORKSPACES / "higgs_lfv" / "analysis.yml"
    arguments = ["study", "birman", "-o", "out", "--toys", "60", "--analysis", analysis]
    outcome = invoke(*arguments)
    assert outcome.code == 0, outcome.err
    study = BirmanResult.from_dict(json.loads((folder / "out/study.json").read_text()))
    rows = {row.quantity: row.ours for row in study.table}
    assert rows["sample: Z_L1"] == pytest.approx(5.0, abs=1e-9)
    assert rows["sample: Z_L2"] == pytest.approx(3.526, abs=5e-4)
    assert rows["sample: N_sigma, all bins"] == pytest.approx(1.317, abs=5e-4)
    assert rows["sample: N_sigma, window"] == pytest.approx(2.783, abs=5e-4)
    assert rows["sample: side of the best square"] == 6
    assert rows["sample: signal / background, all bins [%]"] == pytest.approx(0.27, abs=0.005)
    assert rows["sample: signal / background, window [%]"] == pytest.approx(2.8, abs=0.05)
    assert study.setups[-1].window_start == (16, 7)
    for setup, level in zip(study.setups[::2], (100.0, 1e4), strict=False):
        known, paired, z_pair, _ = FLAT[level]
        assert setup.mu_known == pytest.approx(known, abs=1e-5)
        assert setup.mu_pair == pytest.approx(paired, abs=1e-5)
        assert setup.statistic("L2").asimov == pytest.approx(z_pair, abs=1e-6)
    text = (folder / "out/table.md").read_text()
    assert "| sample: AUC of L2 | 0.994 | " in text
    figures = sorted(p.name for p in (folder / "out").glob("*.png"))
    assert [name[:7] for name in figures] == [f"figure{i}" for i in range(1, 6)]
    assert invoke(*arguments).code == 2


def test_window_of_the_sample_is_another_analysis():
    setup = sample_setup(read_analysis(WORKSPACES / "higgs_lfv_window" / "analysis.yml"))
    assert setup.background.shape == setup.shape.shape == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "mean", "sd", "auc"), [(0, 3.5303, 0.982, 0.99416), (2, 3.5364, 0.997, 0.99398)]
)
def test_flat_ensembles_worked_out(index, mean, sd, auc):
    study = run_study(toys=20_000, seed=2, setups=[flat_setups()[index]])
    found = study.setups[0].statistic("L2")
    assert found.n_failed == 0
    assert found.signal_mean == pytest.approx(mean, abs=0.03)
    assert found.signal_sd == pytest.approx(sd, abs=0.02)
    assert found.auc == pytest.approx(auc, abs=1e-3)


@pytest.mark.slow
def test_the_page_is_what_its_command_writes(folder):
    page = (WORKSPACES.parent / "docs" / "study_birman.md").read_text()
    (folder / "workspaces").symlink_to(WORKSPACES)
    outcome = invoke(*commands(page)[0].split()[1:])
    assert outcome.code == 0, outcome.err
    rows = [r for r in Path("birman/table.md").read_text().splitlines() if r.startswith("| ")]
    assert len(rows) > 25
    assert [row for row in rows if row not in page.splitlines()] == []
    study = BirmanResult.from_dict(json.loads(Path("birman/study.json").read_text()))
    for setup in study.setups:
        found = setup.statistic("L2")
        numbers = f"{found.signal_mean:.4f} | {found.signal_sd:.4f} | {found.auc:.5f} +- "
        assert f"| {setup.title} | {numbers}{found.auc_error:.5f} |" in page
