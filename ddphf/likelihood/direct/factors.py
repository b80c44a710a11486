"""Products of the factors of every yield, and sums back.

Yields of one channel and sample share most of their factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ddphf.arrays import Array, Float, IntArray

__all__ = ["Factors"]


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
