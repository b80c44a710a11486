"""The whole chain on pseudo-experiments whose maps and fakes are drawn from their stated errors.

Each draws true efficiencies and fake factors, then events with them; the analysis knows the nominal
ones. Files, build and fit are those of users.
"""

import numpy as np
import pytest
from detector import draw_events, draw_truth, read_pair, write_files
from scipy.stats import kstest

from ddphf.inference.fit import fit_workspace
from ddphf.workspace.build import build_workspace

N = 240
MODELS = {
    "default": {},
    "lepton_id_off": {"lepton_id": False},
    "fake_errors_off": {"fake_errors": False},
}


def build(folder, tables):
    return build_workspace(read_pair(folder, tables))


def prepare(folder, **options):
    """An analysis in a folder of its own, all defaults."""
    folder.mkdir()
    write_files(folder, closure=["n_jets"], **options)
    return folder


ONCE = pytest.mark.xdist_group("experiments")
"""The experiments take many minutes: one worker makes them for all tests of them."""


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Pulls of mu by model, and p-values of closure in the default model; each of shape (N,)."""
    base = tmp_path_factory.mktemp("pseudo")
    folders = {name: prepare(base / name, **options) for name, options in MODELS.items()}
    pulls = {name: [] for name in MODELS}
    closures = {name: [] for name in ("known", "profiled", "n_sigma", "side", "n_jets")}
    for number in range(N):
        rng = np.random.default_rng([11, number])
        tables = draw_events(rng, draw_truth(rng))
        for name, folder in folders.items():
            built = build(folder, tables)
            fitted = fit_workspace(built.workspace).discovery
            pulls[name].append(fitted.mu_hat / fitted.mu_error)
            if name == "lepton_id_off":
                closures["known"].append(built.metadata["closure"]["profiled"]["p_value"])
            if name == "default":
                entry = built.metadata["closure"]
                closures["profiled"].append(entry["profiled"]["p_value"])
                closures["n_sigma"].append(entry["profiled"]["n_sigma_p_value"])
                closures["side"].append(entry["side"]["p_value"])
                closures["n_jets"].append(entry["variables"]["results"][0]["p_value"])
    return {k: np.array(v) for k, v in pulls.items()}, {k: np.array(v) for k, v in closures.items()}


def width(pulls):
    """Standard deviation of pulls and its error."""
    spread = float(np.std(pulls, ddof=1))
    return spread, spread / np.sqrt(2 * len(pulls))


@ONCE
@pytest.mark.slow
def test_the_pull_of_mu_has_width_one(experiments):
    pulls = experiments[0]["default"]
    spread, error = width(pulls)
    assert abs(spread - 1) < 2 * error
    assert abs(np.mean(pulls)) < 3 * spread / np.sqrt(N)
    for reach, part in ((1.0, 0.6827), (2.0, 0.9545)):
        covered = np.mean(np.abs(pulls) < reach)
        assert covered == pytest.approx(part, abs=3 * np.sqrt(part * (1 - part) / N))


@ONCE
@pytest.mark.slow
@pytest.mark.parametrize("model", ["lepton_id_off", "fake_errors_off"])
def test_without_an_error_the_pull_is_visibly_wrong(experiments, model):
    spread, error = width(experiments[0][model])
    assert spread > 1.15
    assert spread - 1 > 3 * error


@ONCE
@pytest.mark.slow
@pytest.mark.parametrize("test", ["profiled", "n_sigma", "side", "n_jets"])
def test_closure_with_the_errors_of_maps_and_fakes_is_uniform(experiments, test):
    assert kstest(experiments[1][test], "uniform").pvalue > 1e-3


@ONCE
@pytest.mark.slow
def test_closure_without_the_errors_of_the_maps_is_not(experiments):
    known = experiments[1]["known"]
    assert kstest(known, "uniform").pvalue < 1e-6
    assert np.mean(known < 0.05) > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_a_dependence_on_jets_is_found(tmp_path, number):
    """4 % per jet, which no map knows, with four times the events."""
    folder = prepare(tmp_path / "jets")
    rng = np.random.default_rng([12, number])
    truth = draw_truth(rng, per_jet=-0.04, events=120_000)
    built = build(folder, draw_events(rng, truth))
    variables = built.metadata["closure"]["variables"]
    assert variables["results"][0]["p_value"] < 0.01
    assert any("closure in 'n_jets'" in line for line in built.warnings)


@pytest.mark.slow
def test_a_signal_does_not_fake_a_failure(tmp_path):
    """A signal of about seven sigma: seen in all bins, never away from it nor in the jets."""
    folder = prepare(tmp_path / "signal")
    all_bins, side, n_jets = [], [], []
    for number in range(60):
        rng = np.random.default_rng([13, number])
        entry = build(folder, draw_events(rng, draw_truth(rng, signal=2000.0))).metadata["closure"]
        all_bins.append(entry["profiled"]["p_value"])
        side.append(entry["side"]["p_value"])
        n_jets.append(entry["variables"]["results"][0]["p_value"])
    assert np.median(all_bins) < 1e-3
    for values in (side, n_jets):
        assert kstest(values, "uniform").pvalue > 1e-3
