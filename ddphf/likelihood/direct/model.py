r"""Value, rates, gradient and Hessian of any compiled model, in numpy.

The mathematics is that of :mod:`ddphf.likelihood.general.derivatives`. Everything up to the
gradient takes many points at once; the Hessian takes one, and skips what is zero: a parameter has a
factor, a histosys, or both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from ddphf.arrays import Array, Float, on_host
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.factors import Factors
from ddphf.likelihood.direct.interpolation import NormsysFactors, histosys_weights
from ddphf.likelihood.direct.matrix import Arrowhead, Split

if TYPE_CHECKING:
    from ddphf.likelihood.general.layout import Cells, Codes, ModelArrays

__all__ = ["Curvature", "DirectModel", "Points", "RateSlopes"]


TINY = 1e-100
"""Stands for a factor of 0 in derivatives: the product of the others is P / TINY, exactly."""

BLOCK = 4_000_000
"""Factors in memory at a time where rates of many points are asked for."""


class Points(NamedTuple):
    """-ln L and its gradient at m points, or one without the leading axis; what its Hessian needs.

    Attributes:
        value: -ln L over its best value bin by bin and constraint by constraint, shape (m,).
        rate: Shape (m, bins).
        gradient: Shape (m, n).
        base: Yields before their factors, shape (m, bins, samples).
        product: Products of the factors, 0 replaced by :data:`TINY`.
        first: Derivatives of the table of factors divided by it, shape (m, entries).
        second: Second derivatives divided by it.
        by_entry: Derivative of ln L by each entry of the table, times it, shape (m, entries - 1).
        slopes: First derivatives of the histosys weights, shape (m, rows).
        bends: Second derivatives of the histosys weights.
        pull: d ln L / d rate, shape (m, bins).
        curved: Second derivatives of the constraint terms of -ln L, shape (m, n).
    """

    value: Array
    rate: Array
    gradient: Array
    base: Array
    product: Array
    first: Array
    second: Array
    by_entry: Array
    slopes: Array
    bends: Array
    pull: Array
    curved: Array

    def row(self, i: int) -> Points:
        """Return one point."""
        return Points(*(values[i] for values in self))


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


class DirectModel:
    """One model.

    Args:
        n: Number of parameters.
        codes: Interpolation codes and the number of symmetric histosys.
        arrays: The model laid out, in numpy.
        cells: Its split, in numpy.

    Attributes:
        split: Global and local parameters.
        n_bins: Number of bins.
    """

    def __init__(self, n: int, codes: Codes, arrays: ModelArrays, cells: Cells) -> None:
        self.n, self.codes, self.arrays = n, codes, arrays
        self.split = Split(n, on_host(cells.global_), on_host(cells.local), on_host(cells.of_bin))
        self.n_bins = len(arrays.nominal)
        self._one = n + len(arrays.normsys)
        entries, coefficients = on_host(arrays.normsys), on_host(arrays.coefficients)
        self._normsys = None
        if len(entries):
            self._normsys = NormsysFactors(entries, coefficients, codes.normsys)

        # Factors: the table's entries by (bin, sample), and the global parameters that have any.
        self._factors = Factors(on_host(arrays.factor), self._one)
        owner = np.concatenate([np.arange(n), arrays.normsys]).astype(int)
        shape = (n, self._one)
        self._owners = csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape)
        self._f = np.flatnonzero(np.any(cells.global_factor != self._one, axis=(0, 1)))
        self._global_factor = np.ascontiguousarray(cells.global_factor[:, :, self._f])
        self._local_factor = cells.local_factor

        # Histosys: the samples that have shifts, and the global parameters they belong to.
        self._m = len(arrays.histosys)
        self._shifted = np.flatnonzero(np.any(arrays.shift != 0, axis=(0, 1)))
        self._shift = np.ascontiguousarray(arrays.shift[:, :, self._shifted])
        self._flat = self._shift.reshape(len(arrays.shift), self.n_bins * len(self._shifted))
        self._v = np.flatnonzero(cells.variation < self._m)
        self._variation = cells.variation[self._v]

    def _base(self, points: Array) -> tuple[Array, Array, Array]:
        """Return the yields before factors, and the derivatives of the weights of all rows."""
        alpha, split = points[:, self.arrays.histosys], self.codes.n_symmetric
        base = np.repeat(self.arrays.nominal[None], len(points), axis=0)
        if not self._m:
            return base, alpha, alpha
        value, first, second = histosys_weights(alpha[:, split:], self.codes.histosys)
        linear = alpha[:, :split]
        moved = np.concatenate([linear, *value], axis=1) @ self._flat
        base[:, :, self._shifted] += moved.reshape(len(points), *self._shift.shape[1:])
        slopes = np.concatenate([np.ones_like(linear), *first], axis=1)
        bends = np.concatenate([np.zeros_like(linear), *second], axis=1)
        return base, slopes, bends

    def _products(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """Return products of factors, the same with 0 made tiny, and log derivatives."""
        none = np.zeros((len(points), 0))
        value, first, second = (none,) * 3 if self._normsys is None else self._normsys(points)
        one = np.ones((len(points), 1))
        table = np.concatenate([points, value, one], axis=1)
        product = safe_product = self._factors.multiply(table)
        safe = table
        if np.any(small := np.abs(table) < TINY):
            safe = np.where(small, TINY, table)
            safe_product = self._factors.multiply(safe)
        d_first = np.concatenate([np.ones_like(points), first, 0.0 * one], axis=1) / safe
        d_second = np.concatenate([np.zeros_like(points), second, 0.0 * one], axis=1) / safe
        return product, safe_product, d_first, d_second

    def rates(self, points: Float[Array, "points n"]) -> Float[Array, "points bins"]:
        """Return the expected main data, shape (m, bins), at points of shape (m, n)."""
        out = np.empty((len(points), self.n_bins))
        block = max(1, BLOCK // max(1, self.arrays.factor.size))
        for first in range(0, len(points), block):
            some = points[first : first + block]
            out[first : first + block] = np.sum(
                self._base(some)[0] * self._products(some)[0], axis=-1
            )
        return out

    def twice_nll(
        self, points: Float[Array, "points n"], data: Array, rates: Array | None = None
    ) -> Float[Array, "points"]:
        """Return -2 ln L with all constants, shape (m,); NaN where a rate is negative.

        Args:
            points: Shape (m, n).
            data: Main and auxiliary data.
            rates: Those of the points, where they are known.
        """
        counts, auxiliary = data[..., : self.n_bins], data[..., self.n_bins :]
        rates = self.rates(points) if rates is None else rates
        main = np.sum(_log_poisson(counts, rates), axis=-1)
        return np.asarray(-2.0 * (main + self._constraint(points, auxiliary)))

    def _constraint(self, points: Array, auxiliary: Array) -> Array:
        """Return ln of all constraint terms, normalisations included."""
        a = self.arrays
        pull = (auxiliary[..., a.normal_data] - points[:, a.normal_parameter]) / a.normal_sigma
        normal = -0.5 * np.sum(pull * pull, axis=-1)
        normal = normal - np.sum(np.log(a.normal_sigma) + 0.5 * np.log(2.0 * np.pi))
        mean = points[:, a.poisson_parameter] * a.poisson_tau
        counts = auxiliary[..., a.poisson_data]
        return np.asarray(normal + np.sum(_log_poisson(counts, mean), axis=-1))

    def _penalty(self, points: Array, auxiliary: Array) -> Array:
        """Return -ln of the constraint terms over their best values.

        As with the main data, a difference of large terms would hide small steps: a parameter
        known to 1e-4 has 1e8 auxiliary counts.
        """
        a = self.arrays
        pull = (auxiliary[..., a.normal_data] - points[:, a.normal_parameter]) / a.normal_sigma
        mean, counts = (
            points[:, a.poisson_parameter] * a.poisson_tau,
            auxiliary[..., a.poisson_data],
        )
        known = np.where(mean >= 0, _deviance(counts, mean), np.nan)
        return np.asarray(0.5 * np.sum(pull * pull, axis=-1) + np.sum(known, axis=-1))

    def _constraint_derivatives(self, points: Array, auxiliary: Array) -> tuple[Array, Array]:
        """Return first and second derivatives of the constraint terms of -ln L (diagonal)."""
        a = self.arrays
        slope, curvature = np.zeros_like(points), np.zeros_like(points)
        where = a.normal_parameter  # a parameter has one constraint
        slope[:, where] = (points[:, where] - auxiliary[..., a.normal_data]) / a.normal_sigma**2
        curvature[:, where] = 1.0 / a.normal_sigma**2
        where, counts = a.poisson_parameter, auxiliary[..., a.poisson_data]
        safe = np.where(points[:, where] > 0, points[:, where], 1.0)
        slope[:, where] = a.poisson_tau - counts / safe
        curvature[:, where] = counts / safe**2
        return slope, curvature

    def evaluate(self, points: Float[Array, "points n"], data: Array) -> Points:
        """Return -ln L and its gradient at many points.

        Args:
            points: Shape (m, n).
            data: Main and auxiliary data, shape (m, n_main + n_aux) or (n_main + n_aux,).
        """
        counts, auxiliary = data[..., : self.n_bins], data[..., self.n_bins :]
        base, slopes, bends = self._base(points)
        product, safe_product, first, second = self._products(points)
        rate = np.sum(base * product, axis=-1)
        seen = counts > 0
        pull = np.where(seen, counts / np.where(seen, np.maximum(rate, NEGLIGIBLE), 1.0), 0.0) - 1.0
        m, weighted = len(points), pull[:, :, None] * safe_product
        by_entry = self._factors.sum_entries(weighted * base)
        value = np.sum(_deviance(counts, rate), axis=-1) + self._penalty(points, auxiliary)
        rise = (self._owners @ (by_entry * first[:, :-1]).T).T
        if self._m:
            split = self.codes.n_symmetric
            rows = slopes * (weighted[:, :, self._shifted].reshape(m, -1) @ self._flat.T)
            own = np.concatenate(
                [rows[:, :split], rows[:, split : self._m] + rows[:, self._m :]], axis=1
            )
            rise[:, self.arrays.histosys] += own
        slope, curved = self._constraint_derivatives(points, auxiliary)
        gradient = slope - rise
        return Points(
            value, rate, gradient, base, safe_product, first, second, by_entry, slopes, bends,
            pull, curved,
        )  # fmt: skip

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


def _log_poisson(n: Array, rate: Array) -> Array:
    """Return ln Poisson(n | rate); NaN where the rate is negative, also for n = 0."""
    safe = np.where((n > 0) & (rate > 0), rate, 1.0)
    value = np.where(n > 0, n * np.log(safe), 0.0) - rate - gammaln(n + 1.0)
    impossible = np.where(rate < 0, np.nan, -np.inf)
    return np.asarray(np.where((rate > 0) | ((n <= 0) & (rate == 0)), value, impossible))


def _deviance(n: Array, rate: Array) -> Array:
    """Return rate - n + n ln(n / rate) as :func:`ddphf.likelihood.deviance.deviance` does."""
    seen = n > 0
    safe = np.where(seen, n, 1.0)
    d = (rate - n) / safe
    near = np.abs(d) < 0.5
    far = np.log(np.where(near, 1.0, np.maximum(rate / safe, NEGLIGIBLE)))
    return np.asarray(
        np.where(seen, n * (d - np.where(near, np.log1p(np.where(near, d, 0.0)), far)), rate - n)
    )
