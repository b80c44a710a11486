"""Print the tables of docs/discover.md and docs/limits.md: asymptotics against toys at low counts.

python docs/low_counts.py [--toys 50000] [--data-sets 4000] [--calibrated 400] [--scheduler WHERE]
"""

import argparse

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from ddphf.compute.runners import open_runner
from ddphf.compute.work import Work
from ddphf.inference.limits.coverage import coverage_asymptotic, coverage_calibrated
from ddphf.inference.nulls import compare_nulls
from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace

MEANS = (0.5, 1.0, 2.0, 5.0, 25.0, 100.0, 1e4)
BINS, SQUARE = 28, 6


def injected(mean, z):
    """Signal events whose Asimov significance against the pair's background is z."""
    bins = SQUARE**2

    def excess(mu):
        s = mu / bins
        with_signal = (mean + s) * np.log1p(s / (2 * mean + s))
        without = mean * np.log1p(s / (2 * mean))
        return 2 * bins * (with_signal - without) - z**2

    return brentq(excess, 1e-6, 1e7) if z else 0.0


def truth(mean, z):
    """Flat background of 28 x 28 bins and a 6 x 6 signal; mu = 1 is an Asimov Z of 1."""
    flat, signal = np.full((BINS, BINS), mean), np.zeros((BINS, BINS))
    low = (BINS - SQUARE) // 2
    signal[low : low + SQUARE, low : low + SQUARE] = injected(mean, 1.0) / SQUARE**2
    pair = Pair(Channel("b", np.ceil(flat), signal=Template(signal)), Channel("a", np.ceil(flat)))
    built = build_workspace(pair, signal_scale=1.0)
    model = CompiledModel.from_reference(ReferenceModel(built.workspace))
    table = model.parameters
    point = table.init.copy()
    point[table.poi] = 0.0
    # The factors that make the template, whatever build chose for it, the flat background.
    shape = [i for i, name in enumerate(table.names) if name.startswith("symmetric_shape")]
    point[shape] *= mean / model.rates(point)[0]
    point[table.poi] = injected(mean, z) / injected(mean, 1.0)
    return ToySource.at(model, point)


def tail(above, n):
    """Return a p-value with two digits, or its 68 % upper limit."""
    return f"{above / n:.2g}" if above else f"< {1.84 / n:.1g}"


def with_error(value, error):
    """Return such as 0.683(10)."""
    return f"{value:.3f}({1e3 * error:.0f})"


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--toys", type=int, default=50_000)
    parser.add_argument("--data-sets", type=int, default=4000)
    parser.add_argument("--calibrated", type=int, default=400)
    parser.add_argument("--scheduler", default="threads", help="as of the commands")
    options = parser.parse_args()
    with open_runner(options.scheduler) as runner:
        print_tables(options, runner)


def print_tables(options, runner):
    """Print both tables; the numbers do not depend on where the toys are fitted."""
    print("| events per bin | mu_hat = 0 | sd of Z | KS distance | p0 at Z = 1 | at 2 | at 3 |")
    print("|---|---|---|---|---|---|---|")
    print("| asymptotic | 0 | 1 | 0 | " + " | ".join(f"{norm.sf(z):.3g}" for z in (1, 2, 3)) + " |")
    for mean in MEANS:
        toys = toy_ensemble(truth(mean, 0.0), options.toys, seed=1, work=Work(runner=runner))
        ok = toys.status != 2
        found, z0 = compare_nulls(toys), toys.z0[ok]
        tails = " | ".join(tail(int(np.sum(z0 >= z)), len(z0)) for z in (1, 2, 3))
        row = f"{toys.at_zero[ok].mean():.2g} | {found.sd:.3f} | {found.ks_distance:.4f} | {tails}"
        print(f"| {mean:g} | {row} |", flush=True)
    print("\n| events per bin | truth | 68.27 % | 95 % | 68.27 %, toys | 95 %, toys |")
    print("|---|---|---|---|---|---|")
    for mean in MEANS:
        for z in (0.0, 3.0):
            source = truth(mean, z)
            plain = coverage_asymptotic(source, options.data_sets, seed=1, work=Work(runner=runner))
            cells = list(map(with_error, plain.coverage, plain.error))
            if mean <= 5:
                by_toys = coverage_calibrated(
                    source, options.calibrated, seed=1, work=Work(runner=runner)
                )
                cells += map(with_error, by_toys.coverage, by_toys.error)
            else:
                cells += ["", ""]
            print(f"| {mean:g} | {z:g} sigma | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
