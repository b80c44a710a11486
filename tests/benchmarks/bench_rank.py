"""Rankings against cabinetry's, both measured in one run: python bench_rank.py -o X.

The model is a 6x6 pair with 14 eigen-variations, 51 parameters; each tool gets a model that is
already built. cabinetry runs with tolerance 1e-4 on pyhf's jax backend and ranks everything. It is
timed with its defaults, and compared with nuisances between -100 and 100 (Minuit's errors suffer
from near bounds), with its defaults, and with our fit, so that both shift by the same amounts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cabinetry
from engine_models import eigen_variations, gaussian_signal, make_pair

from ddphf.inference.fitter import Fitter
from ddphf.inference.ranking.impacts import rank_model, rank_parameters
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend

SHIFTS = ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
SHIPPED = Path(__file__).resolve().parents[2] / "workspaces" / "higgs_lfv_asymmetric"


def judged_model(k=14, n=6, t=1e4, size=0.01, seed=3):
    rng, m = np.random.default_rng(seed), n * n
    flat, signal = np.full(m, t), gaussian_signal(n, n / 4) * 10 * np.sqrt(t)
    a, b = rng.poisson(flat), rng.poisson(flat + signal)
    return make_pair(flat, a, b, signal, variations=eigen_variations(k, m, rng, size))


@contextlib.contextmanager
def clock(out, name):
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    out[f"{name}_wall_s"] = time.perf_counter() - wall
    out[f"{name}_cpu_s"] = time.process_time() - cpu


def worst(ours, theirs, error):
    """Largest difference of an impact in errors of mu, per shift."""
    expected = {s: dict(zip(theirs.labels, getattr(theirs, s), strict=True)) for s in SHIFTS}
    return {
        s: max(
            abs(x - expected[s][name]) / error
            for name, x in zip(ours.labels, getattr(ours, s), strict=True)
        )
        for s in SHIFTS
    }


def compare():
    workspace, out = judged_model(), {}
    fitter = Fitter(ReferenceModel(workspace))
    reference = fitter.reference
    with clock(out, "ddphf_first"):
        ranked = rank_model(fitter, parameters=["*"])
    for name, globs in (("ddphf_all", ["*"]), ("ddphf_nuisances", [])):
        times = []
        for _ in range(5):
            row = {}
            with clock(row, "x"):
                rank_model(fitter, parameters=globs)
            times.append((row["x_wall_s"], row["x_cpu_s"]))
        out[f"{name}_wall_s"], out[f"{name}_cpu_s"] = map(float, np.median(times, axis=0))
    ours, data = ranked.to_cabinetry_ranking(), list(reference.data)
    with pyhf_backend("jax", "minuit"):
        with clock(out, "cabinetry"):
            fit = cabinetry.fit.fit(reference.model, data, tolerance=1e-4)
            theirs = cabinetry.fit.ranking(reference.model, data, fit_results=fit, tolerance=1e-4)
        found = {p.name: (p.value, p.error) for p in (*ranked.parameters, ranked.poi)}
        values, errors = np.array([found[name] for name in fit.labels]).T
        same = fit._replace(bestfit=values, uncertainty=errors)
        wide = {
            "tolerance": 1e-4,
            "par_bounds": [
                (-100.0, 100.0) if b == (-5.0, 5.0) else b
                for b in map(tuple, reference.model.config.suggested_bounds())
            ],
        }
        far = cabinetry.fit.ranking(reference.model, data, **wide)
        again = cabinetry.fit.ranking(reference.model, data, fit_results=same, tolerance=1e-4)
    out["fits"] = int(sum(np.sum(getattr(theirs, s) != 0) for s in SHIFTS))
    out["worst_difference"] = worst(ours, theirs, ranked.poi.error)
    out["worst_difference_wide_bounds"] = worst(ours, far, ranked.poi.error)
    out["worst_difference_same_shifts"] = worst(ours, again, ranked.poi.error)
    out["ratio_wall"] = out["cabinetry_wall_s"] / out["ddphf_all_wall_s"]
    out["ratio_cpu"] = out["cabinetry_cpu_s"] / out["ddphf_all_cpu_s"]
    out["auxiliary_ratio"] = rank_parameters(workspace).auxiliary["ratio"]
    return out


def shipped():
    workspace, out = json.loads((SHIPPED / "workspace.json").read_text()), {}
    with clock(out, "model"):
        fitter = Fitter(ReferenceModel(workspace))
    with clock(out, "first"):
        ranked = rank_model(fitter)
    with clock(out, "warm"):
        rank_model(fitter)
    out["parameters"], out["auxiliary_ratio"] = ranked.n_ranked, ranked.auxiliary["ratio"]
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    result = {"load_at_start": load, "shipped_28x28": shipped(), "judged_6x6": compare()}
    text = json.dumps(result, indent=1, sort_keys=True)
    Path(arguments.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
