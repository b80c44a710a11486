"""Ensembles on whatever device JAX finds, by block size: python bench_device.py -o X.

Run once as it is and once with JAX_PLATFORMS=cpu: the toys are the same, so the largest difference
of q0 between the two says whether the device computes what the processor does (`--compare`).
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from bench_engine import machine, make_source, time_fits

from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.statistics.tails import FAILED

ROWS = (
    ("plain, T=1e4", {"t": 1e4}),
    ("14 nuisances, T=1e4", {"t": 1e4, "k": 14}),
    ("60 nuisances, T=1e4", {"t": 1e4, "k": 60}),
    ("60 nuisances, T=25", {"t": 25.0, "k": 60}),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--toys", type=int, default=20_480)
    parser.add_argument("--sizes", type=int, nargs="+", default=(256, 2048, 10_240))
    parser.add_argument("--compare", type=Path, help="the q0 that another device gave (npz)")
    options = parser.parse_args()
    out = {"machine": machine(), "device": jax.devices()[0].device_kind, "rows": []}
    q0 = {}
    for name, model in ROWS:
        source = make_source(**model)[2]
        start = time.perf_counter()
        toys = toy_ensemble(source, 512, seed=5)
        row = {"name": name, "first_s": time.perf_counter() - start}
        row["failed"] = int(np.sum(toys.status == FAILED))
        q0[name] = toys.q0
        for size in options.sizes:
            row[f"blocks of {size}"] = time_fits(source, options.toys, size)
        out["rows"].append(row)
        print(json.dumps(row), flush=True)
    np.savez(options.output.with_suffix(".npz"), **q0)
    if options.compare is not None:
        with np.load(options.compare) as other:
            out["largest_difference_of_q0"] = {
                name: float(np.nanmax(np.abs(values - other[name]))) for name, values in q0.items()
            }
        print(json.dumps(out["largest_difference_of_q0"]), flush=True)
    options.output.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
