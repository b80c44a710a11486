"""Functions as backgrounds, and bumps as workspaces that ddphf and stock pyhf fit."""

import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
from bump_data import drawn, smooth, with_bump, write_spectrum
from conftest import invoke
from iminuit import Minuit
from others_data import needs, others

from ddphf.bumps.binning import Binning
from ddphf.bumps.families import FAMILIES, family_design, fit_family
from ddphf.bumps.links import IDENTITY
from ddphf.bumps.prepare import Width, prepare
from ddphf.bumps.run_scan import scan_spectra
from ddphf.bumps.spectra import Spectrum, read_spectra
from ddphf.bumps.templates import integral_templates
from ddphf.bumps.to_workspace import bump_workspace
from ddphf.exceptions import FitError, InputError
from ddphf.inference.fit import fit_workspace

EDGES = np.linspace(100.0, 160.0, 31)
COUNTS = drawn(with_bump(3400 * np.exp(-np.arange(30) / 22), 13, 300.0, 0.83), 5)


def minuit_z(binning, counts, template, name):
    """The same fit by iminuit, from the function itself."""
    design = family_design(binning, name)

    def rate(p):
        eta = design.columns @ p + design.offset
        return eta if design.link == IDENTITY else np.exp(eta)

    def twice_nll(x):
        r = rate(x[1:]) + x[0] * template
        return float(2 * np.sum(r - counts * np.log(np.maximum(r, 1e-9))))

    target = counts if design.link == IDENTITY else np.log(counts)
    first = np.linalg.lstsq(design.columns, target - design.offset, rcond=None)[0]
    values = []
    for fixed in (True, False):
        fit = Minuit(twice_nll, np.append(0.0, first))
        fit.errordef, fit.tol, fit.strategy = 1, 1e-6, 2
        fit.fixed["x0"] = fixed
        fit.migrad(ncall=50_000)
        fit.migrad(ncall=50_000)
        values.append(fit.fval)
    return float(np.sqrt(values[0] - values[1]))


@pytest.mark.parametrize("name", ["bernstein-3", "exp(quadratic)", "power with running", "dijet"])
def test_direct_fits_are_those_of_iminuit(name):
    binning = Binning(EDGES, np.full(30, 1.656))
    template = integral_templates(EDGES, np.array([126.5]), np.array([1.656]))[0]
    found = fit_family(binning, COUNTS, template, name)
    assert found.z == pytest.approx(minuit_z(binning, COUNTS, template, name), abs=1e-3)
    assert found.z_plug > found.z


def test_functions_are_left_out_where_they_are_not_defined():
    below = Binning(EDGES - 120.0, np.full(30, 1.6))
    beyond = Binning(EDGES * 200, np.full(30, 330.0))
    assert family_design(below, "power") is None
    assert family_design(beyond, "dijet") is None
    assert family_design(below, "exp(linear)") is not None


def row(counts=COUNTS, edges=EDGES, width=1.656):
    result = scan_spectra([Spectrum("s", edges, counts)], Width(mass=width))
    return json.loads(json.dumps(result.spectra[0]))


@pytest.fixture(scope="module")
def scanned():
    return row()


def stock_z(workspace):
    """q0 by pyhf alone."""
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, maxiter=200_000))
    try:
        values = []
        for measurement in ("discovery", "discovery_null"):
            w = pyhf.Workspace(workspace)
            model = w.model(measurement_name=measurement, poi_name="mu")
            fixed = model.config.suggested_fixed()
            data = w.data(model)
            _, value = pyhf.infer.mle.fit(data, model, fixed_params=fixed, return_fitted_val=True)
            values.append(float(value))
        return float(np.sqrt(values[1] - values[0]))
    finally:
        pyhf.set_backend("numpy")


@pytest.mark.parametrize("background", ["bernstein-4", "spline", "exp(quadratic)"])
def test_a_workspace_gives_the_direct_fit(scanned, background):
    workspace, about = bump_workspace(scanned, background)
    fitted = fit_workspace(workspace)
    z = about["z"]
    linear = background == "bernstein-4" or scanned["background"]["link"] == "identity"
    most = 1e-5 if linear and background != "exp(quadratic)" else 0.01
    assert abs(z["residual"]) <= most
    assert z["workspace"] == pytest.approx(fitted.discovery.z0, abs=1e-5)
    assert fitted.discovery.z0 == pytest.approx(z["direct"], abs=most)
    assert fitted.fit.certificate.edm < 1e-8
    if background == "spline":
        assert z["direct"] == pytest.approx(scanned["best"]["z"], abs=1e-4)


@pytest.mark.parametrize("background", ["bernstein-3", "bernstein-4"])
def test_stock_pyhf_confirms_a_linear_family(scanned, background):
    workspace, about = bump_workspace(scanned, background)
    assert stock_z(workspace) == pytest.approx(about["z"]["direct"], abs=1e-5)


def test_splines_with_a_logarithm_are_linearised_within_what_is_stated():
    counts = with_bump(smooth(50, 2000.0, 9.0, 1.0), 20, 130.0, 1.2)
    for seed in range(6):
        found = row(drawn(counts, seed), np.arange(51.0), 1.2)
        if found["background"]["link"] == "log" and found["best"]["z"] > 1:
            workspace, about = bump_workspace(found)
            assert abs(about["z"]["residual"]) <= 0.02
            assert fit_workspace(workspace).discovery.z0 == pytest.approx(
                about["z"]["workspace"], abs=1e-4
            )
            return
    pytest.fail("no spectrum took the logarithm")


def test_workspaces_refuse(scanned):
    with pytest.raises(InputError, match="expected spline or one of bernstein-3"):
        bump_workspace(scanned, "bernstien-4")
    with pytest.raises(InputError, match="no significance, so there is no bump to write"):
        bump_workspace({**scanned, "best": None, "status": "no significance"})
    few = row(drawn(smooth(40, 15.0, 8.0, 0.05), 2), np.arange(41.0), 1.0)
    with pytest.raises(FitError, match=r"more than 0\.02 apart, for so few events; take another"):
        bump_workspace(few, "exp(quadratic)")
    with pytest.raises(FitError, match="reach 0 where no event is observed; take a range"):
        bump_workspace(few, "bernstein-4")


def test_from_a_scan_to_a_fit(folder):
    write_spectrum("spectrum.csv", {"observed": COUNTS}, EDGES)
    for line in (
        "bumps scan spectrum.csv --width 1.656 --mass 126.5 -o b.json",
        "bumps workspace b.json --rank 1 --background bernstein-4 -o w.json",
        "fit w.json -o fit.json",
    ):
        done = invoke(*line.split())
        assert done.code == 0, done.err
    record = json.loads(Path("b.json").read_text())
    (spectrum,) = record["spectra"]
    names = [f["family"] for f in spectrum["families"]]
    assert names == list(FAMILIES)
    z = [f["z"] for f in spectrum["families"] if f["p"] >= 1e-3]
    assert spectrum["spread"]["spread"] == pytest.approx(max(z) - min(z))
    assert spectrum["at"]["mass"] == 126.5
    about = json.loads(Path("w.bump.json").read_text())
    fitted = json.loads(Path("fit.json").read_text())
    assert fitted["discovery"]["z0"] == pytest.approx(about["z"]["direct"], abs=1e-5)
    assert fitted["data_directed"]["local_z"] == pytest.approx(spectrum["best"]["z"], rel=1e-5)
    assert fitted["data_directed"]["windows"] == spectrum["excluded"].count(None)
    assert fitted["provenance"]["workspace_digest"] == about["workspace_digest"]
    done = invoke("bumps", "workspace", "b.json", "--rank", "2", "-o", "x.json")
    assert (done.code, "the record ranks 1 spectra" in done.err) == (3, True)


@needs("mass_spectra")
def test_published_direct_fits():
    """ATLAS diphoton, 126.5 GeV, sigma 1.656 GeV."""
    (atlas,), _ = read_spectra([str(others("mass_spectra") / "atlas_diphoton_2012.csv")])
    binning = prepare(atlas, Width(mass=1.656)).binning
    template = integral_templates(binning.edges, np.array([126.5]), np.array([1.656]))[0]
    for name, z, plug in (
        ("bernstein-3", 3.538, 4.14), ("bernstein-4", 3.1162, 3.77), ("bernstein-5", 3.145, 4.08),
        ("exp(quadratic)", 3.7907, 4.35),
    ):  # fmt: skip
        found = fit_family(binning, atlas.counts, template, name)
        assert found.z == pytest.approx(z, abs=1e-3)
        assert found.z_plug == pytest.approx(plug, abs=6e-3)
