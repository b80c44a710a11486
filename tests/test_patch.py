"""Recasting: patches that pyhf itself applies, and what carries over to the new signal."""

import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import full_pair, invoke, plain_workspace, write_table
from test_publish import run_stock

from ddphf.exceptions import InputError, ModelError
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.patches import apply_patch, split_signal
from ddphf.publish.archive import pack
from ddphf.publish.recast import Template, recast_signal
from ddphf.workspace.build import build_workspace

EDGES = [0.0, 1.0, 2.0, 3.0]
NEW = [2.0, 6.0, 14.0]


@pytest.fixture
def recasting(folder):
    """A published workspace, its background, and a user's signal as a table."""
    workspace = plain_workspace()
    background, _ = split_signal(workspace)
    Path("workspace.json").write_text(to_json(workspace))
    Path("BkgOnly.json").write_text(to_json(background))
    write_table(folder / "new.csv", {"signal": NEW, "error": [0.2, 0.3, 0.5]}, EDGES)
    return folder


def by_hand():
    workspace = plain_workspace()
    workspace["channels"][1]["samples"][0]["data"] = NEW
    return workspace


@pytest.mark.parametrize("base", ["workspace.json", "BkgOnly.json"])
def test_patch_applies_by_pyhf_and_gives_the_fit(recasting, base):
    arguments = ["patch", base, "--signal", "SR_mue=new.csv:signal", "-o", "new.json"]
    assert invoke(*arguments).code == 0
    expected = fit_workspace(by_hand())
    done = run_stock(recasting, "fit", "--value", "-p", "new.json", base, program="pyhf")
    stock = json.loads(done.stdout)
    assert stock["twice_nll"] == pytest.approx(expected.fit.twice_nll, abs=1e-3)
    assert stock["mle_parameters"]["mu"][0] == pytest.approx(expected.mu_hat.value, abs=1e-2)
    patched = apply_patch(
        json.loads(Path(base).read_text()), json.loads(Path("new.json").read_text())
    )
    assert patched == by_hand()


def test_patchset_applies_by_pyhf(recasting):
    arguments = ["patch", "BkgOnly.json", "--signal", "SR_mue=new.csv:signal", "--name", "heavy",
                 "--inspire", "ins7654321", "-o", "patchset.json"]  # fmt: skip
    assert invoke(*arguments).code == 0
    for command in (["patchset", "verify"], ["patchset", "apply", "--name", "heavy"]):
        done = run_stock(recasting, *command, "BkgOnly.json", "patchset.json", program="pyhf")
        assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    sample = applied["channels"][1]["samples"][0]
    assert (sample["name"], sample["data"]) == ("heavy", NEW)


def test_from_a_bundle_with_errors_and_scale(recasting):
    files = {"BkgOnly.json": Path("BkgOnly.json").read_bytes()}
    Path("bundle.tar.gz").write_bytes(pack(files))
    done = invoke(
        "patch", "bundle.tar.gz", "--signal", "SR_mue=new.csv:signal",
        "--error", "SR_mue=new.csv:error", "--scale", "0.5",
    )  # fmt: skip
    assert done.code == 0, done.err
    (step,) = json.loads(done.out)
    assert step["value"]["data"] == [1.0, 3.0, 7.0]
    error = step["value"]["modifiers"][1]
    assert (error["type"], error["data"]) == ("shapesys", [0.1, 0.15, 0.25])


def test_a_signal_out_of_scale_is_warned_about(recasting):
    base = ["patch", "BkgOnly.json", "--signal", "SR_mue=new.csv:signal", "--scale"]
    done = invoke(*base, "0.01")
    assert done.code == 0
    assert "the signal is too small for the excess; give a larger --scale" in done.err
    done = invoke(*base, "100")
    assert done.code == 0
    warning = next(line for line in done.err.splitlines() if "stock optimizers" in line)
    scale = warning.split("--scale ")[1].split(",")[0]
    done = invoke(*base, scale)
    assert done.code == 0
    assert "stock optimizers" not in done.err


def test_no_excess_is_no_fault_of_the_signal(tmp_path, monkeypatch):
    """mu ends at its lower bound: a larger scale would not help."""
    monkeypatch.chdir(tmp_path)
    background = {"name": "b", "data": [9.0], "modifiers": []}
    base = {
        "channels": [{"name": "SR", "samples": [background]}],
        "observations": [{"name": "SR", "data": [4.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu_sig", "parameters": []}}],
        "version": "1.0.0",
    }
    Path("base.json").write_text(json.dumps(base))
    Path("new.csv").write_text("x_low,x_high,signal\n0,1,3.0\n")
    done = invoke("patch", "base.json", "--signal", "SR=new.csv:signal")
    assert done.code == 0
    assert "mu_sig is at its lower bound 0: the data have no excess of this signal" in done.err
    assert "scale" not in done.err
    assert "hardly constrain" not in done.err


def test_relative_uncertainties_carry_over():
    """normsys as they are, histosys bin by bin, statistical ones not."""
    workspace = build_workspace(full_pair()).workspace
    old = next(s for s in workspace["channels"][1]["samples"] if s["name"] == "signal")
    new = np.array([4.0, 3.0, 2.0, 1.0])
    recast = recast_signal(workspace, {"SR_mue": Template(new)})
    sample = next(s for s in recast.workspace["channels"][1]["samples"] if s["name"] == "signal")
    before = {(m["name"], m["type"]): m["data"] for m in old["modifiers"]}
    after = {(m["name"], m["type"]): m["data"] for m in sample["modifiers"]}
    assert {k for k in before if k[1] != "staterror"} == set(after)
    assert any(kind == "staterror" for _, kind in before)
    for (name, kind), data in after.items():
        if kind == "histosys":
            relative = np.array(before[name, kind]["hi_data"]) / old["data"]
            assert np.allclose(data["hi_data"], new * relative, rtol=1e-14)
        else:
            assert data == before[name, kind]
    assert any("left out" in note and "stat" in note for note in recast.notes)
    # The other channel had some of the old signal, and has none of the new one.
    assert [s["name"] for s in recast.workspace["channels"][0]["samples"]] == [
        "fakes", "symmetric",
    ]  # fmt: skip
    assert any("the published signal has" in note for note in recast.notes)
    assert all(step["path"].startswith("/channels/") for step in recast.patch)
    pyhf.Workspace(recast.workspace).model(measurement_name="discovery")


def test_variations_where_the_old_signal_is_empty():
    """There the relative variation of `symmetric` is taken, where it has the nuisance."""
    workspace = build_workspace(full_pair()).workspace
    channel = workspace["channels"][1]
    old = next(s for s in channel["samples"] if s["name"] == "signal")
    old["data"][0] = 0.0
    for modifier in old["modifiers"]:
        if modifier["type"] == "histosys":
            modifier["data"]["hi_data"][0] = modifier["data"]["lo_data"][0] = 0.0
    symmetric = next(s for s in channel["samples"] if s["name"] == "symmetric")
    recast = recast_signal(workspace, {"SR_mue": Template(np.ones(4))})
    sample = next(s for s in recast.workspace["channels"][1]["samples"] if s["name"] == "signal")
    shifts = {m["name"]: m["data"]["hi_data"][0] for m in sample["modifiers"]
              if m["type"] == "histosys"}  # fmt: skip
    common = next(m for m in symmetric["modifiers"] if m["name"] == "lepton")
    assert shifts["lepton"] == pytest.approx(
        common["data"]["hi_data"][0] / symmetric["data"][0], rel=1e-14
    )


def test_refusals_of_the_function():
    base = plain_workspace()
    ok = {"SR_mue": Template(np.array(NEW))}
    no_poi = plain_workspace()
    no_poi["measurements"][0]["config"]["poi"] = ""
    with pytest.raises(ModelError, match="no POI"):
        recast_signal(no_poi, ok)
    with pytest.raises(InputError, match=r"bin 1: signal nan, expected a number >= 0$"):
        recast_signal(base, {"SR_mue": Template(np.array([1.0, np.nan, 1.0]))})
    lonely = plain_workspace()
    lonely["channels"][1]["samples"].pop()
    with pytest.raises(InputError, match="would have no sample left"):
        recast_signal(lonely, {"CR_emu": Template(np.array(NEW))})
    with pytest.raises(InputError, match="expected 3 errors >= 0"):
        recast_signal(base, {"SR_mue": Template(np.array(NEW), np.array([1.0]))})
