"""Benchmarks of the likelihood engine against its peers, in one run: python bench_engine.py -o X.

Every number is measured here. Peers that are not installed are left out and named as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import pyhf
from engine_models import eigen_variations, gaussian_signal, make_pair, rectangle_signal
from threadpoolctl import threadpool_limits

from ddphf.compute.threads import WORKERS
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.statistics.tails import FAILED

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SBOTTOM = SHARED / "atlas_sbottom_regionC_600_280_150" / "bottom-squarks.json"


def machine():
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].split(":")[1].strip() if lines else model
    names = ("jax", "jaxlib", "numpy", "scipy", "pyhf", "iminuit", "evermore", "optimistix")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
        "devices": [str(d) for d in jax.devices()],
        "versions": versions,
    }


def make_source(t, k=0, *, size=0.02, fakes=False, signal="gaussian", n=28, seed=0):
    m, rng = n * n, np.random.default_rng(seed)
    flat = np.full(m, float(t))
    s = gaussian_signal(n) if signal == "gaussian" else rectangle_signal(n)
    options = {}
    if k:
        options["variations"] = eigen_variations(k, m, rng, size)
    if fakes:
        options["fakes"] = flat * 0.05, flat * 0.03
        options["errors"] = flat * 0.05 * 0.2, flat * 0.03 * 0.2
    scale = 30 * np.sqrt(t)
    workspace = make_pair(flat, flat, flat, s * scale, **options)
    reference = ReferenceModel(workspace)
    return workspace, reference, ToySource.conditional(CompiledModel.from_reference(reference))


def time_fits(source, n, size=256):
    """Fits alone: data drawn before the clock starts, all programs compiled by a first pass."""
    fitter = ToyFitter(source, size)
    blocks = [
        np.concatenate([source.draw_block(99, 8 * i + j) for j in range(size // 32)])
        for i in range(n // size)
    ]
    for _ in range(2):  # one toy of ten thousand takes a program of its own
        start, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(WORKERS) as pool:  # as toy_ensemble does
            status = list(pool.map(lambda block: fitter.fit(block, size)[2], blocks))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    counts = np.bincount(np.concatenate(status), minlength=3)
    n = len(blocks) * size
    return {"toys": n, "fits_per_s": n / wall, "fits_per_cpu_s": n / cpu, "status": counts.tolist()}


def row_ensemble(name, n, t, **options):
    _, _, source = make_source(t, **options)
    start = time.perf_counter()
    toy_ensemble(source, 256, seed=5)
    compile_s = time.perf_counter() - start
    row = {"name": name, **time_fits(source, n), "compile_s": compile_s}
    start = time.perf_counter()
    toys = toy_ensemble(source, n, seed=6)
    row["with_drawing_per_s"] = n / (time.perf_counter() - start)
    z = toys.z0[toys.status != FAILED]
    row["z_mean"], row["z_sd"] = float(np.mean(z)), float(np.std(z))
    return row


def repeat(function, n):
    function()
    start = time.perf_counter()
    for _ in range(n):
        function()
    return (time.perf_counter() - start) / n


def stock_pair(reference, data, optimizer, limit_s=900.0):
    """One free + null fit by pyhf's jax backend: seconds, or None with the error."""
    with pyhf_backend("jax", optimizer), threadpool_limits(1):
        start = time.perf_counter()
        try:
            free = pyhf.infer.mle.fit(data.tolist(), reference.model, return_fitted_val=True)
            null = pyhf.infer.mle.fixed_poi_fit(
                0.0, data.tolist(), reference.model, return_fitted_val=True
            )
        except Exception as error:  # a peer's failure is a result here
            return {"seconds": time.perf_counter() - start, "error": type(error).__name__}
        return {
            "seconds": time.perf_counter() - start,
            "q0": float(null[1] - free[1]),
            "twice_nll": float(free[1]),
        }


def iminuit_pair(model, data):
    """Free + null by iminuit alone on the compiled likelihood with its gradient."""
    import iminuit

    from ddphf.likelihood.general.likelihood import logpdf

    value = jax.jit(lambda x, d: -2 * logpdf(model.codes, model.arrays, x, d))
    gradient = jax.jit(jax.grad(lambda x, d: -2 * logpdf(model.codes, model.arrays, x, d)))
    table = model.parameters

    def fit(held):
        m = iminuit.Minuit(
            lambda x: float(value(x, data)),
            table.init.copy(),
            grad=lambda x: np.asarray(gradient(x, data)),
        )
        m.limits = list(zip(table.lower, table.upper, strict=True))
        m.errordef = 1.0
        for i in np.flatnonzero(held):
            m.fixed[int(i)] = True
        m.strategy = 0
        m.migrad()
        return m.fval

    held = table.fixed.copy()
    null = held.copy()
    null[table.poi] = True
    fit(held)
    start = time.perf_counter()
    q0 = fit(null) - fit(held)
    return {"seconds": time.perf_counter() - start, "q0": float(q0)}


def evermore_pairs(source, n):
    """Return evermore's rate on toys of the source and its largest difference in q0."""
    try:
        from bench_evermore import run
    except ImportError:
        return None
    pair = source.model.pair
    data = pair.split(np.concatenate([source.draw_block(3, 0)])[:n])
    nominal = np.array(source.model.rates(source.parameters))
    with_signal = source.parameters.copy()
    with_signal[source.model.parameters.poi] = 1.0
    signal = (source.model.rates(with_signal) - nominal)[pair.places.bins[0]]
    row = run(data.n[1], data.n[0], signal, nominal[pair.places.bins[1]][0])
    ours = np.abs(toy_ensemble(source, n, seed=3).q0)
    row["max_difference_q0"] = float(np.max(np.abs(np.array(row.pop("q0")) - ours)))
    return row


def roofline(source, size=256, times=40):
    """Return microseconds of both cores per toy: one evaluation, and the products in it alone."""
    import jax.numpy as jnp

    from ddphf.likelihood.ensembles.points import deviation_gradient, evaluate
    from ddphf.likelihood.ensembles.rough import low

    pair, fitter = source.model.pair, ToyFitter(source, size)
    data = pair.split(np.concatenate([source.draw_block(4, j) for j in range(size // 32)]))
    theta = jnp.tile(fitter.shared.theta, (size, 1)) + 0.01
    arrays, reference = fitter.arrays, fitter.shared.reference
    contrast = data.n[1] * reference.u[0] - data.n[0] * reference.u[1]
    exact = jax.jit(
        lambda theta, data: evaluate(pair.structure, arrays, theta, data, theta[:, :1]).gradient
    )
    rough = jax.jit(
        lambda contrast, theta, data: deviation_gradient(
            pair.structure, low(arrays), low(reference), contrast, theta, data
        )
    )
    matrix = jnp.asarray(
        np.random.default_rng(0).normal(size=(theta.shape[1], pair.structure.n_cells))
    )

    def products(theta, matrix):
        return ((theta @ matrix) @ matrix.T, ((theta + 1) @ matrix) @ matrix.T)

    both = jax.jit(products)
    work = {
        "double": (exact, (theta, data)),
        "single": (rough, low((jnp.asarray(contrast), theta, data))),
        "products_double": (both, (theta, matrix)),
        "products_single": (both, low((theta, matrix))),
    }
    out = {"kflop_in_products": 8e-3 * theta.shape[1] * pair.structure.n_cells}
    for name, (function, arguments) in work.items():
        arguments = jax.tree.map(jnp.asarray, arguments)
        jax.block_until_ready(function(*arguments))
        start = time.perf_counter()
        for _ in range(times):
            jax.block_until_ready(function(*arguments))
        out[f"{name}_us"] = 1e6 * (time.perf_counter() - start) / times / size
    return out


def single(model, data=None):
    held = model.parameters.fixed.copy()
    held[model.parameters.poi] = True
    values = model.parameters.init.copy()
    values[model.parameters.poi] = 0.0

    def both():
        free = minimize(model, data=data)
        null = minimize(model, data=data, fixed=held, values=values)
        return null.twice_nll - free.twice_nll

    return both


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--toys", type=int, default=20_000)
    parser.add_argument(
        "--skip-stock-28", action="store_true", help="leave out the minutes-long row"
    )
    options = parser.parse_args()
    n = options.toys
    out = {"machine": machine(), "ensembles": [], "single": [], "roofline": []}

    def write():
        out["machine"]["load_at_end"] = os.getloadavg()[0]
        options.output.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")

    rows = (
        ("28x28 plain, Gaussian signal, T=1e4", n, 1e4, {}),
        ("28x28 plain, 6x6 rectangle, T=1e4", n, 1e4, {"signal": "rectangle"}),
        ("28x28 + 14, T=1e4", n // 2, 1e4, {"k": 14}),
        ("28x28 + 60, T=1e4", n // 2, 1e4, {"k": 60}),
        ("28x28 + 60, T=25", n // 2, 25.0, {"k": 60}),
        ("28x28 + 14 of .7 % RMS, T=1e4", n // 2, 1e4, {"k": 14, "size": 0.007}),
        ("28x28 + 60 of .7 % RMS, T=1e4", n // 2, 1e4, {"k": 60, "size": 0.007}),
        ("28x28 + 60 + fakes in 1568 bins, T=1e4", n // 8, 1e4, {"k": 60, "fakes": True}),
        ("28x28 plain, T=25", n // 2, 25.0, {}),
    )
    for name, count, t, extra in rows:
        out["ensembles"].append(row_ensemble(name, count, t, **extra))
        print(json.dumps(out["ensembles"][-1]), flush=True)
        write()

    flat = np.full(36, 1e4)
    rng = np.random.default_rng(1)
    six = make_pair(flat, rng.poisson(flat), rng.poisson(flat), np.full(36, 100.0))
    cases = [("6x6 plain", six, 50, True)]
    if SBOTTOM.exists():
        cases.append(("sbottom (66 parameters)", json.loads(SBOTTOM.read_text()), 5, True))
    for name, workspace, times, minuit in cases:
        reference = ReferenceModel(workspace)
        model = CompiledModel.from_reference(reference)
        both = single(model)
        row = {
            "name": name,
            "q0": both(),
            "one_fit_s": repeat(partial(minimize, model), times),
            "free_and_null_s": repeat(both, times),
        }
        for peer in ("scipy", "minuit"):
            stock_pair(reference, reference.data, peer)  # compiles
            row[f"pyhf_{peer}"] = stock_pair(reference, reference.data, peer)
        if minuit:
            row["iminuit_on_compiled"] = iminuit_pair(model, reference.data)
        out["single"].append(row)
        print(json.dumps(row), flush=True)
        write()
    for name, extra in (("+ 14", {"k": 14}), ("+ 60", {"k": 60})):
        out["roofline"].append({"name": name, **roofline(make_source(1e4, **extra)[2])})
        print(json.dumps(out["roofline"][-1]), flush=True)
    out["evermore"] = evermore_pairs(make_source(1e4)[2], 2)
    print(json.dumps(out["evermore"]), flush=True)
    write()
    if not options.skip_stock_28:
        _, reference, source = make_source(1e4)
        data = source.draw(3, 0)
        both = single(source.model, data)
        row = {
            "name": "28x28 plain, one fluctuated pair",
            "q0": both(),
            "free_and_null_s": repeat(both, 5),
            "iminuit_on_compiled": iminuit_pair(source.model, data),
            "pyhf_scipy": stock_pair(reference, data, "scipy"),
        }
        out["single"].append(row)
        print(json.dumps(row), flush=True)
    write()


if __name__ == "__main__":
    main()
