"""The shipped samples: rebuilt, refitted, and reproduced by plain pyhf."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyhf
import pytest
from click.testing import CliRunner

from ddphf.cli.main import group
from ddphf.inference.fit import fit_workspace
from ddphf.inputs.readers import read_histogram
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.results.fit import FitResult

WORKSPACES = Path(__file__).parents[1] / "workspaces"
SAMPLES = ("higgs_lfv", "higgs_lfv_window")


def load(sample: str, name: str) -> dict:
    return json.loads((WORKSPACES / sample / name).read_text())


@pytest.mark.parametrize("sample", SAMPLES)
def test_build_gives_the_shipped_bytes(sample, tmp_path):
    for name in ("first", "second"):
        output = tmp_path / name / "workspace.json"
        arguments = ["build", str(WORKSPACES / sample / "analysis.yml"), "-o", str(output)]
        assert CliRunner().invoke(group, arguments, catch_exceptions=False).exit_code == 0
        for file in ("workspace.json", "workspace.metadata.json"):
            shipped = (WORKSPACES / sample / file).read_bytes()
            assert (output.parent / file).read_bytes() == shipped


@pytest.mark.parametrize("sample", SAMPLES)
def test_fit_gives_the_shipped_numbers(sample):
    spec = load(sample, "workspace.json")
    shipped = FitResult.from_dict(load(sample, "fit.json"))
    again = fit_workspace(spec)
    assert again.discovery.q0 == pytest.approx(shipped.discovery.q0, rel=1e-8)
    assert again.known_background.q0 == pytest.approx(shipped.known_background.q0, rel=1e-8)
    assert again.fit.twice_nll == pytest.approx(shipped.fit.twice_nll, rel=1e-11)
    assert again.mu_hat.error == pytest.approx(shipped.mu_hat.error, rel=1e-8)
    digest = pyhf.utils.digest(spec)
    assert shipped.provenance["workspace_digest"] == f"sha256:{digest}"


def stock_tolerance(q0: float) -> float:
    return max(2e-3, 1e-4 * q0)


def test_stock_pyhf_command_line_on_the_window():
    """Cold fits by the plain pyhf command: numpy backend, scipy."""
    fit = load("higgs_lfv_window", "fit.json")
    values = {}
    for measurement in ("discovery", "discovery_null"):
        # SLSQP is many times slower with more than one BLAS thread.
        output = subprocess.run(
            [
                str(Path(sys.executable).with_name("pyhf")), "fit", "--value",
                "--measurement", measurement, str(WORKSPACES / "higgs_lfv_window/workspace.json"),
            ],
            capture_output=True, text=True, check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        ).stdout  # fmt: skip
        values[measurement] = json.loads(output)["twice_nll"]
    q0 = values["discovery_null"] - values["discovery"]
    assert q0 == pytest.approx(fit["discovery"]["q0"], abs=stock_tolerance(q0))


def test_stock_pyhf_from_our_point_on_the_full_sample():
    """785 parameters: pyhf's numpy fit started at ours finds nothing better."""
    fit = load("higgs_lfv", "fit.json")
    workspace = pyhf.Workspace(load("higgs_lfv", "workspace.json"))
    values = []
    for measurement, key in (("discovery_null", "null"), ("discovery", "fit")):
        model = workspace.model(measurement_name=measurement)
        point = {p["name"]: p["value"] for p in fit[key]["parameters"]}
        _, value = pyhf.infer.mle.fit(
            workspace.data(model), model,
            init_pars=[point[name] for name in model.config.par_names], return_fitted_val=True,
        )  # fmt: skip
        assert value == pytest.approx(fit[key]["twice_nll"], abs=1e-4)
        values.append(float(value))
    q0 = values[0] - values[1]
    assert q0 == pytest.approx(fit["discovery"]["q0"], abs=stock_tolerance(q0))


def test_histograms_are_what_their_readme_says():
    def read(name):
        return read_histogram(f"histograms.root:{name}", folder=WORKSPACES / "higgs_lfv")

    observed, background, signal = read("B_observed"), read("background").flat, read("signal").flat
    assert observed.shape == (28, 28)
    assert [axis.title for axis in observed.axes] == [
        "collinear mass [GeV]",
        "leading lepton pT [GeV]",
    ]
    assert np.all(background > 25)
    assert np.array_equal(observed.flat, np.round(observed.flat))
    # Injected such that the Asimov significance with a known background is 5.
    asimov = PlainPair.of(background + signal, background, signal, known_background=background)
    assert asimov.fit().z0 == pytest.approx(5.0, abs=1e-6)
    drawn = np.random.default_rng(20261121)
    assert np.array_equal(read("A_observed").flat, drawn.poisson(background))
    assert np.array_equal(observed.flat, drawn.poisson(background + signal))


def test_shipped_files_stay_small():
    total = sum(path.stat().st_size for path in WORKSPACES.rglob("*") if path.is_file())
    assert total < 25e6
