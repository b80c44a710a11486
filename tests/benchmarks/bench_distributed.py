"""Toys of the 28x28 sample on threads, processes and a Dask cluster of this machine, in turns.

Each runner starts, does some blocks per worker (imports, programs from the cache), then the toys
that are timed; all results must be the same bits. Processor seconds are those of this process and
of the workers, for the timed toys and, apart, for everything else.

    python tests/benchmarks/bench_distributed.py -o build/performance_distributed.json
"""

import argparse
import json
import os
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import psutil

from ddphf.compute.runners import open_runner
from ddphf.compute.work import Work
from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.cache import enable_compilation_cache
from ddphf.likelihood.reference import ReferenceModel

SAMPLES = Path(__file__).parents[2] / "workspaces"
RUNNERS = ("threads", "processes:1", "processes:2", "local:1", "local:2")
COLUMNS = ("index", "q0", "mu_hat", "status", "at_zero")


def ended_seconds():
    """Return the processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def seconds_now():
    """Return the processor seconds of this process and of all that descend from it and live."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def measure(source, where, n):
    """Return the toys and the times of one runner."""
    all_cpu, begin = ended_seconds(), time.perf_counter()
    with open_runner(where) as runner:
        for _ in range(4):  # until every worker has done a block
            toy_ensemble(source, 1024 * runner.width, seed=2, work=Work(runner=runner))
        ready, cpu = time.perf_counter(), seconds_now()
        toys = toy_ensemble(source, n, seed=1, work=Work(runner=runner))
        done, cpu = time.perf_counter(), seconds_now() - cpu
    return toys, {
        "start_s": ready - begin,
        "wall_s": done - ready,
        "cpu_s": cpu,
        "start_and_end_cpu_s": ended_seconds() - all_cpu - cpu,
        "load": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", default="higgs_lfv")
    parser.add_argument("--toys", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runners", nargs="+", default=RUNNERS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    enable_compilation_cache()
    spec = json.loads((SAMPLES / options.sample / "workspace.json").read_text())
    source = ToySource.conditional(Fitter(ReferenceModel(spec)).require_compiled())
    first, times = None, {where: [] for where in options.runners}
    for _ in range(options.rounds):
        for where in options.runners:
            toys, row = measure(source, where, options.toys)
            first = toys if first is None else first
            row["same_bits"] = all(
                np.array_equal(getattr(toys, name), getattr(first, name), equal_nan=True)
                for name in COLUMNS
            )
            times[where].append(row)
            print(where, {key: round(value, 2) for key, value in row.items()}, flush=True)
    result = {"sample": options.sample, "toys": options.toys, "cores": os.cpu_count()}
    for where, rows in times.items():
        result[where] = {
            key: statistics.median(row[key] for row in rows)
            for key in ("start_s", "wall_s", "cpu_s", "start_and_end_cpu_s", "load")
        }
        result[where]["toys_per_s"] = options.toys / result[where]["wall_s"]
        result[where]["toys_per_cpu_s"] = options.toys / result[where]["cpu_s"]
        result[where]["same_bits"] = all(row["same_bits"] for row in rows)
    print(json.dumps(result, indent=2))
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
