"""HS3 in the hands of other tools, ROOT's RooFit and pyhs3, and the bundles in all hands.

``DDPHF_READERS`` names it, this one by default: `pip install root pyhs3` into an environment of its
own, since ROOT brings its own compiler. Skipped where it has neither.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cabinetry
import numpy as np
import pytest
from interchange_models import differences, every_modifier, points, pyhf_differences

from ddphf.interchange.agreement import all_measurements
from ddphf.interchange.hs3_write import write_hs3
from ddphf.likelihood.reference import pyhf_backend
from ddphf.publish.archive import read_archive, unpack

WORKSPACES = Path(__file__).parent.parent / "workspaces"
PYTHON = os.environ.get("DDPHF_READERS", sys.executable)
TOOLS = {"root": "ROOT", "pyhs3": "pyhs3"}


def need(tool):
    done = subprocess.run(
        [PYTHON, "-c", f"import {TOOLS[tool]}"], capture_output=True, check=False, timeout=600
    )
    if done.returncode:
        pytest.skip(f"{TOOLS[tool]} is not installed")


def read_by(tool, folder, analysis, values):
    """Return 2NLL of the document of a folder by a tool."""
    (folder / "points.json").write_text(json.dumps(values))
    done = subprocess.run(
        [PYTHON, str(Path(__file__).with_name("hs3_readers.py")), tool, "m.hs3.json", analysis,
         "points.json"],
        cwd=folder, check=True, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def assert_read(tool, workspace, folder, n):
    """The tool's 2NLL differences are pyhf's, at points of every measurement."""
    references = all_measurements(workspace)
    document = write_hs3(references)
    (folder / "m.hs3.json").write_text(json.dumps(document))
    for reference, analysis, point in zip(
        references, document["analyses"], document["parameter_points"], strict=True
    ):
        names = [p["name"] for p in point["parameters"]][: len(reference.parameters.names)]
        where = points(reference, n)
        values = [dict(zip(names, map(float, x), strict=True)) for x in where]
        theirs = read_by(tool, folder, analysis["name"], values)
        np.testing.assert_allclose(
            differences(theirs), pyhf_differences(reference, where), rtol=1e-10, atol=1e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_every_modifier_as_others_read_it(tool, tmp_path):
    need(tool)
    assert_read(tool, every_modifier(), tmp_path, 20)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_the_window_as_others_read_it(tool, tmp_path):
    need(tool)
    path = WORKSPACES / "higgs_lfv_window" / "workspace.json"
    assert_read(tool, json.loads(path.read_text()), tmp_path, 3)


BUNDLES = {
    "flat_reference": ("discovery", "discovery_null", 12.482675),
    "higgs_lfv_asymmetric": ("discovery", "discovery_null", 18.519706),
    "higgs_lfv_window": ("discovery", "discovery_null", 14.682162),
    "tau_ratio": ("ratio", None, None),
}
"""Recorded points of each bundle, and q0 between them: the table of docs/convert.md."""


def opened(name):
    """Return workspace and recorded points of a published bundle."""
    path = WORKSPACES / "published" / f"{name}.tar.gz"
    files = unpack(read_archive(str(path)), name=path.name)
    results = json.loads(files["results.json"])
    return json.loads(files["workspace.json"]), {p["measurement"]: p for p in results["points"]}


def recorded(point, names):
    values = {p["name"]: p["value"] for p in point["parameters"]}
    return np.array([values[name] for name in names])


def test_the_bundle_of_the_window_by_pyhf_on_numpy_and_jax_and_by_cabinetry():
    assert_bundle_by_pyhf("higgs_lfv_window")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flat_reference", "higgs_lfv_asymmetric", "tau_ratio"])
def test_large_bundles_by_pyhf_on_numpy_and_jax_and_by_cabinetry(name):
    assert_bundle_by_pyhf(name)


def assert_bundle_by_pyhf(name):
    workspace, found = opened(name)
    free, null, q0 = BUNDLES[name]
    values = {}
    for backend in ("numpy", "jax"):
        with pyhf_backend(backend):
            import pyhf

            for measurement in filter(None, (free, null)):
                chosen = [m for m in workspace["measurements"] if m["name"] == measurement]
                spec = {**workspace, "measurements": chosen}
                model, data = cabinetry.model_utils.model_and_data(spec)
                x = pyhf.tensorlib.astensor(recorded(found[measurement], model.config.par_names))
                data = pyhf.tensorlib.astensor(data)
                values[backend, measurement] = -2 * float(model.logpdf(x, data)[0])
                assert values[backend, measurement] == pytest.approx(
                    found[measurement]["twice_nll"], abs=1e-6
                )
        if null is not None:
            assert values[backend, null] - values[backend, free] == pytest.approx(q0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLES)
def test_bundles_by_root(name, tmp_path):
    need("root")
    assert_bundle_by("root", name, tmp_path)


@pytest.mark.slow
def test_the_bundle_of_the_window_by_pyhs3(tmp_path):
    need("pyhs3")
    assert_bundle_by("pyhs3", "higgs_lfv_window", tmp_path)


def assert_bundle_by(tool, name, folder):
    """q0 between the recorded points; for a ratio, 2NLL from its minimum to points beside it."""
    workspace, found = opened(name)
    free, null, q0 = BUNDLES[name]
    references = all_measurements(workspace)
    document = write_hs3(references)
    (folder / "m.hs3.json").write_text(json.dumps(document))
    names = [p["name"] for p in document["parameter_points"][0]["parameters"]]
    parameters = references[0].parameters.names
    where = [recorded(found[free], parameters)]
    if null is not None:
        where.append(recorded(found[null], parameters))
    else:
        where.append(where[0] * (1 + 1e-4))
    values = [dict(zip(names, map(float, x), strict=False)) for x in where]
    theirs = differences(read_by(tool, folder, free, values))
    np.testing.assert_allclose(theirs, pyhf_differences(references[0], where), atol=1e-6)
    if q0 is not None:
        assert theirs[0] == pytest.approx(q0, abs=1e-6)
