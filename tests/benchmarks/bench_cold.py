"""The first minute: processor and wall seconds of commands in processes of their own.

python bench_cold.py -o X. Processor time does not depend on what else the machine does; on an idle
one the wall time is not above it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WINDOW = "workspaces/higgs_lfv_window"
COMMANDS = {
    "--help": "--help",
    "fit, 65 parameters": f"fit {WINDOW}/workspace.json -o {{0}}/fit.json",
    "rank, 2 362 parameters": "rank workspaces/higgs_lfv_asymmetric/workspace.json "
    "-o {0}/rank.json",
    "report": f"report {WINDOW}/workspace.json {{0}}/fit.json -o {{0}}/report.html",
    "publish": f"publish {WINDOW}/analysis.yml {{0}}/fit.json -o {{0}}/pair.tar.gz",
    "verify": "verify {0}/pair.tar.gz",
}
"""What a new user runs first, {0} being where they write."""

IMPORTS = ("numpy", "scipy.stats", "jax", "pyhf", "ddphf", "ddphf.inference.fit")


def spend(command, **environment):
    """Return wall and processor seconds of a child process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, check=True, cwd=ROOT, capture_output=True, env={**os.environ, **environment}
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--workspace", default="workspaces/higgs_lfv/workspace.json")
    options = parser.parse_args()
    out = {"load_at_start": os.getloadavg()[0], "workspace": options.workspace, "imports": {}}
    for name in IMPORTS:  # each with everything that it imports itself
        out["imports"][name] = spend([sys.executable, "-c", f"import {name}"])
    with tempfile.TemporaryDirectory() as folder:
        fit = [sys.executable, "-m", "ddphf", "fit", options.workspace, "--force"]
        fit += ["-o", f"{folder}/fit.json"]
        for name in ("without_cache", "with_cache", "with_cache_again"):
            out[name] = spend(fit, XDG_CACHE_HOME=folder)
    out["commands"] = {name: {} for name in COMMANDS}
    with tempfile.TemporaryDirectory() as cache:
        for state in ("without_cache", "filling", "with_cache"):
            with tempfile.TemporaryDirectory() as folder:
                for name, line in COMMANDS.items():
                    if state == "without_cache":
                        shutil.rmtree(cache, ignore_errors=True)
                    words = [sys.executable, "-m", "ddphf", *line.format(folder).split()]
                    spent = spend(words, XDG_CACHE_HOME=cache)
                    if state != "filling":
                        out["commands"][name][state] = spent
    out["load_at_end"] = os.getloadavg()[0]
    options.output.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")
    print(json.dumps(out))


if __name__ == "__main__":
    main()
