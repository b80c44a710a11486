"""The Hessian of any compiled model at one point, in numpy, and what it shares with the rates.

It skips what is zero: a parameter has a factor, a histosys, or both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ddphf.arrays import Array, Float, on_host
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.first_order import FirstOrder, Points
from ddphf.likelihood.direct.matrix import Arrowhead, Split

if TYPE_CHECKING:
    from ddphf.likelihood.general.layout import Cells, Codes, ModelArrays

__all__ = ["Curvature", "DirectModel", "RateSlopes"]


class RateSlopes(NamedTuple):
    """First derivatives of the rates at one point, and what the Hessian shares with them.

    Attributes:
        j_global: By the global parameters, shape (bins, k).
        j_local: By the locals of each bin's cell, shape (bins, L).
        log: Log derivatives of the factors of global parameters, shape (bins, samples, f).
        inner: The same times the yields before factors.
        shift: Derivative of these yields by each histosys, shape (v, bins, shifted samples).
        log_local: Log derivatives of the locals' factors, shape (bins, samples, L).
    """

    j_global: Array
    j_local: Array
    log: Array
    inner: Array
    shift: Array
    log_local: Array


class Curvature(NamedTuple):
    """The Hessian of -ln L, and the derivatives of the rates.

    Attributes:
        hessian: The Hessian.
        j_global: By the global parameters, shape (bins, k).
        j_local: By the locals of each bin's cell, shape (bins, L).
    """

    hessian: Arrowhead
    j_global: Array
    j_local: Array


class DirectModel(FirstOrder):
    """One model, to second order.

    Args:
        n: Number of parameters.
        codes: Interpolation codes and the number of symmetric histosys.
        arrays: The model laid out, in numpy.
        cells: Its split, in numpy.

    Attributes:
        split: Global and local parameters.
    """

    def __init__(self, n: int, codes: Codes, arrays: ModelArrays, cells: Cells) -> None:
        super().__init__(n, codes, arrays)
        self.split = Split(n, on_host(cells.global_), on_host(cells.local), on_host(cells.of_bin))
        # The global parameters that have factors, and those that have a histosys.
        self._f = np.flatnonzero(np.any(cells.global_factor != self._one, axis=(0, 1)))
        self._global_factor = np.ascontiguousarray(cells.global_factor[:, :, self._f])
        self._local_factor = cells.local_factor
        self._v = np.flatnonzero(cells.variation < self._m)
        self._variation = cells.variation[self._v]

    def rate_slopes(self, at: Points) -> RateSlopes:
        """Return the derivatives of the rates at one point, of :meth:`evaluate`."""
        log = at.first[self._global_factor]
        inner = at.base[:, :, None] * log
        j_global = np.zeros((self.n_bins, len(self.split.global_)))
        j_global[:, self._f] = (at.product[:, None, :] @ inner)[:, 0]
        shift = self._combine(at.slopes) if self._m else self._shift
        if self._m:
            own = at.product[:, self._shifted]
            j_global[:, self._v] += (shift.transpose(1, 0, 2) @ own[:, :, None])[:, :, 0]
        # Factors of locals are linear, and no base depends on them.
        log_local = at.first[self._local_factor]
        j_local = ((at.product * at.base)[:, None, :] @ log_local)[:, 0]
        return RateSlopes(j_global, j_local, log, inner, shift, log_local)

    def curvature(self, at: Points, multiplier: Float[Array, "bins"] | None = None) -> Curvature:
        """Return the Hessian of -ln L at one point, of :meth:`evaluate`.

        Args:
            at: The point.
            multiplier: Shape (bins,): where positive, a bin's curvature n / rate^2 becomes
                multiplier / rate (that of a rate which is held); none by default.
        """
        k = len(self.split.global_)
        base, product, curved = at.base, at.product, at.curved
        weighted = at.pull[:, None] * product
        # d ln L / d rate is n / rate - 1.
        alpha = (at.pull + 1.0) / np.where(at.rate > 0, at.rate, 1.0)
        if multiplier is not None:
            safe = np.maximum(at.rate, NEGLIGIBLE)
            alpha = np.where(multiplier > 0, multiplier / safe, alpha)

        found = self.rate_slopes(at)
        j_global, j_local, shift = found.j_global, found.j_local, found.shift
        log, inner = found.log, found.inner
        turned = weighted[:, :, None] * log
        corner = np.zeros((k, k))
        by_factor = turned.reshape(base.size, -1).T @ inner.reshape(base.size, -1)
        diagonal = (self._owners @ (at.by_entry * at.second[:-1]))[self.split.global_]
        np.fill_diagonal(by_factor, diagonal[self._f])
        corner[np.ix_(self._f, self._f)] = by_factor
        if self._m:
            own = product[:, self._shifted]
            mixed = turned[:, self._shifted].reshape(own.size, len(self._f)).T
            mixed = mixed @ shift.reshape(len(self._v), own.size).T
            corner[np.ix_(self._f, self._v)] += mixed
            corner[np.ix_(self._v, self._f)] += mixed.T
            bends = at.bends * (self._flat @ weighted[:, self._shifted].ravel())
            corner[self._v, self._v] += self._per_variation(bends)
        rooted = j_global * np.sqrt(alpha)[:, None]
        corner = rooted.T @ rooted - corner
        corner.flat[:: k + 1] += curved[self.split.global_]
        if not self.split.local.size:
            edges = np.zeros((*self.split.local.shape, k))
            blocks = np.zeros((*self.split.local.shape, self.split.local.shape[1]))
            return Curvature(Arrowhead(corner, edges, blocks), j_global, j_local)

        log = found.log_local
        turned = (weighted[:, :, None] * log).transpose(0, 2, 1)
        edges = (j_local * alpha[:, None])[:, :, None] * j_global[:, None, :]
        edges[:, :, self._f] -= turned @ inner
        if self._m:
            edges[:, :, self._v] -= turned[:, :, self._shifted] @ shift.transpose(1, 2, 0)
        mixed = turned @ (base[:, :, None] * log)
        places = np.arange(mixed.shape[1])
        mixed[:, places, places] = 0.0
        blocks = (j_local * alpha[:, None])[:, :, None] * j_local[:, None, :] - mixed
        blocks = self.split.sum_cells(blocks)
        blocks[:, places, places] += np.append(curved, 1.0)[self.split.local]
        hessian = Arrowhead(corner, self.split.sum_cells(edges), blocks)
        return Curvature(hessian, j_global, j_local)

    def largest_slopes(self, point: Float[Array, "n"], data: Array) -> Float[Array, "n"]:
        """Return the largest derivative of any rate by each parameter, absolute, shape (n,)."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = self.rate_slopes(self.evaluate(point[None], data).row(0))
        by_cell = np.zeros(self.split.local.shape)
        where = self.split.of_bin < len(by_cell)
        np.maximum.at(by_cell, self.split.of_bin[where], np.abs(found.j_local[where]))
        return self.split.put(np.max(np.abs(found.j_global), axis=0, initial=0.0), by_cell)

    def information(self, at: Points, found: RateSlopes | Curvature) -> Arrowhead:
        """Return the expected Hessian, without the rates' own curvature: never indefinite."""
        expected = np.where(at.rate > 0, 1.0 / np.where(at.rate > 0, at.rate, 1.0), 0.0)
        rooted = found.j_global * np.sqrt(expected)[:, None]
        corner = rooted.T @ rooted
        corner.flat[:: len(corner) + 1] += at.curved[self.split.global_]
        own = found.j_local[:, :, None] * expected[:, None, None]
        blocks = self.split.sum_cells(own * found.j_local[:, None, :])
        places = np.arange(blocks.shape[1])
        blocks[:, places, places] += np.append(at.curved, 1.0)[self.split.local]
        return Arrowhead(corner, self.split.sum_cells(own * found.j_global[:, None, :]), blocks)

    def _combine(self, slopes: Array) -> Array:
        """Return the derivative of the base by each global parameter that has a histosys."""
        split, m = self.codes.n_symmetric, self._m
        if split < m:
            both = slopes[split:m, None, None] * self._shift[split:m]
            both += slopes[m:, None, None] * self._shift[m:]
            rows = np.concatenate([self._shift[:split], both])
        else:
            rows = self._shift
        in_order = np.array_equal(self._variation, np.arange(m))
        return np.asarray(rows if in_order else rows[self._variation])

    def _per_variation(self, rows: Array) -> Array:
        """Return the sums of up and down rows, by global parameter that has a histosys."""
        split, m = self.codes.n_symmetric, self._m
        return np.asarray(np.concatenate([rows[:split], rows[split:m] + rows[m:]])[self._variation])
