"""Pairs, windows and reference numbers of the search's tests."""

import functools

import numpy as np

from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.kernels import Scanner, choose_kernel
from ddphf.search.nuisances import Nuisances
from ddphf.search.nulls import GaussianNull
from ddphf.search.table import make_table

EDGE = (28, 28)

FAMILIES = {"6x6": 529, "squares": 7_714, "all": 164_836}

TABLE = {
    "6x6": {
        3.0: (0.2480, 7e-4), 3.5: (0.06015, 13e-5), 4.0: (0.010080, 18e-6),
        4.5: (1.2452e-3, 18e-7), 5.0: (1.1650e-4, 14e-8), 6.0: (4.5717e-7, 39e-11),
    },
    "squares": {
        3.0: (0.9133, 4e-4), 3.5: (0.4206, 19e-4), 4.0: (0.08867, 18e-5),
        4.5: (0.011911, 24e-6), 5.0: (1.1692e-3, 23e-7), 6.0: (4.955e-6, 10e-9),
    },
    "all": {
        3.0: (0.996475, 94e-6), 3.5: (0.7991, 36e-4), 4.0: (0.2994, 12e-4),
        4.5: (0.05650, 20e-5), 5.0: (6.920e-3, 21e-6), 6.0: (3.977e-5, 1e-7),
    },
}  # fmt: skip
"""P(best of 28x28 bins >= z), its error: counted, or by importance sampling of another code."""

QUANTILES = {
    "6x6": (2.656, 3.558, 4.008),
    "squares": (3.424, 4.151, 4.536),
    "all": (3.790, 4.530, 4.918),
}
"""50, 95, 99 % of the maximum."""

PROFILED = {
    0.0: 3.533078, 0.0005: 3.492533, 0.001: 3.467582, 0.00236: 3.454327, 0.01: 3.450890,
    0.1: 3.450680,
}  # fmt: skip
"""Z of the 6x6 signal of 83.448994 events per bin on 10 000, by the ratio's relative error."""


def flat_pair(signal=83.448994, level=1e4):
    """Return tested and partner histograms of 28x28 bins with a square of 6x6 in the middle."""
    partner = np.full(EDGE, level)
    tested = partner.copy()
    tested[11:17, 11:17] += signal
    return tested, partner


def ratio_field(error, *, free=False, signal=83.448994):
    """Return the flat pair's field with a relative error of its ratio."""
    nuisances = Nuisances.make(EDGE, ratio=[error], free=free)
    return make_field(*flat_pair(signal), nuisances=nuisances)


@functools.cache
def gaussian(family, kernel="auto", shape=EDGE):
    """Return the Gaussian null of windows of a histogram, and their scanner."""
    table = make_table(make_boxes(shape, family))
    return GaussianNull(table), Scanner(table, kernel=choose_kernel(kernel))


def null_pair(seed, level, ratio=1.0, shape=EDGE):
    """Return Poisson counts of a pair without a signal."""
    rng = np.random.default_rng(seed)
    partner = rng.poisson(level, shape)
    return rng.poisson(level * ratio, shape), partner


def brute_z(terms, filled, profile, window):
    """Return Z and variance of one window by sums over its bins, as written in the formula."""
    mask = np.zeros(terms.shape, dtype=bool)
    mask[window.slices] = True
    mask = (mask & filled).ravel()
    m = mask.sum()
    if not m:
        return np.nan, np.nan
    g = profile.pulls
    inverse = np.linalg.inv(g.T @ g + np.diag(np.where(profile.free, 0.0, 1.0)))
    flat = terms.ravel()
    profiled = flat - g @ inverse @ (g.T @ flat)
    g_window = g[mask].sum(axis=0) / np.sqrt(m)
    variance = 1 - g_window @ inverse @ g_window
    return profiled[mask].sum() / np.sqrt(m) / np.sqrt(variance), variance
