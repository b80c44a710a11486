"""Toys through the command line: kept, resumed, merged, summarised."""

import json

import numpy as np
import pytest
from conftest import invoke

from ddphf.inference.toys.store import load_toys
from ddphf.statistics.tails import FAILED
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    rng = np.random.default_rng(5)
    signal = np.array([5.0, 20.0, 40.0, 20.0, 5.0, 0.0])
    pair = Pair(
        Channel("mue", rng.poisson(100 + signal), signal=Template(signal)),
        Channel("emu", rng.poisson(100.0, 6)),
    )
    path = tmp_path_factory.mktemp("toys") / "workspace.json"
    path.write_text(json.dumps(build_workspace(pair, signal_scale=1.0).workspace))
    return path


def toys(workspace, output, *options):
    outcome = invoke("toys", str(workspace), "-o", str(output), *options)
    assert outcome.code == 0, outcome.err
    return load_toys(output)


def test_resume_and_merge_give_the_toys_of_one_run(workspace, tmp_path):
    whole = toys(workspace, tmp_path / "whole.npz", "--toys", "600", "--seed", "3")
    assert len(whole) == 600
    assert not np.any(whole.status == FAILED)
    path = tmp_path / "parts.npz"
    toys(workspace, path, "--toys", "250", "--seed", "3")
    resumed = toys(workspace, path, "--toys", "600", "--seed", "3", "--resume")
    assert np.array_equal(resumed.index, whole.index)
    assert np.allclose(resumed.q0, whole.q0, rtol=0, atol=1e-8)
    other = tmp_path / "other.npz"
    toys(workspace, other, "--toys", "100", "--seed", "4")
    merged = toys(
        workspace, tmp_path / "all.npz",
        "--toys", "0", "--merge", str(path), "--merge", str(other),
    )  # fmt: skip
    assert len(merged) == 700
    assert set(merged.seed) == {3, 4}


def test_an_existing_file_is_kept(workspace, tmp_path):
    path = tmp_path / "toys.npz"
    toys(workspace, path, "--toys", "32")
    before = path.read_bytes()
    outcome = invoke("toys", str(workspace), "-o", str(path), "--toys", "64")
    assert outcome.code == 2
    assert "give --force" in outcome.err
    assert path.read_bytes() == before
    assert len(toys(workspace, path, "--toys", "64", "--force")) == 64


def test_force_keeps_the_old_file_until_there_are_new_toys(workspace, tmp_path):
    path = tmp_path / "toys.npz"
    toys(workspace, path, "--toys", "32")
    before = path.read_bytes()
    options = ["--force", "--measurement", "discovery_null"]
    outcome = invoke("toys", str(workspace), "-o", str(path), "--toys", "32", *options)
    assert outcome.code == 3
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_toys_of_another_model_are_refused(workspace, tmp_path):
    path = tmp_path / "toys.npz"
    toys(workspace, path, "--toys", "32", "--mu", "1")
    outcome = invoke("toys", str(workspace), "-o", str(path), "--toys", "64", "--resume")
    assert outcome.code == 3
    assert "holds toys of another model" in outcome.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-o", "-"], 2, "give a file name"),
        (["-o", "t.npz", "--toys", "0"], 2, "there is nothing to do"),
        (["-o", "t.npz", "--measurement", "discovery_null"], 3, "holds its POI 'mu' fixed"),
        (["-o", "t.npz", "--merge", "nothing.npz", "--toys", "5"], 3, "nothing.npz"),
    ],
)
def test_refusals(workspace, tmp_path, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    outcome = invoke("toys", str(workspace), *options)
    assert outcome.code == code
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_fit_summarises_the_null(workspace, tmp_path):
    outcome = invoke("fit", str(workspace), "-o", str(tmp_path / "fit.json"), "--toys", "2000")
    assert outcome.code == 0, outcome.err
    discovery = json.loads((tmp_path / "fit.json").read_text())["discovery"]
    summary = discovery["toys"]
    kept = toys(workspace, tmp_path / "toys.npz", "--toys", "2000")
    assert summary["n"] == 2000
    assert summary["n_failed"] == 0
    assert summary["n_ge"] == int(np.sum(kept.q0 >= discovery["q0"]))
    low, high = summary["p0_interval"]
    assert low <= summary["n_ge"] / 2000 <= high
    # 100 events per bin: the asymptotic p0 is right within a few per cent and the toys' error.
    spread = np.sqrt(discovery["p0"] / 2000)
    assert abs(summary["n_ge"] / 2000 - discovery["p0"]) < 4 * spread + 0.1 * discovery["p0"]


def test_toys_need_a_null(workspace):
    outcome = invoke("fit", str(workspace), "--toys", "10", "--measurement", "discovery_null")
    assert outcome.code == 3
    assert "holds its POI 'mu' fixed" in outcome.err
