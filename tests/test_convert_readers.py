"""HS3 in the hands of other tools: ROOT's RooFit and pyhs3, where an interpreter has them.

``DDPHF_READERS`` names it, this one by default: `pip install root pyhs3` into an environment of its
own, since ROOT brings its own compiler. Skipped where it has neither.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from interchange_models import differences, every_modifier, points, pyhf_differences

from ddphf.interchange.agreement import all_measurements
from ddphf.interchange.hs3_write import write_hs3

WORKSPACES = Path(__file__).parent.parent / "workspaces"
PYTHON = os.environ.get("DDPHF_READERS", sys.executable)
TOOLS = {"root": "ROOT", "pyhs3": "pyhs3"}


def need(tool):
    done = subprocess.run(
        [PYTHON, "-c", f"import {TOOLS[tool]}"], capture_output=True, check=False, timeout=600
    )
    if done.returncode:
        pytest.skip(f"{TOOLS[tool]} is not installed")


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
        (folder / "points.json").write_text(json.dumps(values))
        done = subprocess.run(
            [PYTHON, str(Path(__file__).with_name("hs3_readers.py")), tool, "m.hs3.json",
             analysis["name"], "points.json"],
            cwd=folder, check=True, capture_output=True, text=True, timeout=1500,
        )  # fmt: skip
        theirs = json.loads(done.stdout.splitlines()[-1])
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
