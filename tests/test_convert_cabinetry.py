"""A workspace that cabinetry built of a configuration: fitted and converted like any other."""

import json
from pathlib import Path

import cabinetry
import numpy as np
import pytest
import uproot
from combine_formulas import CombineCard
from conftest import invoke
from interchange_models import differences, points, pyhf_differences
from test_convert_combine import named

from ddphf.interchange.agreement import all_measurements, compare
from ddphf.likelihood.reference import ReferenceModel

EDGES = np.array([0.0, 1.0, 2.0, 3.0])
HISTOGRAMS = {
    "SR/data": [62.0, 75.0, 48.0], "SR/signal": [2.0, 8.0, 4.0],
    "SR/background": [60.0, 62.0, 45.0], "SR/background_up": [63.0, 64.0, 46.0],
    "SR/background_down": [58.0, 61.0, 43.0],
}  # fmt: skip
ERRORS = {"signal": [0.2, 0.4, 0.3], "background": [2.0, 3.0, 2.0]}


def config(folder):
    """One region; a normalisation with shape under one name, and errors of the simulation."""
    return {
        "General": {
            "Measurement": "m", "POI": "mu", "HistogramFolder": str(folder / "histograms"),
            "InputPath": str(folder / "in.root") + ":{RegionPath}/{SamplePath}{VariationPath}",
            "VariationPath": "",
        },
        "Regions": [{"Name": "SR", "RegionPath": "SR"}],
        "Samples": [
            {"Name": "Data", "SamplePath": "data", "Data": True},
            {"Name": "Signal", "SamplePath": "signal"},
            {"Name": "Background", "SamplePath": "background"},
        ],
        "Systematics": [
            {"Name": "luminosity", "Up": {"Normalization": 0.05}, "Down": {"Normalization": -0.05},
             "Type": "Normalization"},
            {"Name": "model", "Up": {"VariationPath": "_up"}, "Down": {"VariationPath": "_down"},
             "Samples": "Background", "Type": "NormPlusShape"},
        ],
        "NormFactors": [{"Name": "mu", "Samples": "Signal", "Nominal": 1, "Bounds": [-5, 10]}],
    }  # fmt: skip


@pytest.fixture
def built(folder):
    with uproot.recreate("in.root") as file:
        for name, values in HISTOGRAMS.items():
            variances = np.square(ERRORS.get(name.removeprefix("SR/"), np.sqrt(values)))
            histogram = uproot.writing.identify.to_TH1x(
                "h", "h", np.concatenate([[0.0], values, [0.0]]), 0.0, 0.0, 0.0, 0.0, 0.0,
                np.concatenate([[0.0], variances, [0.0]]),
                uproot.writing.identify.to_TAxis("x", "x", 3, 0.0, 3.0, fXbins=EDGES),
            )  # fmt: skip
            file[name] = histogram
    settings = config(folder)
    cabinetry.configuration.validate(settings)
    cabinetry.templates.collect(settings, method="uproot")
    cabinetry.templates.postprocess(settings)
    workspace = cabinetry.workspace.build(settings)
    Path("w.json").write_text(json.dumps(workspace))
    return workspace


def test_it_is_fitted_as_cabinetry_fits_it(built):
    done = invoke("fit", "w.json", "-o", "fit.json")
    assert done.code == 0, done.err
    ours = json.loads(Path("fit.json").read_text())["fit"]
    model, data = cabinetry.model_utils.model_and_data(built)
    theirs = cabinetry.fit.fit(model, data)
    values = {p["name"]: p["value"] for p in ours["parameters"]}
    assert set(values) == set(theirs.labels)
    assert ours["twice_nll"] == pytest.approx(theirs.best_twice_nll, abs=1e-4)
    mu = theirs.labels.index("mu")
    assert values["mu"] == pytest.approx(theirs.bestfit[mu], abs=5e-3)


def test_it_is_converted_and_read_again(built):
    kinds = {m["type"] for s in built["channels"][0]["samples"] for m in s["modifiers"]}
    assert kinds == {"normfactor", "normsys", "histosys", "staterror"}
    references = all_measurements(built)
    for line in (
        "convert w.json --to hs3 -o m.hs3.json", "convert m.hs3.json --to pyhf -o from_hs3.json",
        "convert w.json --to root -o xml/m.xml", "convert xml/m.xml --to pyhf -o from_xml.json",
        "convert w.json --to combine --exact -o card.txt",
    ):  # fmt: skip
        done = invoke(*line.split())
        assert done.code == 0, done.err
    for name in ("from_hs3.json", "from_xml.json"):
        assert compare(references, json.loads(Path(name).read_text())) < 1e-6
    reference = ReferenceModel(built)
    where = points(reference, 5)
    card = CombineCard("card.txt")
    theirs = differences([card.twice_nll(named(reference, x)) for x in where])
    np.testing.assert_allclose(theirs, pyhf_differences(reference, where), atol=1e-6)
