"""Cost of `ddphf fit` and `ddphf rank`, each a process of its own, against the size of the model.

python bench_cost.py -o X [--figure docs/cost.png] [--before CHECKOUT] [--shared FOLDER]

Processor seconds (both cores), wall seconds and peak memory, with an empty compilation cache and
with the one that this run has filled. --before measures another checkout of ddphf in the same run,
--shared adds published workspaces. cabinetry ranks by `--engine cabinetry`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cost_models import foreign, spectrum

ROOT = Path(__file__).resolve().parents[2]

LIMIT_S = 60
"""A command that takes longer is ended, and has no number."""

CASES = {
    "nuisances, symmetric": {
        n: ("fit", lambda n=n: spectrum(200, n)) for n in (10, 100, 300, 1000)
    },
    "nuisances, two-sided": {
        n: ("fit", lambda n=n: spectrum(200, n, two_sided=True)) for n in (10, 30, 100)
    },
    "nuisances, two-sided with noise": {
        n: ("fit", lambda n=n: spectrum(200, n, two_sided=True, noise=0.03)) for n in (10, 100)
    },
    "bins": {b: ("fit", lambda b=b: spectrum(b, 10)) for b in (100, 1000, 10000, 50000)},
    "parameters, general": {
        2 + n + s + c * b: ("fit", lambda a=(c, b, n, s, one): foreign(*a[:4], one_sided=a[4]))
        for c, b, n, s, one in ((2, 4, 4, 2, 0), (4, 8, 16, 6, 0), (6, 12, 80, 37, 6))
    },
    "parameters, general, ranked": {
        2 + n + s + c * b: ("rank", lambda a=(c, b, n, s, one): foreign(*a[:4], one_sided=a[4]))
        for c, b, n, s, one in ((2, 4, 4, 2, 0), (4, 8, 16, 6, 0), (6, 12, 80, 37, 6))
    },
}  # fmt: skip
PUBLISHED = ("atlas_ewk_2018_05", "rmu_253")
COMPARED = ("parameters, general, ranked", (16, 56))
"""Where cabinetry ranks too."""


def spend(command, folder, tree):
    """Run one command; return its processor and wall seconds and its peak memory in MB."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(tree)}
    start = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    timer = threading.Timer(LIMIT_S, child.kill)
    timer.start()
    errors = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        return {"failed": child.returncode, "message": errors.decode()[-200:]}
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "wall_s": round(time.perf_counter() - start, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def measure(work, workspace, tree, *extra):
    """Return the cost of one command without and with the cache."""
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ddphf", work, str(workspace), *extra]
        command += ["-o", f"{folder}/result.json", "--force"]
        for name in ("cold", "cached"):
            out[name] = spend(command, folder, tree)
    return out


def run(trees, shared):
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workspace.json"
        for title, cases in CASES.items():
            for size, (work, make) in cases.items():
                path.write_text(json.dumps(make()))
                row = {name: measure(work, path, tree) for name, tree in trees.items()}
                if title == COMPARED[0] and size in COMPARED[1]:
                    row["cabinetry"] = measure(work, path, ROOT, "--engine", "cabinetry")
                out.setdefault(title, {})[size] = row
                print(title, size, json.dumps(row), flush=True)
    for name in PUBLISHED if shared else ():
        path = shared / name / "workspace.json"
        for work in ("fit", "rank"):
            row = {label: measure(work, path, tree) for label, tree in trees.items()}
            out.setdefault(f"published, {work}", {})[name] = row
            print(name, work, json.dumps(row), flush=True)
    return out


def draw(found, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, places = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    panels = (
        (
            "nuisances on 200 bins",
            (
                "nuisances, symmetric",
                "nuisances, two-sided",
                "nuisances, two-sided with noise",
            ),
        ),
        ("bins, 10 nuisances", ("bins",)),
        ("parameters of a general model", ("parameters, general", "parameters, general, ranked")),
    )
    for place, (label, titles) in zip(places, panels, strict=True):
        for i, title in enumerate(titles):
            for tree, style in (("before", "o--"), ("now", "o-"), ("cabinetry", "s:")):
                rows = {
                    int(size): row[tree]["cold"].get("cpu_s")
                    for size, row in found[title].items()
                    if tree in row
                }
                rows = {size: cpu for size, cpu in rows.items() if cpu is not None}
                if rows:
                    short = title.split(", ", 1)[-1] if ", " in title else "fit"
                    short = {"general": "fit", "general, ranked": "rank"}.get(short, short)
                    place.plot(
                        rows.keys(), rows.values(), style, color=f"C{i}", markersize=4,
                        label=f"{short}, {tree}",
                    )  # fmt: skip
        place.set(xscale="log", yscale="log", xlabel=label)
        for axis in (place.xaxis, place.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        place.legend(fontsize=7, loc="upper left", handlelength=3.5)  # dashes to be seen
    places[0].set(ylim=(1, 400), yticks=[1, 2, 5, 10, 20, 50, 100])  # shared
    places[0].set_ylabel("processor seconds, cold process")
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--shared", type=Path)
    options = parser.parse_args()
    trees = {"now": ROOT} if options.before is None else {"before": options.before, "now": ROOT}
    load = os.getloadavg()[0]
    found = run({name: tree.resolve() for name, tree in trees.items()}, options.shared)
    record = {"cases": found, "cores": os.cpu_count(), "load": [load, os.getloadavg()[0]]}
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    if options.figure is not None:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
