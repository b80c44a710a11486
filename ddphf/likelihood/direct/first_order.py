"""Rates, value and gradient of any compiled model, in numpy, at many points at once.

The mathematics is that of :mod:`ddphf.likelihood.general.derivatives`. A yield is its nominal one,
moved by the histosys, times its factors; yields of one channel and sample share most of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from ddphf.arrays import Array, Float, IntArray, on_host
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.interpolation import NormsysFactors, histosys_weights

if TYPE_CHECKING:
    from ddphf.likelihood.general.layout import Codes, ModelArrays

__all__ = ["Factors", "FirstOrder", "Points"]


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


class Factors:
    """Which entries of a table multiply which yields.

    An entry that more than one bin has, such as a normsys, is multiplied once for all yields that
    have the same ones of these; a factor of one bin comes on top.

    Args:
        factor: Shape (bins, samples, factors): entries, ``one`` where there is none.
        one: The last entry of the table, which is 1.

    Example:
        >>> factors = Factors(np.array([[[0, 1]], [[0, 2]]]), 2)
        >>> factors.multiply(np.array([[2.0, 3.0, 1.0]])).tolist()
        [[[6.0], [2.0]]]
        >>> factors.sum_entries(np.array([[[10.0], [1.0]]])).tolist()
        [[11.0, 10.0]]
    """

    def __init__(self, factor: Array, one: int) -> None:
        self._shape, n_bins = factor.shape[:2], len(factor)
        place, column = np.nonzero(factor.reshape(-1, factor.shape[2]) < one)
        entry = factor.reshape(-1, factor.shape[2])[place, column]
        size = (n_bins * factor.shape[1], one)
        bins = csr_matrix((np.ones(len(entry)), (entry, place // factor.shape[1])), (one, n_bins))
        bins.sum_duplicates()
        wide = np.diff(bins.indptr)[entry] > 1
        rows, self._group = np.unique(
            _pad(place[wide], entry[wide], size), axis=0, return_inverse=True
        )
        self._group = self._group.reshape(-1)
        self._wide = np.ascontiguousarray(rows.T)
        self._narrow = np.ascontiguousarray(_pad(place[~wide], entry[~wide], size).T)
        group = self._group[place[wide]]
        distinct = np.unique(np.stack([entry[wide], group]), axis=1)
        self._of_group = _ones(distinct[0], distinct[1], (one, len(rows)))
        each = np.arange(size[0])
        self._to_group = _ones(self._group, each, (len(rows), size[0]))
        self._of_yield = _ones(entry[~wide], place[~wide], size[::-1])

    def multiply(
        self, table: Float[Array, "points entries"]
    ) -> Float[Array, "points bins samples"]:
        """Return the product of each yield's factors, shape (m, bins, samples).

        Args:
            table: Shape (m, one + 1).
        """
        product = _product(table, self._wide)[:, self._group]
        if len(self._narrow):
            product = product * _product(table, self._narrow)
        return np.asarray(product.reshape(len(table), *self._shape))

    def sum_entries(
        self, values: Float[Array, "points bins samples"]
    ) -> Float[Array, "points entries"]:
        """Return, for each entry but the last, the sum of the yields that have it, shape (m, one).

        Args:
            values: Shape (m, bins, samples).
        """
        flat = values.reshape(len(values), -1).T
        return np.asarray((self._of_group @ (self._to_group @ flat) + self._of_yield @ flat).T)


class FirstOrder:
    """One model, to first order.

    Args:
        n: Number of parameters.
        codes: Interpolation codes and the number of symmetric histosys.
        arrays: The model laid out, in numpy.

    Attributes:
        n_bins: Number of bins.
    """

    def __init__(self, n: int, codes: Codes, arrays: ModelArrays) -> None:
        self.n, self.codes, self.arrays = n, codes, arrays
        self.n_bins = len(arrays.nominal)
        self._one = n + len(arrays.normsys)
        entries, coefficients = on_host(arrays.normsys), on_host(arrays.coefficients)
        self._normsys = None
        if len(entries):
            self._normsys = NormsysFactors(entries, coefficients, codes.normsys)

        # The table's entries by (bin, sample).
        self._factors = Factors(on_host(arrays.factor), self._one)
        owner = np.concatenate([np.arange(n), arrays.normsys]).astype(int)
        shape = (n, self._one)
        self._owners = csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape)

        # Histosys: the samples that have shifts.
        self._m = len(arrays.histosys)
        self._shifted = np.flatnonzero(np.any(arrays.shift != 0, axis=(0, 1)))
        self._shift = np.ascontiguousarray(arrays.shift[:, :, self._shifted])
        self._flat = self._shift.reshape(len(arrays.shift), self.n_bins * len(self._shifted))

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


def _ones(row: IntArray, column: IntArray, shape: tuple[int, int]) -> Any:
    return csr_matrix((np.ones(len(row)), (row, column)), shape)


def _pad(place: IntArray, entry: IntArray, size: tuple[int, int]) -> IntArray:
    """Return the entries of each place in rising order, shape (places, most of one), padded."""
    order = np.lexsort((entry, place))
    place, entry = place[order], entry[order]
    count = np.bincount(place, minlength=size[0])
    within = np.arange(len(place)) - (np.cumsum(count) - count)[place]
    out = np.full((size[0], int(count.max(initial=0))), size[1])
    out[place, within] = entry
    return out


def _product(table: Array, columns: IntArray) -> Array:
    """Multiply entries: shape (m, entries), (factors, places) to (m, places)."""
    if not len(columns):
        return np.ones((len(table), columns.shape[1]))
    if len(columns) > 4:
        return np.asarray(np.prod(table[:, columns], axis=1))
    out = table[:, columns[0]]
    for column in columns[1:]:
        out = out * table[:, column]
    return np.asarray(out)
