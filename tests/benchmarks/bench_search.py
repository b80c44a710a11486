"""The search's core against its peers, in one run: python bench_search.py -o X [--toys N].

The largest of all 164 836 rectangles of 28x28 bins for many fields: both kernels, one size after
the other by `scan_positions`, pyBumpHunter's scan of two histograms (named as missing where it is
not installed); then with drawing on two threads, and global p-values to 1 %. Rates are per
processor second where they say so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_engine import machine
from search_data import null_pair

from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.global_p import draw_maxima
from ddphf.search.kernels import KERNELS, Scanner, choose_kernel
from ddphf.search.nuisances import Nuisances
from ddphf.search.nulls import GaussianNull
from ddphf.search.table import make_table
from ddphf.search.trials import choose_null, find_global_p
from ddphf.statistics.windows import scan_positions

EDGE = (28, 28)
SIZES = list(itertools.product(range(1, 29), repeat=2))


def spend(work):
    """Return processor and wall seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def fastest(works, rounds=6):
    """Return the least processor seconds of each of some calls, in turns: one load for all."""
    found = dict.fromkeys(works, np.inf)
    for _ in range(rounds):
        for name, work in works.items():
            found[name] = min(found[name], spend(work)[0])
    return found


def one_by_one(fields):
    """Return the largest window of fields as `scan_positions` gives it, size by size."""
    terms = fields.T.reshape(-1, *EDGE).astype(float)  # as users have them
    return np.max([scan_positions(terms, s).max(axis=(1, 2)) for s in SIZES], axis=0)


def bump_hunter():
    """Return scans per processor second of pyBumpHunter, None where it is not installed."""
    try:
        from pyBumpHunter import BumpHunter2D
    except ImportError:
        return None
    tested, partner = null_pair(1, 100.0)
    axis = np.arange(29.0)
    hunter = BumpHunter2D(
        rang=[[0, 28], [0, 28]], width_min=[1, 1], width_max=[28, 28], bins=[axis, axis], npe=3,
        nworker=1, seed=1,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        cpu, _ = spend(lambda: hunter.bump_scan(tested, partner, is_hist=True, do_pseudo=True))
    return 4 / cpu


def rectangles(kernels):
    """Return fields per processor second, one core, and their ratios."""
    fields = np.random.default_rng(1).standard_normal((784, 512)).astype(np.float32)
    plain = make_table(make_boxes(EDGE))
    pair = make_field(*null_pair(1, 1e4), nuisances=Nuisances.make(EDGE, ratio=[0.01]))
    own = make_table(make_boxes(EDGE), pair)
    cube = make_table(make_boxes((12, 12, 12)))
    boxes = np.random.default_rng(2).standard_normal((1728, 512)).astype(np.float32)
    few = one_by_one(fields[:, :64])
    works, n, out = (
        {"scan_positions": lambda: one_by_one(fields[:, :64])},
        {"scan_positions": 64},
        {},
    )
    for kernel in kernels:
        for name, table, data in (
            (kernel, plain, fields),
            (f"{kernel}_own_scales", own, fields),
            (f"{kernel}_12x12x12", cube, boxes),
        ):
            scanner = Scanner(table, kernel=kernel)
            largest = scanner.largest(data)  # compiles
            works[name], n[name] = (lambda s=scanner, d=data: s.largest(d)), 512
            if name == kernel:
                out[f"{kernel}_relative_difference"] = float(np.abs(largest[:64] / few - 1).max())
    for name, seconds in fastest(works).items():
        out[f"{name}_per_cpu_s"] = n[name] / seconds
    out["pyBumpHunter_per_cpu_s"] = bump_hunter()
    for peer in ("scan_positions", "pyBumpHunter"):
        if (rate := out[f"{peer}_per_cpu_s"]) is not None:
            for kernel in kernels:
                out[f"{kernel}_over_{peer}"] = out[f"{kernel}_per_cpu_s"] / rate
    return out


def with_drawing(kernels, toys):
    """Return seconds of drawing and scanning toys on two threads, and of drawing alone."""
    table = make_table(make_boxes(EDGE))
    null, out, rng = GaussianNull(table), {"toys": toys}, np.random.default_rng(1)
    blocks = -(-toys // 128)
    out["drawing_alone_cpu_s"] = spend(lambda: [null.plain(rng) for _ in range(blocks)])[0]
    for kernel in kernels:
        scanner = Scanner(table, kernel=kernel)
        best = min(spend(lambda s=scanner: draw_maxima(null, s, toys, seed=1)) for _ in range(3))
        out[f"{kernel}_cpu_s"], out[f"{kernel}_wall_s"] = best
    return out


def global_p(kernels):
    """Return seconds of global p-values of all rectangles to 1 %."""
    out = {}
    few = make_field(*null_pair(1, 5, 0.5), ratio=0.5)
    error = make_field(*null_pair(1, 1e4), nuisances=Nuisances.make(EDGE, ratio=[0.01]))
    for name, field, z in (
        ("plain", None, 5.0),
        ("ratio_1_percent", error, 5.0),
        ("few", few, 5.0),
    ):
        table = make_table(make_boxes(EDGE), field)
        chosen = choose_null(field, table, z, null="gaussian" if name != "few" else "auto")
        for kernel in kernels:
            found = []
            scanner = Scanner(table, kernel=kernel)

            def work(scanner=scanner, chosen=chosen, found=found, z=z):
                found.append(find_global_p(chosen, scanner, z, seed=1))

            cpu, wall = spend(work)
            row = {"cpu_s": cpu, "wall_s": wall, "p": found[0].p, "error": found[0].error}
            row.update(null=found[0].null, n_samples=found[0].n_samples)
            out[f"{name}_{kernel}"] = row
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--toys", type=int, default=20_000)
    options = parser.parse_args()
    kernels = [k for k in KERNELS if k == "numpy" or choose_kernel() == "numba"]
    out = {"load_at_start": os.getloadavg()[0], "machine": machine()}
    out["rectangles"] = rectangles(kernels)
    print(json.dumps(out["rectangles"]), flush=True)
    out["with_drawing"] = with_drawing(kernels, options.toys)
    print(json.dumps(out["with_drawing"]), flush=True)
    out["global_p"] = global_p(kernels)
    print(json.dumps(out["global_p"]), flush=True)
    out["load_at_end"] = os.getloadavg()[0]
    options.output.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
