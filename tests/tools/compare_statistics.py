"""Power of the search's statistics on the shipped sample: python compare_statistics.py [--pairs N].

Pairs are drawn from the expected background and signal of workspaces/higgs_lfv: A ~ Poisson(T),
B ~ Poisson(T + mu S). Thresholds come from as many pairs without a signal. Prints the table of
docs/search.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import uproot

from ddphf.search.boxes import make_boxes
from ddphf.search.kernels import Scanner
from ddphf.search.table import make_table
from ddphf.search.whole_statistics import g_test, kolmogorov, slide_t

SAMPLE = Path(__file__).resolve().parents[2] / "workspaces" / "higgs_lfv" / "histograms.root"
STRENGTHS = (0.0, 1.0, 1.5, 2.0)
LEVEL = 0.05
CHUNK = 512


def statistics_of(tested, partner, scanners):
    """Return every statistic by name, for counts of shape (28, 28, n)."""
    n = tested.shape[-1]
    b, a = tested.reshape(-1, n), partner.reshape(-1, n)
    total = b + a
    terms = np.divide(b - a, np.sqrt(total), out=np.zeros_like(b), where=total > 0)
    found = {name: scanner.largest(terms.astype(np.float32)) for name, scanner in scanners.items()}
    mass_b, mass_a = tested.sum(axis=1), partner.sum(axis=1)
    found["t(A, B)"] = slide_t(b - a, b)
    found["KS of the mass"] = kolmogorov(mass_b - mass_a, mass_b)
    found["chi2, 784 bins"] = np.sum(terms**2, axis=0)
    found["G, 784 bins"] = np.array(
        [float(g_test(b[:, i], total[:, i], total[:, i] / 2)) for i in range(n)]
    )
    found["N_sigma, all bins"] = terms.sum(axis=0) / np.sqrt((total > 0).sum(axis=0))
    return found


def measure(pairs, seed):
    """Return the values of every statistic by strength."""
    with uproot.open(SAMPLE) as file:
        background, signal = (file[name].values() for name in ("background", "signal"))
    scanners = {
        "N_sigma, best rectangle": Scanner(make_table(make_boxes((28, 28)))),
        "N_sigma, best 6x6": Scanner(make_table(make_boxes((28, 28), "6x6"))),
    }
    rng = np.random.default_rng(seed)
    values = {}
    for strength in STRENGTHS:
        parts = []
        for start in range(0, pairs, CHUNK):
            shape = (28, 28, min(CHUNK, pairs - start))
            b = rng.poisson((background + strength * signal)[..., None], shape).astype(float)
            a = rng.poisson(background[..., None], shape).astype(float)
            parts.append(statistics_of(b, a, scanners))
        values[strength] = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return values


def powers(values):
    """Return by statistic the part of pairs above its 95 % quantile without a signal, and error."""
    out = {}
    for name, null in values[0.0].items():
        cut = np.quantile(null, 1 - LEVEL)
        density = len(null) * LEVEL
        rows = []
        for strength in STRENGTHS[1:]:
            found = values[strength][name]
            p = float(np.mean(found > cut))
            # The cut fluctuates too: by 1 / sqrt(pairs above it), relative, of the level.
            moved = np.quantile(null, 1 - LEVEL * (1 + 1 / np.sqrt(density)))
            error = np.hypot(np.sqrt(p * (1 - p) / len(found)), float(np.mean(found > moved)) - p)
            rows.append((p, float(error)))
        out[name] = rows
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = powers(measure(given.pairs, given.seed))
    print("| statistic | " + " | ".join(f"mu = {s:g}" for s in STRENGTHS[1:]) + " |")
    print("| --- |" + " --- |" * len(STRENGTHS[1:]))
    for name, rows in sorted(found.items(), key=lambda item: -item[1][0][0]):
        print(f"| {name} | " + " | ".join(f"{p:.3f} +- {e:.3f}" for p, e in rows) + " |")
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
