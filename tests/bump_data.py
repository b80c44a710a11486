"""Spectra of the tests of bumps: smooth ones, with and without a bump."""

import itertools
from pathlib import Path

import numpy as np

EDGES = np.linspace(100.0, 200.0, 51)


def smooth(n=50, first=1000.0, falls=15.0, floor=10.0):
    """Return an exponential over a constant: that of the closed checks."""
    return first * np.exp(-np.arange(n) / falls) + floor


def with_bump(background, at, events, width=1.5):
    """Return a background with a Gaussian in bins."""
    i = np.arange(len(background))
    shape = np.exp(-0.5 * ((i - at) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return background + events * shape


def drawn(expected, seed=1):
    return np.random.default_rng(seed).poisson(expected).astype(float)


def write_spectrum(path, columns, edges=EDGES):
    """Write columns over one axis of masses."""
    lines = [",".join(["mass_low", "mass_high", *columns])]
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        lines.append(",".join(f"{x:.12g}" for x in (low, high, *(c[i] for c in columns.values()))))
    Path(path).write_text("\n".join(lines) + "\n")
    return Path(path)
