"""A mass scan against stock pyhf, in one run: python bench_masses.py SCAN -o X [--stock 3].

SCAN is a scan file, or an npz with the arrays of `ddphf masses`. All free and null fits, all
asymptotic limits at 90 %, and limits by toys of a few hypotheses, against pyhf on its jax backend
with its default optimizer for a few hypotheses: the stock time of the whole scan is the mean of
those, times the hypotheses. pyhf compiles for each model; warm times are second calls. Processor
seconds, because a busy machine stretches all others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyhf
from bench_engine import machine

from ddphf.compute.work import HERE
from ddphf.likelihood.reference import pyhf_backend
from ddphf.masses.asymptotic import find_limits
from ddphf.masses.config import read_arrays, read_scan
from ddphf.masses.run import fit_scan
from ddphf.masses.toy_limits import toy_limits

LEVEL = 0.9
POINTS = 20
"""Of the grid of stock limits."""


def spend(work):
    """Return what a call gives, and its processor seconds on all threads."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def fastest(work, rounds=5):
    found = [spend(work) for _ in range(rounds)]
    return found[0][0], min(cpu for _, cpu in found)


def measure_stock(scan, fitted, limits, index):
    """Return processor seconds of pyhf for one hypothesis, and whether it agrees."""
    workspace = pyhf.Workspace(scan.workspace(index))
    model = workspace.model()
    data = workspace.data(model)

    def both():
        _, at_null = pyhf.infer.mle.fixed_poi_fit(0.0, data, model, return_fitted_val=True)
        _, at_free = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
        return float(at_null) - float(at_free)

    _, cold = spend(both)
    q0, warm = fastest(both, 3)
    top = min(3.0 * float(limits.expected[index][-1]), scan.poi.upper)

    def limit():
        grid = np.linspace(0.0, top, POINTS)
        observed, _ = pyhf.infer.intervals.upper_limits.upper_limit(data, model, grid, 1 - LEVEL)
        return float(observed)

    observed, limit_s = spend(limit)
    return {
        "hypothesis": index, "fits_cold_s": cold, "fits_warm_s": warm, "limit_s": limit_s,
        "q0": q0, "q0_ddphf": float(fitted.q0[index]),
        "limit": observed, "limit_ddphf": float(limits.observed[index]),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scan")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--empty-bins", default="keep")
    parser.add_argument("--stock", type=int, default=3, help="hypotheses that pyhf does")
    parser.add_argument("--toy-limits", type=int, default=2)
    parser.add_argument("--toys", type=int, default=1000)
    args = parser.parse_args()
    read = read_arrays if args.scan.endswith(".npz") else read_scan
    scan, _ = read(args.scan, empty_bins=args.empty_bins)
    out = {"machine": machine(), "hypotheses": len(scan), "bins": scan.counts.shape[1]}
    fit_scan(scan)
    fitted, out["fits_s"] = fastest(lambda: fit_scan(scan))
    limits, out["limits_s"] = fastest(
        lambda: find_limits(fitted.engine, fitted.free, fitted.null, fitted.asimov, LEVEL), 3
    )
    usable = np.flatnonzero(np.isfinite(fitted.q0) & np.isfinite(limits.expected).all(axis=1))
    spread = usable[np.linspace(0, len(usable) - 1, args.stock + 2).astype(int)[1:-1]]
    some = scan.take(usable[np.linspace(0, len(usable) - 1, args.toy_limits + 2).astype(int)[1:-1]])
    few = fit_scan(some)
    few_limits = find_limits(few.engine, few.free, few.null, few.asimov, LEVEL)
    _, cpu = spend(
        lambda: toy_limits(
            some, [few_limits], few.free.theta[:, 0], args.toys, seed=1, folder=None, work=HERE
        )
    )
    out["toy_limits"] = {"hypotheses": len(some), "toys": args.toys, "each_s": cpu / len(some)}
    with pyhf_backend("jax", "scipy"):
        out["stock"] = [measure_stock(scan, fitted, limits, int(i)) for i in spread]
    for key, own in (("fits_cold_s", "fits_s"), ("fits_warm_s", "fits_s"), ("limit_s", "limits_s")):
        whole = len(scan) * float(np.mean([row[key] for row in out["stock"]]))
        out[f"stock_{key}_extrapolated"], out[f"ratio_{key}"] = whole, whole / out[own]
    out["load_at_end"] = os.getloadavg()[0]
    Path(args.output).write_text(json.dumps(out, indent=2) + "\n")
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
