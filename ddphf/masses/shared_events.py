"""Toys of all windows at once: events, correlated errors and simulation that they share.

The windows overlap, so their counts are sums of the same events. Between neighbouring edges of any
window lies a cell; what is expected in a cell follows from what the windows expect, and one Poisson
number per cell makes the counts of all windows.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.likelihood.rows.model import RowData, RowModel
from ddphf.masses.scan import MassScan

__all__ = ["Cells", "SharedEvents", "window_edges"]

PASSES = 400
"""Of the proportional fit: the windows' yields come back to a small part of their Poisson error."""

CLOSE = 1e-3
"""Largest difference of a window's yield, in units of its Poisson error, at which it ends."""


class Cells:
    """Cells between the edges of windows, times the other bins.

    Args:
        edges: Of the windows, shape (n, m + 1).
        others: Number of the other bins, which are fastest.
    """

    def __init__(self, edges: Array, others: int) -> None:
        self.shape = (len(edges), edges.shape[1] - 1, others)
        self.union = np.unique(edges)
        place = np.searchsorted(self.union, edges)
        self._low: IntArray = place[:, :-1]
        self._high: IntArray = place[:, 1:]
        self.n = len(self.union) - 1
        ones = np.ones(self.shape)
        self._cover = np.maximum(self._spread(ones), 1.0)

    def sums(self, cells: Array) -> Array:
        """Return what the windows' bins hold, shape (n, bins), of cells, shape (cells, others)."""
        total = np.concatenate([np.zeros((1, cells.shape[1])), np.cumsum(cells, axis=0)])
        return np.asarray((total[self._high] - total[self._low]).reshape(self.shape[0], -1))

    def _spread(self, values: Array) -> Array:
        """Return per cell the sum of the values of the bins that cover it."""
        change = np.zeros((self.n + 1, self.shape[2]))
        np.add.at(change, self._low, values)
        np.add.at(change, self._high, -values)
        return np.asarray(np.cumsum(change, axis=0)[:-1])

    def resolve(self, yields: Array) -> Array:
        """Return what is expected in each cell so that the windows expect what they state.

        Multiplicative corrections, the maximum of the Poisson likelihood (Richardson and Lucy).

        Args:
            yields: Shape (n, bins), 0 or more.

        Example:
            >>> cells = Cells(np.array([[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]), 1)
            >>> found = cells.resolve(np.array([[4.0, 4.0], [4.0, 4.0]]))
            >>> cells.sums(found).round(2).tolist()
            [[4.0, 4.0], [4.0, 4.0]]
        """
        wanted = yields.reshape(self.shape)
        width = np.diff(self.union)[:, None] * np.ones(self.shape[2])
        density = wanted.sum() / max(float(self.sums(width).sum()), 1e-300)
        out = width * density
        for _ in range(PASSES):
            now = self.sums(out).reshape(self.shape)
            off = np.abs(now - wanted) / np.sqrt(np.maximum(wanted, 1e-12))
            if np.max(off, where=wanted > 0, initial=0.0) < CLOSE:
                break
            ratio = np.where(wanted > 0, wanted / np.where(now > 0, now, 1.0), 0.0)
            out = out * self._spread(ratio) / self._cover
        return np.asarray(out)

    def smooth(self, rate: Array, yields: Array, weight: Array) -> Array:
        """Return the smoothest expectation that the simulation allows.

        What scatters in a simulation is no truth: where toys took it for one they would have its
        peaks. The widest of some kernels is taken with which the windows' yields scatter around
        the smooth ones by no more than their errors.

        Args:
            rate: Of the cells, as the windows' yields say, shape (cells, others).
            yields: Of the windows, shape (n, bins).
            weight: Of a simulated event in each window, shape (n,).
        """
        width = np.diff(self.union)[:, None] * np.ones(self.shape[2])
        for size in self.n / 2.0 ** np.arange(3, 24):
            if size < 1:
                break
            density = gaussian_filter1d(rate, size, axis=0) / gaussian_filter1d(width, size, axis=0)
            trial = width * density
            trial *= rate.sum() / max(float(trial.sum()), 1e-300)
            expected = self.sums(trial)
            error = np.sqrt(np.maximum(weight[:, None] * expected, 1e-12))
            some = expected > 0
            if np.mean(((yields - expected)[some] / error[some]) ** 2) <= 1.0:
                return np.asarray(trial)
        return rate

    def spread_rows(self, values: Array) -> Array:
        """Return per cell the sum of a number of each window over those that cover it."""
        return self._spread(np.broadcast_to(values[:, None, None], self.shape))


def window_edges(scan: MassScan) -> Array:
    """Return the edges of the windows.

    Raises:
        InputError: They are not known.
    """
    if scan.edges is None:
        raise InputError(
            "at edges: the edges of the windows are missing, so it is not known which events "
            "they share, and there is no global p-value; give edges, hypotheses x (m + 1)"
        )
    return scan.edges


class SharedEvents:
    """Draws toys without a signal for all hypotheses of a scan together.

    Args:
        scan: A scan whose windows are known.

    Raises:
        InputError: They are not.
    """

    def __init__(self, scan: MassScan) -> None:
        raw, edges = scan if scan.raw is None else scan.raw, window_edges(scan)
        self.scan, self.model = scan, scan.rows()
        self.nothing = self.model.without_signal()
        self.cells = Cells(edges, raw.counts.shape[1] // (edges.shape[1] - 1))
        self.rates: list[Array] = []
        self.weights: list[Array | None] = []
        for sample in raw.backgrounds:
            yields = np.where(raw.live, sample.yields, 0.0)
            rate = self.cells.resolve(yields)
            if sample.error is None:
                self.rates.append(rate)
                self.weights.append(None)
                continue
            # Events of the simulation differ in weight by place at most as slowly as windows do.
            weight = np.sum(sample.error**2, axis=1) / np.maximum(yields.sum(axis=1), 1e-300)
            self.rates.append(self.cells.smooth(rate, yields, weight))
            own = self.cells.sums(self.rates[-1]).sum(axis=1)
            covered, spread = self.cells.spread_rows(own), self.cells.spread_rows(own * weight)
            mean = spread / np.where(covered > 0, covered, 1.0)  # between windows nothing is
            self.weights.append(np.where(covered > 0, mean, float(weight.max())))
        self.total = np.sum(self.rates, axis=0)

    def draw(self, rng: np.random.Generator) -> RowData:
        """Draw one toy of all hypotheses: events once, norms once, the simulation once."""
        model, scan = self.model, self.scan
        counts = self._bins(self.cells.sums(rng.poisson(self.total).astype(float)))
        counts[self.nothing] = 0.0  # with 'keep' that is what the model says
        centre = np.tile(
            model.centre + model.width * rng.standard_normal(len(model.width)), (len(model), 1)
        )
        again, once = np.zeros(scan.counts.shape), np.zeros(scan.counts.shape)
        for sample, rate, weight in zip(scan.backgrounds, self.rates, self.weights, strict=True):
            if weight is None:
                continue
            mean = rate / np.where(weight > 0, weight, 1.0)
            drawn = weight * rng.poisson(np.where(weight > 0, mean, 0.0))
            again += self._bins(self.cells.sums(drawn))
            once += sample.yields
        for sample in scan.signals:
            if sample.error is not None:  # its own simulation is not looked at
                again, once = again + sample.yields, once + sample.yields
        ratio = np.where(once > 0, again / np.where(once > 0, once, 1.0), 1.0)
        return RowData(counts, centre, _local(model, ratio))

    def _bins(self, values: Array) -> Array:
        """Return values of the windows' own bins in the bins of the scan, 0 where it has none."""
        scan = self.scan
        if scan.group is not None:
            merged = np.zeros_like(scan.counts)
            np.add.at(merged, (np.arange(len(merged))[:, None], scan.group), values)
            values = merged
        return np.where(scan.live, values, 0.0)


def _local(model: RowModel, ratio: Array) -> Array:
    """Return the auxiliary data that a simulation drawn again stands for."""
    out = np.ones_like(ratio)
    out = np.where(model.sigma > 0, ratio, out)
    return np.where(model.tau > 0, model.tau * ratio, out)
