r"""Arrowhead matrices in numpy: as :mod:`ddphf.likelihood.general.arrowhead`, factorised once.

A cell's block D is eliminated, :math:`S = G - \sum_c C_c^T D_c^{-1} C_c`, and what solves, inverts
and propagates afterwards uses the same factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from ddphf.arrays import Array, Bool, Float, IntArray, Mask
from ddphf.likelihood.descent import NEGLIGIBLE

__all__ = ["Arrowhead", "Factored", "Split", "factorise", "factorise_raised"]

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
