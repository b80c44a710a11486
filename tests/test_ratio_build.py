"""`ddphf build` of a ratio file: what is emitted, against closed forms; what is refused."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import invoke
from ratio_files import ARRAYS, DOUBLE, FULL, ONE_BIN, write_ratio

from ddphf.config.documents import read_document
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.measurement.build import build_ratio
from ddphf.measurement.lepton_id import Calibration, covariance_at
from ddphf.publish.archive import read_archive, unpack
from ddphf.publish.verify import verify_archive
from ddphf.results.measured import Declared
from ddphf.results.registry import check_record

SAMPLE = Path(__file__).parents[1] / "workspaces" / "tau_ratio"


def built(folder, document=FULL, arrays=ARRAYS, change=None):
    return build_ratio(read_document(write_ratio(folder, document, arrays, change)))


def modifiers(spec, channel, sample):
    entries = next(c for c in spec["channels"] if c["name"] == channel)["samples"]
    found = next(s for s in entries if s["name"] == sample)
    return {m["name"]: m for m in found["modifiers"]}, np.array(found["data"])


def test_factors_stand_where_they_belong(tmp_path):
    spec = built(tmp_path).workspace
    top, _ = modifiers(spec, "muon", "signal")
    bottom, _ = modifiers(spec, "electron", "signal")
    assert top["R"]["type"] == "normfactor"
    assert "R" not in bottom
    relative = 0.0004 / 0.178
    for found in (top, bottom):
        data = found["B_e"]["data"]
        assert data["hi"] == pytest.approx(1 + relative, rel=1e-14)
        assert data["hi"] * data["lo"] == pytest.approx(1.0, rel=1e-14)
    for channel in ("muon", "electron"):
        fake, _ = modifiers(spec, channel, "fake")
        assert not {"R", "B_e"} & set(fake)
    assert set(modifiers(spec, "muon", "fake")[0]) == {
        "fake_norm", "fake_bins", "trigger", "shape", "mc_muon", "lumi",
    }  # fmt: skip
    (measurement,) = spec["measurements"]
    parameters = {p["name"]: p for p in measurement["config"]["parameters"]}
    assert parameters["R"]["bounds"] == [[0.5, 1.5]]
    assert parameters["lumi"]["sigmas"] == [0.006]
    pyhf.Workspace(spec).model()  # by the schema, with the modifiers that pyhf knows


def test_pruning_is_recorded(tmp_path):
    made = built(tmp_path)
    found, _ = modifiers(made.workspace, "muon", "fake")
    assert found["fake_bins"]["data"] == [70.0, 0.0, 30.0]
    entry = made.metadata["ratio"]["pruned"]["fake_bins"]
    assert entry["bins"] == 1
    total = 48_000 + 500
    assert entry["largest_loss"] == pytest.approx(0.25 / (total + 0.25))


def test_eigen_variations_make_the_covariance(tmp_path):
    made = built(tmp_path)
    for key, expected in (
        ("muon/signal",
         ARRAYS["composition"] @ ARRAYS["id_covariance"] @ ARRAYS["composition"].T),
        ("electron/signal",
         np.diag(ARRAYS["statistical"] ** 2 + 0.5 * ARRAYS["systematic"] ** 2)
         + 0.5 * np.outer(ARRAYS["systematic"], ARRAYS["systematic"])),
    ):  # fmt: skip
        found, nominal = modifiers(made.workspace, *key.split("/"))
        columns = [
            np.array(m["data"]["hi_data"]) / nominal - 1
            for name, m in found.items()
            if "_ID_eig" in name
        ]
        assert np.stack(columns, 1) @ np.stack(columns) == pytest.approx(expected, abs=1e-16)
    entries = made.metadata["ratio"]["lepton_id"]
    assert [entry["name"] for entry in entries] == ["muon_ID", "electron_ID"]
    again = Calibration.from_dict(entries[1])
    assert covariance_at(again, again.rho) == pytest.approx(expected, abs=1e-18)
    assert covariance_at(again, 0.0) == pytest.approx(np.diag(np.diag(expected)), abs=1e-18)


def test_two_samples_share_one_calibration(tmp_path):
    """One nuisance moves both; the covariance between them is W C W'^T."""

    def change(document, arrays):
        document["lepton_id"][0]["samples"] = ["muon/*"]
        document["lepton_id"][0]["composition"] = "in.npz:composition_{sample}"
        arrays["composition_signal"] = arrays["composition"]
        arrays["composition_fake"] = 2 * arrays["composition"][::-1]

    spec = built(tmp_path, change=change).workspace
    stacked = []
    for sample in ("signal", "fake"):
        found, nominal = modifiers(spec, "muon", sample)
        names = sorted(name for name in found if "muon_ID" in name)
        stacked.append(
            np.stack([np.array(found[n]["data"]["hi_data"]) / nominal - 1 for n in names], 1)
        )
    w = ARRAYS["composition"]
    both = w @ ARRAYS["id_covariance"] @ (2 * w[::-1]).T
    assert stacked[0] @ stacked[1].T == pytest.approx(both, abs=1e-16)


def test_dropped_variations_are_said(tmp_path):
    def change(document, arrays):
        document["lepton_id"][1]["at_most"] = 1

    made = built(tmp_path, change=change)
    assert any("eigen-variations are dropped" in line for line in made.warnings)
    entry = made.metadata["ratio"]["lepton_id"][1]
    assert (entry["kept"], entry["dropped"]) == (["electron_ID_eig00"], 2)


def least_squares(spec):
    """R and its error by least squares, Poisson variances as expected, constraints as data."""
    model = pyhf.Workspace(spec).model()
    data = np.array(pyhf.Workspace(spec).data(model)[: sum(model.config.channel_nbins.values())])
    init = np.array(model.config.suggested_init())
    names, poi = model.config.par_names, model.config.poi_index

    def rates(x):
        return np.asarray(model.expected_data(x.tolist(), include_auxdata=False))

    best = init.copy()
    for _ in range(20):  # Gauss-Newton with the constraints as data
        at = rates(best)
        slopes = np.stack(
            [(rates(best + h) - rates(best - h)) / (2 * h[i])
             for i, h in enumerate(1e-5 * np.eye(len(init)))], 1)  # fmt: skip
        widths = _widths(model, names)
        information = slopes.T @ (slopes / at[:, None]) + np.diag(1 / widths**2)
        score = slopes.T @ ((data - at) / at) - (best - init) / widths**2
        best = best + np.linalg.solve(information, score)
    return best[poi], math.sqrt(np.linalg.inv(information)[poi, poi])


def _widths(model, names):
    widths = np.full(len(names), np.inf)
    for name in model.config.par_order:
        group = model.config.param_set(name)
        if group.constrained:
            width = group.width()
            fixed = group.suggested_fixed
            where = model.config.par_slice(name)
            widths[where] = np.where(fixed, 1e-6, np.asarray(width) + 0.0)
    return widths


def test_the_fit_is_that_of_least_squares(tmp_path):
    made = built(tmp_path)
    found = fit_workspace(made.workspace, declared=Declared.of(made.metadata))
    s = found.measurement_statement
    value, error = least_squares(made.workspace)
    assert s.value == pytest.approx(value, abs=0.02 * error)
    assert s.error == pytest.approx(error, rel=0.01)
    assert s.tested.value == 0.97
    assert [d.name for d in s.derived] == ["g_mu/g_e"]
    assert found.warnings == ()


@pytest.mark.parametrize(("signal", "control"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_a_double_ratio_is_the_product(tmp_path, signal, control):
    """R = (N / D) / (N_c / D_c)^(n / n_c), counts, true ratio and transfer in quadrature."""

    def change(document, arrays):
        document["control"]["efficiency"]["leptons"] = {"signal": signal, "control": control}

    made = built(tmp_path, DOUBLE, ONE_BIN, change)
    s = fit_workspace(made.workspace, declared=Declared.of(made.metadata)).measurement_statement
    power = signal / control
    n = {k: float(v[0]) for k, v in ONE_BIN.items()}
    expected = n["top"] / n["bottom"] / (n["control_top"] / n["control_bottom"]) ** power
    relative = (
        1 / n["top"] + 1 / n["bottom"] + 0.006**2
        + power**2 * (1 / n["control_top"] + 1 / n["control_bottom"] + 0.004**2)
    )  # fmt: skip
    # The prior of the efficiency, 20 %, pulls by its weight against the .4 % of the control pair.
    prior = 0.02 if (signal, control) == (1, 1) else 0.06
    assert s.value == pytest.approx(expected, abs=prior * s.error)
    assert s.error / s.value == pytest.approx(math.sqrt(relative), rel=0.01)
    factors = {
        c["name"]: next(m["data"]["hi"] for s in c["samples"] for m in s["modifiers"]
                        if m["name"] == "efficiency")
        for c in made.workspace["channels"]
    }  # fmt: skip
    assert factors["top"] / factors["bottom"] == pytest.approx(1.2**signal)
    assert factors["control_top"] / factors["control_bottom"] == pytest.approx(1.2**control)


def test_without_a_transfer_error_it_is_said(tmp_path):
    def change(document, arrays):
        document["control"]["transfer"] = 0

    made = built(tmp_path, DOUBLE, ONE_BIN, change)
    assert any("transfer: 0" in line for line in made.warnings)
    names = {m["name"] for c in made.workspace["channels"] for m in c["samples"][0]["modifiers"]}
    assert "efficiency_transfer" not in names


def test_the_command_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_ratio(tmp_path, FULL)
    outcome = invoke("build", "ratio.yml", "-o", "w.json")
    assert outcome.code == 0, outcome.err
    assert "R = muon over electron" in outcome.err
    sidecar = json.loads(Path("w.metadata.json").read_text())
    assert check_record(sidecar) is None
    assert sidecar["statement"] == "measurement"
    assert sidecar["ratio"]["roles"]["muon"] == {"signal": "signal", "fake": "fake"}
    assert sidecar["binning"]["axes"][0]["edges"] == [0.0, 1.0, 2.0, 4.0]
    before = Path("w.json").read_bytes()
    assert invoke("build", "ratio.yml", "-o", "w.json", "--force").code == 0
    assert Path("w.json").read_bytes() == before
    for line in ("fit w.json -o fit.json", "yields w.json --fit fit.json -o y.json --plots f",
                 "correlations w.json --toys 8 -o c.json --plots rho",
                 "rank w.json -o rank.json"):  # fmt: skip
        outcome = invoke(*line.split())
        assert outcome.code == 0, outcome.err
    groups = {g["name"] for g in json.loads(Path("rank.json").read_text())["groups"]}
    assert {"lepton_id", "simulation"} <= groups  # those of the file
    outcome = invoke("publish", "ratio.yml", "fit.json", "-o", "small.tar.gz")
    assert outcome.code == 0, outcome.err


def test_the_shipped_sample():
    made = build_ratio(read_document(SAMPLE / "ratio.yml"))
    for name, document in (("workspace", made.workspace), ("workspace.metadata", made.metadata)):
        assert (SAMPLE / f"{name}.json").read_text() == to_json(document)
    shipped = json.loads((SAMPLE / "fit.json").read_text())["measurement_statement"]
    again = fit_workspace(made.workspace, declared=Declared.of(made.metadata))
    for key in ("value", "error", "error_up", "error_down", "statistical", "systematic"):
        found = getattr(again.measurement_statement, key)
        assert found == pytest.approx(shipped[key], rel=1e-6)
    text = (SAMPLE / "README.md").read_text()
    assert f"R_mu = {shipped['value']:.7g} +- {shipped['statistical']:.4g} (counts)" in text
    model = pyhf.Workspace(made.workspace).model()
    free = np.array(model.config.par_names)[~np.array(model.config.suggested_fixed())]
    assert len(free) == 254  # R_mu and 253 nuisances
    assert made.warnings == ()


def test_the_published_sample():
    packed = read_archive(SAMPLE.parent / "published" / "tau_ratio.tar.gz")
    found = verify_archive(packed, level=1)
    assert found.passed, list(found.failures)
    files = unpack(packed)
    results = json.loads(files["results.json"])
    assert [entry["name"] for entry in results["included"]] == [
        "limit.json", "rank.json", "scan.json",
    ]  # fmt: skip
    assert json.loads(files["workspace.json"]) == json.loads(
        (SAMPLE / "workspace.json").read_text()
    )
    readme = files["README.md"].decode()
    assert "a measurement of R_mu, without a null" in readme
    assert "q0" not in readme.split("## What the numbers mean")[1]


def test_the_inputs_are_those_of_the_script(tmp_path):
    shutil.copy(SAMPLE / "make_inputs.py", tmp_path)
    subprocess.run([sys.executable, "make_inputs.py"], cwd=tmp_path, check=True, timeout=600)
    again, shipped = np.load(tmp_path / "inputs.npz"), np.load(SAMPLE / "inputs.npz")
    assert again.files == shipped.files
    for name in again.files:
        assert np.array_equal(again[name], shipped[name])


def warned(folder, change):
    return built(folder, change=change).warnings


def test_a_calibration_that_moves_nothing_is_said(tmp_path):
    def change(document, arrays):
        arrays["id_covariance"] = np.zeros((2, 2))

    assert any("lepton_id 'muon_ID': moves no bin of muon/" in w for w in warned(tmp_path, change))
    assert not any("moves no bin" in line for line in warned(tmp_path, None))


def test_a_factor_that_is_one_sided_is_said(tmp_path):
    def change(document, arrays):
        document["systematics"][0].update(up=1.1, down=1.1)

    assert any("change some bin the same way" in line for line in warned(tmp_path, change))
    assert not any("same way" in line for line in warned(tmp_path, None))
