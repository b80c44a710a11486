"""The shipped asymmetric sample: closure before and after, its bytes, its fit, its README."""

import json
from pathlib import Path

import numpy as np
import pyhf
import pytest

from ddphf.config.analysis import read_analysis
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.inputs.events import read_events
from ddphf.results.fit import FitResult
from ddphf.symmetry.closure import close_pair
from ddphf.symmetry.load import load_pair
from ddphf.workspace.build import build_workspace

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "workspaces/higgs_lfv_asymmetric"


@pytest.fixture(scope="module")
def pair():
    return load_pair(read_analysis(FOLDER / "analysis.yml"))


@pytest.fixture(scope="module")
def closures(pair):
    """Closure with the injected signal, and without it by the sample's truth column."""
    events = read_events("events.parquet", folder=FOLDER)
    signal = events.select(events["truth"] == 2)
    edges = [axis.edges for axis in pair.binning]
    injected = np.histogram2d(signal["mass"], signal["l1_pt"], bins=edges)[0].ravel()
    b, a = pair.tested.observed.flat, pair.partner.observed.flat
    ratio = pair.efficiency_ratio.flat
    fakes = pair.tested.fakes.yields.flat, pair.partner.fakes.yields.flat
    return close_pair(b, a, ratio, *fakes), close_pair(b - injected, a, ratio, *fakes)


def test_the_symmetry_is_restored(closures):
    with_signal, without = closures
    assert without.fakes_subtracted < -29
    assert without.ratio_applied > 20
    assert abs(without.after) < 1
    assert without.p_value > 0.05
    # The signal is all that is left.
    assert 1 < with_signal.after - without.after < 2


def test_the_readmes_say_what_was_measured(closures):
    with_signal, without = closures
    for name in ("README.md", "workspaces/higgs_lfv_asymmetric/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for label, field in (
            ("raw counts", "before"),
            ("fakes subtracted", "fakes_subtracted"),
            ("efficiency ratio applied", "ratio_applied"),
            ("both: restored", "after"),
        ):
            row = f"| {label} | {getattr(without, field):.2f} | {getattr(with_signal, field):.2f} |"
            assert row in text, row


def variations(spec):
    """G of both channels stacked, from the emitted histosys."""
    rows = []
    for channel in spec["channels"]:
        sample = next(s for s in channel["samples"] if s["name"] == "symmetric")
        data = {m["name"]: m["data"] for m in sample["modifiers"] if m["type"] == "histosys"}
        columns = [np.array(data[n]["hi_data"]) / sample["data"] - 1 for n in sorted(data)]
        rows.append(np.stack(columns, axis=1))
    return np.concatenate(rows)


def assert_same(ours, shipped, where=""):
    """The same keys, names and numbers; numbers to what the linear algebra's last digits leave."""
    if isinstance(shipped, dict):
        assert ours.keys() == shipped.keys(), where
        for key in shipped.keys() - {"workspace_digest"}:
            assert_same(ours[key], shipped[key], f"{where}.{key}")
    elif isinstance(shipped, list) and shipped and isinstance(shipped[0], float):
        assert ours == pytest.approx(shipped, rel=1e-8, abs=1e-12), where
    elif isinstance(shipped, list):
        assert len(ours) == len(shipped), where
        for index, item in enumerate(shipped):
            assert_same(ours[index], item, f"{where}[{index}]")
    elif isinstance(shipped, float):
        assert ours == pytest.approx(shipped, rel=1e-8, abs=1e-12), where
    else:
        assert ours == shipped, where


def test_build_gives_the_shipped_workspace(pair):
    """C to 1e-12 whatever the linear algebra library; the bytes are promised per environment."""
    built = build_workspace(pair, signal_scale=1.0, name="higgs_lfv_asymmetric")
    shipped = json.loads((FOLDER / "workspace.json").read_text())
    assert_same(json.loads(to_json(built.workspace)), shipped)
    assert_same(
        json.loads(to_json(built.metadata)),
        json.loads((FOLDER / "workspace.metadata.json").read_text()),
    )
    ours, theirs = (g @ g.T for g in (variations(built.workspace), variations(shipped)))
    assert np.linalg.norm(ours - theirs) < 1e-12 * np.linalg.norm(theirs)
    again = build_workspace(pair, signal_scale=1.0, name="higgs_lfv_asymmetric")
    assert to_json(again.workspace) == to_json(built.workspace)
    entry = built.metadata["lepton_id"]
    assert len(entry["kept"]) == 8
    assert len(entry["ratio_variances"]) == 108
    assert entry["ratio_retained"] > 0.999
    assert entry["sigma_mu_kept"] > 0.9999


def test_fakes_have_a_statistical_and_a_normalisation_error():
    spec = json.loads((FOLDER / "workspace.json").read_text())
    for channel in spec["channels"]:
        fakes = next(s for s in channel["samples"] if s["name"] == "fakes")
        kinds = {m["name"]: m["type"] for m in fakes["modifiers"]}
        assert kinds == {"fakes_norm": "normsys", f"fakes_stat_{channel['name']}": "shapesys"}
        error = next(m["data"] for m in fakes["modifiers"] if m["type"] == "shapesys")
        # Ten times as many events as expected, each of weight .1: sqrt(.1 n).
        assert error == pytest.approx(np.sqrt(0.1 * np.array(fakes["data"])), rel=1e-9)


def test_the_shipped_fit_is_of_the_shipped_workspace():
    spec = json.loads((FOLDER / "workspace.json").read_text())
    fit = FitResult.from_dict(json.loads((FOLDER / "fit.json").read_text()))
    assert fit.provenance["workspace_digest"] == f"sha256:{pyhf.utils.digest(spec)}"
    # pyhf at the published point gives the published 2NLL.
    workspace = pyhf.Workspace(spec)
    for measurement, minimum in (("discovery", fit.fit), ("discovery_null", fit.null)):
        model = workspace.model(measurement_name=measurement)
        point = {p.name: p.value for p in minimum.parameters}
        pars = [point[name] for name in model.config.par_names]
        value = -2 * float(model.logpdf(pars, workspace.data(model))[0])
        assert value == pytest.approx(minimum.twice_nll, abs=1e-4)
    pulls = np.array([p.value for p in fit.fit.parameters if p.name.startswith("lepid_")])
    assert len(pulls) == 8
    assert np.max(np.abs(pulls)) < 3
    norm = next(p for p in fit.fit.parameters if p.name == "fakes_norm")
    assert 0.1 * norm.error == pytest.approx(0.03, abs=0.002)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"| with 8 eigen-variations | {fit.mu_hat.value:.3f} | {fit.mu_hat.error:.3f} " in text
    assert f"| {fit.discovery.z0:.3f} |" in text


@pytest.mark.slow
def test_fit_with_and_without_the_lepton_id_error():
    spec = json.loads((FOLDER / "workspace.json").read_text())
    shipped = FitResult.from_dict(json.loads((FOLDER / "fit.json").read_text()))
    again = fit_workspace(spec)
    assert again.discovery.q0 == pytest.approx(shipped.discovery.q0, rel=1e-8)

    def other(items):
        return [item for item in items if not item["name"].startswith("lepid_")]

    for channel in spec["channels"]:
        for sample in channel["samples"]:
            sample["modifiers"] = other(sample["modifiers"])
    for measurement in spec["measurements"]:
        measurement["config"]["parameters"] = other(measurement["config"]["parameters"])
    without = fit_workspace(spec)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    poi = without.mu_hat
    row = f"{poi.value:.3f} | {poi.error:.3f} | {without.discovery.z0:.3f}"
    assert f"| without lepton-ID error | {row} |" in text
