"""Commands end whatever the number of XLA's threads, which ``NPROC`` sets."""

import json
import subprocess
import sys

import numpy as np
import pytest
from environments import ROOT, with_tree
from others_data import others
from watchdogs import run_watched

COUNT_THREADS = """
import os
import jax.numpy as jnp
jnp.ones(3).block_until_ready()
names = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
print(names.count("tf_XLAEigen"))
"""


def many_normsys(n):
    """One background with n normsys, two bins: no pair, n + 1 global parameters."""
    sizes = np.random.default_rng(n).uniform(0.005, 0.05, (n, 2))
    modifiers = [
        {"name": f"norm{j}", "type": "normsys", "data": {"hi": 1 + up, "lo": 1 - down}}
        for j, (up, down) in enumerate(sizes.tolist())
    ]
    mu = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [5.0, 8.0], "modifiers": [mu]},
        {"name": "background", "data": [50.0, 60.0], "modifiers": modifiers},
    ]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [55.0, 66.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def run(folder, threads, seconds, *arguments):
    environment = with_tree(NPROC=str(threads), XDG_CACHE_HOME=str(folder))
    done = run_watched([sys.executable, *arguments], cpu_s=seconds, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMANDS = {
    "toys": ("toys", "--toys", "1100", "-o", "toys.npz"),
    "limit": ("limit", "--method", "toys", "--toys", "600", "-o", "limit.json"),
    "discover": ("discover", "--null", "toys", "--toys", "1100", "-o", "discover.json"),
}


def run_command(folder, path, threads, seconds, name):
    command, *options, output = COMMANDS[name]
    run(
        folder, threads, seconds,
        "-m", "ddphf", command, str(path), *options, str(folder / output), "--force",
    )  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_threads_are_set_by_nproc(tmp_path):
    assert [int(run(tmp_path, n, 600, "-c", COUNT_THREADS)) for n in (1, 3)] == [1, 3]


def test_toys_of_a_general_model_end_on_two_threads(tmp_path):
    """Two chunks at a time in a batched kernel each: without a third thread neither ends."""
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(many_normsys(24)))
    run_command(tmp_path, path, 2, 600, "toys")


def test_a_hanging_test_ends_the_run_with_its_stacks(tmp_path):
    path = tmp_path / "test_hang.py"
    path.write_text("import threading\n\ndef test_hang():\n    threading.Event().wait()\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-o",
         "faulthandler_timeout=1", "-p", "no:cacheprovider", str(path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Timeout" in done.stderr
    assert "in test_hang" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("n", [24, 60, 200])
def test_toys_limits_and_discovery_end(tmp_path, n, threads):
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(many_normsys(n)))
    for name in COMMANDS:
        run_command(tmp_path, path, threads, 1200, name)


PUBLISHED = (
    "atlas_ewk_2018_05/workspace.json",
    "atlas_sbottom_regionC_600_280_150/bottom-squarks.json",
    "cabinetry_tutorial/built_example_workspace.json",
    "pyhf_validation_micro/coupledshapefactor.workspace.json",
    "rmu_253/workspace.json",
)
WORKS = {
    "toys": ("toys", "--toys", "520"),  # three chunks: two threads and one that waits
    "limit": ("limit", "--method", "toys", "--toys", "100", "--poi-bounds", "0,100"),
    "discover": ("discover", "--null", "toys", "--toys", "520"),
    "goodness": ("fit", "--goodness-toys", "520"),
}
WITHOUT_NULL = "rmu_253"
"""Its ratio cannot be 0: it has toys of its fit alone."""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_toys_of_published_workspaces_end(tmp_path, name, work, threads):
    path = others(name)
    if name.startswith(WITHOUT_NULL) and work != "goodness":
        return
    command, *options = WORKS[work]
    output = str(tmp_path / ("toys.npz" if command == "toys" else "record.json"))
    run(tmp_path, threads, 1200, "-m", "ddphf", command, str(path), *options, "-o", output)
