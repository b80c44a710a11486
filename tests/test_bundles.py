"""The published bundles: verified, reproduced by a pyhf without ddphf, and what they must say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyhf
import pytest

from ddphf.publish.archive import read_archive, unpack
from ddphf.publish.verify import verify_archive

WORKSPACES = Path(__file__).parents[1] / "workspaces"
PUBLISHED = WORKSPACES / "published"
NAMES = ("flat_reference", "higgs_lfv_asymmetric", "higgs_lfv_window")


def archive(name):
    return read_archive(PUBLISHED / f"{name}.tar.gz")


@pytest.fixture(scope="module", params=NAMES)
def bundle(request):
    return request.param, unpack(archive(request.param))


def unpack_to(files, folder):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_contents_of_every_bundle(bundle):
    name, _ = bundle
    result = verify_archive(archive(name), level=0)
    assert result.passed, [c for c in result.checks if not c.passed]
    assert result.name == name


def test_values_of_the_window():
    result = verify_archive(archive("higgs_lfv_window"), level=1)
    assert result.passed, list(result.failures)


def test_script_of_every_bundle(bundle, tmp_path):
    """verify_stock.py without ddphf on the path prints the numbers of the bundle's README."""
    _, files = bundle
    unpack_to(files, tmp_path)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "verify_stock.py"], cwd=tmp_path, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    printed = "".join(f"    {line}\n" for line in done.stdout.splitlines())
    assert printed in files["README.md"].decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_levels(name):
    """Up to cold refits, the command line in a clean environment, limits and toys."""
    result = verify_archive(archive(name), level=6, seconds=30.0)
    failures = list(result.failures)
    if [c.status for c in failures] == ["NOT RUN"]:
        pytest.skip("no package index")
    assert result.passed, failures


@pytest.mark.parametrize("name", ["higgs_lfv_asymmetric", "higgs_lfv_window"])
def test_the_shipped_workspaces_are_the_published_ones(name):
    files = unpack(archive(name))
    shipped = WORKSPACES / name / "workspace.json"
    assert json.loads(files["workspace.json"]) == json.loads(shipped.read_text())
    fit = json.loads((WORKSPACES / name / "fit.json").read_text())
    results = json.loads(files["results.json"])
    assert results["statements"][0]["q0"] == pytest.approx(fit["discovery"]["q0"], abs=1e-6)


def test_numbers_of_the_flat_reference():
    """Birman et al., Eq. 10, and the closed form of the paired likelihood."""
    files = unpack(archive("flat_reference"))
    results = json.loads(files["results.json"])
    z0 = {s["measurement"]: s["z0"] for s in results["statements"]}
    assert z0["discovery"] == pytest.approx(3.533083, abs=1e-6)
    assert z0["known_background"] == pytest.approx(5.0, abs=1e-6)
    mu = {s["measurement"]: s["mu_hat"] for s in results["statements"]}
    assert mu["discovery"] == pytest.approx(1.0, abs=1e-9)
    signal = json.loads(files["metadata.json"])["signal"]
    assert sum(signal["events_at_mu_1"].values()) == pytest.approx(3004.163780, abs=1e-6)


def test_the_lepton_id_bundle_holds_its_covariance():
    files = unpack(archive("higgs_lfv_asymmetric"))
    covariance = json.loads(files["covariance.json"])
    metadata = json.loads(files["metadata.json"])
    assert len(covariance["matrix"]) == metadata["lepton_id"]["covariance"]["calibration_bins"]
    digest = f"sha256:{pyhf.utils.digest(covariance)}"
    assert metadata["covariance_matrix"]["digest"] == digest


def test_every_bundle_holds_every_kind_of_record(bundle):
    name, files = bundle
    results = json.loads(files["results.json"])
    ranked = [] if name == "flat_reference" else ["rank.json"]  # it has nothing to rank
    assert [entry["name"] for entry in results["included"]] == [
        "discover.json", "limit.json", *ranked,
    ]  # fmt: skip
    assert [(t["file"], t["seed"], t["n"]) for t in results["toys"]] == [
        ("toys.npz", 2, 2000), (None, 1, 2000),
    ]  # fmt: skip
    included = {entry["name"]: entry for entry in results["included"]}
    assert {"asymptotic", "toys", "intervals"} <= set(included["limit.json"])
    null = included["discover.json"]["statements"][0]["null"]
    assert {"asymptotic", "toys", "importance"} <= set(null)


def test_bundles_are_small():
    assert sum(p.stat().st_size for p in PUBLISHED.glob("*.tar.gz")
               if not p.name.endswith(".hepdata.tar.gz")) < 6e6  # fmt: skip
