"""Events with selections and observables for the tests of label flips, and the same by loops."""

import itertools

import numpy as np

from ddphf.search.boxes import make_boxes
from ddphf.search.flips import Observable
from ddphf.search.rows import Cells, LabelRows, find_cells

EDGES = {"a": np.linspace(0, 80, 5), "b": np.linspace(0, 60, 4)}


def draw_events(n, seed, *, low=0.6, high=1.2, tilt=1.0):
    """Return columns and ratio of n events, labelled by `tilt` times the true ratio."""
    rng = np.random.default_rng(seed)
    columns = {"a": rng.exponential(30, n), "b": rng.exponential(20, n)}
    ratio = rng.uniform(low, high, n)
    odds = tilt * ratio
    columns["tested"] = rng.random(n) < odds / (1 + odds)
    return columns, ratio


def bin_of(values, edges):
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where((place >= 0) & (place < len(edges) - 1), place, -1)


def observables_of(columns):
    one, two = (bin_of(columns[name], EDGES[name]) for name in "ab")
    both = np.where((one >= 0) & (two >= 0), one * 3 + two, -1)
    edges = {name: tuple(e.tolist()) for name, e in EDGES.items()}
    return [
        Observable("a", (edges["a"],), one, make_boxes((4,))),
        Observable("a, b", (edges["a"], edges["b"]), both, make_boxes((4, 3))),
    ]


def masks_of(columns):
    a, b = columns["a"], columns["b"]
    return [a > -1, a > 20, (b > 10) & (a < 50)]


def prepare(columns, ratio, **slopes):
    n = len(ratio)
    return (
        LabelRows.make(ratio, columns["tested"], **slopes),
        find_cells(masks_of(columns), n),
        observables_of(columns),
    )


def shuffled(rows, cells, observables, order):
    return (
        rows.take(order),
        Cells(cells.cell[order], cells.passes),
        [Observable(o.name, o.edges, o.bins[order], o.boxes) for o in observables],
    )


def largest_by_loops(labels, ratio, mask, bins, shape):
    """Return max over all boxes of sum t / sqrt(filled bins), by plain loops over events."""
    size = int(np.prod(shape))
    d, v = np.zeros(size), np.zeros(size)
    for y, r, keep, k in zip(labels, ratio, mask, bins, strict=True):
        if keep and k >= 0:
            d[k] += 1.0 if y else -r
            v[k] += r
    filled = (v > 0).reshape(shape)
    t = np.divide(d, np.sqrt(v), out=np.zeros(size), where=v > 0).reshape(shape)
    best = -np.inf
    ranges = [[slice(i, j) for i in range(n) for j in range(i + 1, n + 1)] for n in shape]
    for window in itertools.product(*ranges):
        if filled[window].sum():
            best = max(best, t[window].sum() / np.sqrt(filled[window].sum()))
    return best
