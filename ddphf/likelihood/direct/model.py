r"""The Hessian of any compiled model at one point, in numpy: an arrowhead, factorised once.

It skips what is zero: a parameter has a factor, a histosys, or both. A cell's block D is
eliminated, :math:`S = G - \sum_c C_c^T D_c^{-1} C_c`, and what solves, inverts and propagates
afterwards uses the same factors; :mod:`ddphf.likelihood.general.arrowhead` is the same in programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

from ddphf.arrays import Array, Bool, Float, IntArray, Mask, on_host
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.direct.first_order import FirstOrder, Points

if TYPE_CHECKING:
    from ddphf.likelihood.general.layout import Cells, Codes, ModelArrays

__all__ = [
    "Arrowhead", "Curvature", "DirectModel", "Factored", "RateSlopes", "Split", "factorise",
    "factorise_raised",
]  # fmt: skip

RIDGES = (1e-15, 1e-14, 1e-13)
"""Of its diagonal: what is added to a matrix that is singular within rounding, the first of these
that is enough."""


class Arrowhead(NamedTuple):
    """A symmetric matrix: corner G (k, k), edges C (cells, L, k), blocks D (cells, L, L)."""

    corner: Array
    edges: Array
    blocks: Array


@dataclass(frozen=True)
class Split:
    """Global parameters, and those local to a cell; padding is parameter n.

    Attributes:
        n: Number of parameters.
        global_: Shape (k,).
        local: Shape (cells, L).
        of_bin: Shape (bins,): the cell of each bin, ``cells`` where it has none.
    """

    n: int
    global_: IntArray
    local: IntArray
    of_bin: IntArray

    @cached_property
    def in_cells(self) -> IntArray:
        """The bins that have a cell, those of one cell together."""
        order = np.argsort(self.of_bin, kind="stable")
        return np.asarray(order[: int(np.sum(self.of_bin < len(self.local)))])

    @cached_property
    def _starts(self) -> tuple[IntArray, IntArray]:
        return np.unique(self.of_bin[self.in_cells], return_index=True)

    def sum_cells(self, per_bin: Array) -> Array:
        """Sum over the bins of each cell: shape (bins, ...) to (cells, ...)."""
        out = np.zeros((len(self.local), *per_bin.shape[1:]))
        cells, starts = self._starts
        if len(cells):
            out[cells] = np.add.reduceat(per_bin[self.in_cells], starts, axis=0)
        return out

    def take(self, vector: Array) -> tuple[Array, Array]:
        """Return the global part, shape (..., k), and the local one, (..., cells, L), 0 padded."""
        padded = np.concatenate([vector, np.zeros((*vector.shape[:-1], 1))], axis=-1)
        return vector[..., self.global_], padded[..., self.local]

    def put(
        self, x: Float[Array, "*many k"], y: Float[Array, "*many cells l"]
    ) -> Float[Array, "*many n"]:
        """Return the vector, shape (..., n), of a global and a local part."""
        out = np.zeros((*x.shape[:-1], self.n + 1))
        out[..., self.local] = y
        out[..., self.global_] = x
        return out[..., :-1]

    def diagonal(self, matrix: Arrowhead) -> Float[Array, "n"]:
        """Return the diagonal, shape (n,)."""
        return self.put(np.diag(matrix.corner), np.einsum("cll->cl", matrix.blocks))

    def multiply(self, matrix: Arrowhead, vector: Float[Array, "n"]) -> Float[Array, "n"]:
        """Return the matrix times a vector of shape (n,)."""
        v_global, v_local = self.take(vector)
        y = np.einsum("clm,cm->cl", matrix.blocks, v_local) + matrix.edges @ v_global
        edges = matrix.edges.reshape(v_local.size, len(v_global))
        x = matrix.corner @ v_global + v_local.ravel() @ edges
        return self.put(x, np.where(self.local < self.n, y, 0.0))


class Factored:
    """A positive definite arrowhead matrix over its free directions, ready to solve.

    Attributes:
        matrix: With the other directions as an identity.
        split: Its parameters.
        free: The free directions, shape (n,).
        inner: D^-1 C, shape (cells, L, k).
        inverse_blocks: D^-1.
    """

    def __init__(self, matrix: Arrowhead, split: Split, free: Mask) -> None:
        self.matrix, self.split, self.free = matrix, split, free
        diagonal = np.einsum("cll->cl", matrix.blocks)
        if not np.all(diagonal > 0):
            raise np.linalg.LinAlgError
        unit = 1.0 / np.sqrt(diagonal)
        scaled = matrix.blocks * unit[:, :, None] * unit[:, None, :]
        if matrix.blocks.shape[1] > 1:
            np.linalg.cholesky(scaled)  # raises where a block is not positive definite
            scaled = np.linalg.inv(scaled)
        self.inverse_blocks = scaled * unit[:, :, None] * unit[:, None, :]
        self.inner = self.inverse_blocks @ matrix.edges
        k = len(matrix.corner)
        flat = (matrix.edges.shape[0] * matrix.edges.shape[1], k)
        schur = matrix.corner - matrix.edges.reshape(flat).T @ self.inner.reshape(flat)
        self._scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix.corner), NEGLIGIBLE))
        schur *= self._scale[:, None]
        schur *= self._scale
        if not np.all(np.isfinite(schur)):
            raise np.linalg.LinAlgError
        self._chol, info = lapack.dpotrf(schur.T, lower=0) if k else (schur, 0)
        if info:
            raise np.linalg.LinAlgError

    def _solve_corner(self, right: Array) -> Array:
        """Solve with the Schur complement, right-hand sides as rows."""
        if not len(self._chol):
            return right
        rows = np.atleast_2d(right * self._scale)
        found, _ = lapack.dpotrs(self._chol, rows.T, lower=0)
        return np.asarray(found.T.reshape(right.shape) * self._scale)

    def solve(self, right: Float[Array, "*many n"]) -> Float[Array, "*many n"]:
        """Solve over the free directions, 0 elsewhere; shape (..., n)."""
        right = np.where(self.free, right, 0.0)
        r_global, r_local = self.split.take(right)
        shape = self.inner.shape
        inner = self.inner.reshape(shape[0] * shape[1], shape[2])
        flat = r_local.reshape(*right.shape[:-1], len(inner))
        x = self._solve_corner(r_global - flat @ inner)
        y = np.einsum("clm,...cm->...cl", self.inverse_blocks, r_local)
        y = y - (x @ inner.T).reshape(y.shape)
        return self.split.put(x, np.where(self.split.local < self.split.n, y, 0.0))

    @cached_property
    def block(self) -> Array:
        """The inverse's global block, shape (k, k), 0 outside the free directions."""
        if not len(self._chol):
            return np.asarray(self._chol)
        upper, _ = lapack.dpotri(self._chol, lower=0)
        block = np.triu(upper) + np.triu(upper, 1).T
        block *= self._scale[:, None]
        block *= self._scale
        free = self.free[self.split.global_]
        return np.asarray(np.where(free[:, None] & free[None, :], block, 0.0))

    def variances(self) -> Float[Array, "n"]:
        """Return the diagonal of the inverse, shape (n,), 0 outside the free directions."""
        local = np.einsum("cll->cl", self.inverse_blocks)
        local = local + np.einsum("clk,clk->cl", self.inner @ self.block, self.inner)
        return np.where(self.free, self.split.put(np.diag(self.block), local), 0.0)


def factorise(
    matrix: Arrowhead, split: Split, free: Bool[Mask, "n"], damping: float = 0.0
) -> Factored | None:
    """Keep the free directions, add damping times the diagonal, and factorise.

    Returns:
        None where the matrix is not positive definite over the free directions.
    """
    f_global, f_local = free[split.global_], np.append(free, False)[split.local]
    corner, edges, blocks = matrix
    diagonal = np.diag(corner)
    add = np.where(f_global, damping * np.abs(diagonal), 1.0)
    if f_global.all():
        corner = corner.copy()
    else:
        corner = np.where(f_global[:, None] & f_global[None, :], corner, 0.0)
    corner[np.diag_indices_from(corner)] += add
    edges = np.where(f_local[:, :, None] & f_global, edges, 0.0)
    blocks = np.where(f_local[:, :, None] & f_local[:, None, :], blocks, 0.0)
    own = np.einsum("cll->cl", blocks)  # a view
    add = np.where(f_local, damping * np.abs(own), 1.0)
    places = np.arange(blocks.shape[1])
    blocks[:, places, places] += add
    try:
        return Factored(Arrowhead(corner, edges, blocks), split, free)
    except np.linalg.LinAlgError:
        return None


def factorise_raised(matrix: Arrowhead, split: Split, free: Bool[Mask, "n"]) -> Factored | None:
    """Factorise a matrix that may be singular within rounding, its diagonal raised by a ridge."""
    tried = (factorise(matrix, split, free, ridge) for ridge in RIDGES)
    return next((found for found in tried if found is not None), None)


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
