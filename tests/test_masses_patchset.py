"""Mass scans of a pyhf patchset: each hypothesis is what its patched workspace says alone."""

import copy
import json
import subprocess
import sys

import numpy as np
import pyhf
import pytest
from conftest import invoke

from ddphf import fit_workspace, limit_workspace
from ddphf.exceptions import ModelError
from ddphf.masses.config import read_scan
from ddphf.masses.examples import small_patchset
from ddphf.masses.patched_rows import NoRows, make_rows
from ddphf.masses.patchset import read_hypotheses
from ddphf.masses.run_patchset import run_patchset
from ddphf.results.masses import MassesResult


def of(background, patchset):
    patchset["metadata"]["digests"] = {"sha256": pyhf.utils.digest(background)}
    return read_hypotheses(background, patchset)


def two_channels():
    """A signal in both channels, with a staterror, and another staterror of the control region."""
    background, patchset = small_patchset(2)
    background["channels"][1]["samples"][0]["modifiers"].append(
        {"name": "staterror_CR", "type": "staterror", "data": [2.0]}
    )
    for entry in patchset["patches"]:
        step = copy.deepcopy(entry["patch"][0])
        entry["patch"][0]["value"]["modifiers"].append(
            {"name": "staterror_SR", "type": "staterror", "data": [0.1, 0.2, 0.1]}
        )
        step["path"] = "/channels/1/samples/0"
        step["value"]["data"] = [0.7]
        step["value"]["modifiers"].append(
            {"name": "staterror_CR", "type": "staterror", "data": [0.1]}
        )
        entry["patch"].append(step)
    return background, patchset


def shapesys():
    background, patchset = small_patchset(2)
    background["channels"][0]["samples"][0]["modifiers"][1] = {
        "name": "shape", "type": "shapesys", "data": [0.5, 0.6, 0.7],
    }  # fmt: skip
    return background, patchset


def empty_bin():
    background, patchset = small_patchset(2)
    sample = background["channels"][0]["samples"][0]
    sample["data"][2] = sample["modifiers"][1]["data"][2] = 0.0
    return background, patchset


def unstated_bounds():
    background, patchset = small_patchset(2)
    background["measurements"][0]["config"]["parameters"] = []
    for entry in patchset["patches"]:
        value = entry["patch"][0]["value"]
        value["data"] = [x / 20 for x in value["data"]]
    return background, patchset


def two_measurements(n=2):
    background, patchset = small_patchset(n)
    background["measurements"].append({**background["measurements"][0], "name": "another"})
    return background, patchset


def check(found, result):
    assert result.values == tuple(found.values)
    for index, row in enumerate(result.hypotheses):
        workspace = found.workspace(index)
        fit = fit_workspace(workspace, poi_bounds=tuple(result.poi["bounds"]))
        assert row["name"] == found.names[index]
        assert row["mu_hat"] == pytest.approx(fit.mu_hat.value, abs=2e-6)
        assert row["mu_error"] == pytest.approx(fit.mu_hat.error, rel=1e-5)
        if fit.discovery is None:
            assert row["q0"] is None
        else:
            assert row["q0"] == pytest.approx(fit.discovery.q0, abs=1e-7)
        limit = limit_workspace(workspace, level=0.9).asymptotic
        stated = row["limit"]["asymptotic"]
        assert stated["observed"] == pytest.approx(limit.observed, rel=1e-6)
        assert stated["expected"] == pytest.approx(limit.expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "policy"),
    [(small_patchset, None), (two_channels, None), (shapesys, None), (empty_bin, "keep"),
     (unstated_bounds, None)],
)  # fmt: skip
def test_rows_are_what_patched_workspaces_say(make, policy):
    found = of(*make())
    make_rows(found)
    result = run_patchset(found, levels=(0.9,), empty_bins=policy)
    check(found, result)
    assert any("widened from 10" in line for line in result.warnings) == (make is unstated_bounds)


def test_other_models_are_fitted_one_by_one(tmp_path):
    found = of(*two_measurements())
    with pytest.raises(NoRows, match="there are several measurements"):
        make_rows(found)
    result = run_patchset(found, levels=(0.9, 0.95), folder=tmp_path)
    check(found, result)
    assert "one by one by the engine of single workspaces: there are" in result.warnings[0]
    assert [h["limits"][0]["level"] for h in result.hypotheses] == [0.95, 0.95]
    assert len(list(tmp_path.glob("*.npz"))) == 2
    again = run_patchset(found, levels=(0.9, 0.95), folder=tmp_path)
    assert again.to_dict() == result.to_dict()
    assert MassesResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


def test_toys_of_hypotheses_one_by_one_agree_with_rows():
    background, patchset = small_patchset(1)
    rows = run_patchset(of(background, patchset), methods=("toys",), toys=500, seed=1)
    single = run_patchset(of(*two_measurements(1)), methods=("toys",), toys=500, seed=2)
    one, two = (r.hypotheses[0]["limit"]["toys"] for r in (rows, single))
    error = np.hypot(one["error"], two["error"])
    assert abs(one["observed"] - two["observed"]) < 4 * error
    assert two["n"] == 500


def test_command_sorts_and_names(tmp_path):
    background, patchset = small_patchset()
    patchset["metadata"]["labels"] = ["width", "m"]
    for entry in patchset["patches"]:
        entry["metadata"]["values"] = ["narrow", *entry["metadata"]["values"]]
    (tmp_path / "b.json").write_text(json.dumps(background))
    (tmp_path / "p.json").write_text(json.dumps(patchset))
    line = f"masses {tmp_path}/b.json --patchset {tmp_path}/p.json -o {tmp_path}/m.json"
    outcome = invoke(*line.split(), "--parameter", "m", "--cl", "0.9")
    assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["values"] == [1.0, 2.0, 3.0]
    assert record["parameter"]["name"] == "m"
    assert [h["name"] for h in record["hypotheses"]] == ["m_1", "m_2", "m_3"]
    assert MassesResult.from_dict(record).to_dict() == record


# Files for others.


def write_scan(folder, counts, yields):
    """Write a scan file of three masses, and return the command."""
    document = {
        "schema": "ddphf/masses/1",
        "name": "published",
        "parameter": {"name": "m", "unit": "GeV", "values": [1.0, 1.5, 3.0]},
        "observed": counts,
        "background": {
            "yields": yields,
            "error": (0.1 * np.array(yields)).tolist(),
            "systematics": [{"name": "norm", "type": "normsys", "up": 1.1, "down": 0.9}],
        },
        "signal": {
            "yields": [[1.0, 2.0, 0.5], [0.5, 2.0, 1.5], [0.2, 1.0, 2.5]],
            "systematics": [
                {"name": "eff", "type": "normsys", "up": [1.1, 1.2, 1.05], "down": 0.95}
            ],
        },
        "poi": {"name": "mu", "unit": "fb", "bounds": [0, 40]},
    }
    (folder / "scan.yml").write_text(json.dumps(document))
    arguments = ["masses", str(folder / "scan.yml"), "-o", str(folder / "masses.json")]
    return [*arguments, "--workspaces", str(folder / "out")]


def limit_of(folder, workspace):
    (folder / "one.json").write_text(json.dumps(workspace))
    arguments = ["limit", str(folder / "one.json"), "-o", str(folder / "limit.json"), "--force"]
    outcome = invoke(*arguments)
    assert outcome.code == 0, outcome.err
    return json.loads((folder / "limit.json").read_text())["asymptotic"]


def test_a_common_background_is_written_with_a_patchset(tmp_path):
    arguments = write_scan(tmp_path, [[6, 8, 7]] * 3, [[5.0, 6.0, 7.0]] * 3)
    outcome = invoke(*arguments, "--inspire", "ins7654321")
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["BkgOnly.json", "patchset.json"]
    background = pyhf.Workspace(json.loads((out / "BkgOnly.json").read_text()))
    patchset = pyhf.PatchSet(json.loads((out / "patchset.json").read_text()))
    patchset.verify(background)
    assert patchset.labels == ["m"]
    assert [patch.values for patch in patchset] == [(1.0,), (1.5,), (3.0,)]
    record = json.loads((tmp_path / "masses.json").read_text())
    for index, key in ((0, "m_0"), (2, (3.0,))):
        limit = limit_of(tmp_path, patchset.apply(background, key))
        stated = record["hypotheses"][index]["limit"]["asymptotic"]
        assert stated["observed"] == pytest.approx(limit["observed"], rel=1e-6)
        assert stated["expected"] == pytest.approx(limit["expected"], rel=1e-6)
    line = f"masses {out}/BkgOnly.json --patchset {out}/patchset.json -o {tmp_path}/again.json"
    assert invoke(*line.split()).code == 0
    again = json.loads((tmp_path / "again.json").read_text())
    for ours, theirs in zip(again["hypotheses"], record["hypotheses"], strict=True):
        ours, theirs = ours["limit"]["asymptotic"], theirs["limit"]["asymptotic"]
        assert ours["observed"] == pytest.approx(theirs["observed"], rel=1e-8)


def test_other_backgrounds_are_written_as_arrays_with_a_script(tmp_path):
    yields = [[5.0, 6.0, 7.0], [6.0, 7.0, 6.0], [7.0, 6.0, 0.0]]
    arguments = write_scan(tmp_path, [[6, 8, 7], [8, 7, 5], [7, 5, 0]], yields)
    outcome = invoke(*arguments, "--empty-bins", "drop")
    assert outcome.code == 0, outcome.err
    out, written = tmp_path / "out", tmp_path / "w.json"
    assert sorted(p.name for p in out.iterdir()) == ["make_workspace.py", "scan.json", "scan.npz"]
    scan, _ = read_scan(str(tmp_path / "scan.yml"), empty_bins="drop")
    for index in range(3):
        command = [sys.executable, str(out / "make_workspace.py"), str(index), str(written)]
        subprocess.run(command, check=True, timeout=600)
        workspace = json.loads(written.read_text())
        assert workspace == scan.workspace(index)
        pyhf.Workspace(workspace)
    record = json.loads((tmp_path / "masses.json").read_text())
    limit = limit_of(tmp_path, workspace)
    stated = record["hypotheses"][2]["limit"]["asymptotic"]
    assert stated["observed"] == pytest.approx(limit["observed"], rel=1e-6)


def signal_of(patchset):
    return patchset["patches"][0]["patch"][0]["value"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, p: signal_of(p)["data"].append(1.0), "patch 'm_3': .* 4 bins, expected 3"),
        (
            lambda b, p: signal_of(p)["modifiers"].append(
                {"name": "h", "type": "histosys", "data": {"hi_data": [1.0], "lo_data": [1.0]}}
            ),
            "patch 'm_3': .*'h' .histosys.: hi_data has 1 bins, expected 3",
        ),
        (
            lambda b, p: signal_of(p)["modifiers"].append(
                {"name": "e", "type": "staterror", "data": [0.1]}
            ),
            "patch 'm_3': .*'e' .staterror.: data has 1 bins, expected 3",
        ),
        (
            lambda b, p: p["patches"][0]["patch"].append(p["patches"][0]["patch"][0]),
            "patch 'm_3': .*sample 'signal_3' appears 2 times",
        ),
        (lambda b, p: b["observations"][0].update(name="z"), "'SR': no observation with this name"),
        (
            lambda b, p: b["channels"][0]["samples"].append(
                {"name": "x", "data": [1.0], "modifiers": []}
            ),
            "channel 'SR', sample 'x': 1 bins, expected 3",
        ),
    ],
)
def test_patches_of_other_bins_and_samples_there_twice_are_refused(change, message):
    background, patchset = small_patchset()
    change(background, patchset)
    with pytest.raises(ModelError, match=message):
        of(background, patchset)
