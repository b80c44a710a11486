"""``ddphf inspect`` of built pairs: what it prints and draws where there is little to draw."""

import json

import numpy as np
import pytest
from conftest import ANALYSIS, invoke, write_analysis
from test_lepton_id_build import write_event_analysis, write_map

VALUES = {"value": [0.8, 0.9, 0.95]}
LEPTON_FIGURES = {f"lepton_id_{name}.png" for name in ("correlation", "spectrum", "variations")}


def inspect(folder):
    """Build, inspect with figures, and return what was printed and drawn."""
    assert invoke("build", "analysis.yml", "-o", "pair.json").code == 0
    outcome = invoke("inspect", "pair.json", "--plots", "figures")
    assert outcome.code == 0, outcome.err
    return outcome.out, {path.name for path in (folder / "figures").iterdir()}


def with_composition(folder, partner, **options):
    """Write an analysis of histograms whose lepton-ID composition is a file."""
    rng = np.random.default_rng(4)
    tested = rng.dirichlet(np.ones(3), size=4)
    np.savez(folder / "w.npz", tested=tested, partner=tested[::partner])
    write_map(folder / "muon.csv", {**VALUES, "statistical": [0.004, 0.003, 0.003]})
    section = {"maps": {"muon": {"file": "muon.csv", "kind": "efficiency"}}}
    write_analysis(
        folder, {**ANALYSIS, "lepton_id": {**section, "composition": "w.npz", **options}}
    )


def test_a_pair_of_histograms_has_the_closure_alone(folder):
    write_analysis(folder)
    out, drawn = inspect(folder)
    assert "N_sigma" in out
    assert "lepton ID" not in out
    assert drawn == {"closure.png"}


def test_maps_without_errors_have_no_eigen_variations_to_draw(folder):
    write_event_analysis(
        folder, lambda a: [m.pop("columns") for m in a["lepton_id"]["maps"].values()]
    )
    for name in ("electron", "muon"):
        write_map(folder / f"{name}.csv", VALUES)
    out, drawn = inspect(folder)
    assert "largest sigma 0.000%" in out
    assert drawn == {"closure.png"}
    done = invoke("report", "pair.json", "-o", "page.html")
    assert done.code == 0, done.err
    assert "no eigen-variations" in (folder / "page.html").read_text()


@pytest.mark.parametrize(("partner", "absorbed"), [(1, True), (-1, False)])
def test_absorbed_variations_are_marked(folder, partner, absorbed):
    """Kept by the pruning, but the shared background takes them: not in the workspace."""
    with_composition(folder, partner, signal=False, retained=1.0)
    out, drawn = inspect(folder)
    assert drawn == {"closure.png", *LEPTON_FIGURES}
    assert ("absorbed    lepid_id_eig00" in out) == absorbed
    data = json.loads(invoke("inspect", "pair.json", "-o", "-").out)
    assert (data["absorbed"] == data["lepton_id"]["kept"]) == absorbed
    assert ("lepid_id_eig00" in (folder / "pair.json").read_text()) != absorbed


def test_an_older_sidecar_is_not_believed(folder):
    write_analysis(folder)
    assert invoke("build", "analysis.yml", "-o", "pair.json").code == 0
    spec = json.loads((folder / "pair.json").read_text())
    spec["observations"][0]["data"][0] += 1.0
    (folder / "pair.json").write_text(json.dumps(spec))
    outcome = invoke("inspect", "pair.json")
    assert outcome.code == 0
    assert "N_sigma" not in outcome.out
    assert "no sidecar of this workspace" in invoke("inspect", "pair.json", "--plots", "p").message
    assert not (folder / "p").exists()
