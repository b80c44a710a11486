r"""Arrowhead matrices of a model's cells: how such a system is solved.

Each cell's L x L block is eliminated:

.. math::  S = G - \sum_c C_c^T D_c^{-1} C_c .
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.factorization import cho_solve, cholesky
from ddphf.likelihood.general.layout import Cells
from ddphf.likelihood.general.likelihood import Flags, Scalar, Vector

__all__ = [
    "Arrowhead",
    "across",
    "add_diagonal",
    "along",
    "factor",
    "inverse",
    "masked",
    "multiply",
    "read_diagonal",
    "solve",
]


class Arrowhead(NamedTuple):
    """A symmetric matrix: corner G (k, k), edges C (cells, L, k), blocks D (cells, L, L)."""

    corner: JaxArray
    edges: JaxArray
    blocks: JaxArray


def masked(matrix: Arrowhead, cells: Cells, free: Flags, damping: Scalar) -> Arrowhead:
    """Keep the free directions, the others as an identity; add damping times the diagonal."""
    f_global = free[cells.global_]
    f_local = jnp.concatenate([free, jnp.zeros(1, bool)])[cells.local]
    corner = jnp.where(f_global[:, None] & f_global[None, :], matrix.corner, 0.0)
    diagonal = jnp.diag(corner)
    corner = corner + jnp.diag(jnp.where(f_global, damping * jnp.abs(diagonal), 1.0))
    edges = jnp.where(f_local[:, :, None] & f_global[None, None, :], matrix.edges, 0.0)
    blocks = jnp.where(f_local[:, :, None] & f_local[:, None, :], matrix.blocks, 0.0)
    diagonal = jnp.einsum("cll->cl", blocks)
    add = jnp.where(f_local, damping * jnp.abs(diagonal), 1.0)
    return Arrowhead(corner, edges, blocks + add[:, :, None] * jnp.eye(blocks.shape[1])[None])


def multiply(matrix: Arrowhead, cells: Cells, vector: Vector) -> Vector:
    """Return the matrix times a vector of shape (n,)."""
    v_global = vector[cells.global_]
    v_local = jnp.concatenate([vector, jnp.zeros(1)])[cells.local]
    y = jnp.einsum("clm,cm->cl", matrix.blocks, v_local) + matrix.edges @ v_global
    x = matrix.corner @ v_global + jnp.einsum("clk,cl->k", matrix.edges, v_local)
    out = jnp.zeros(vector.shape[0] + 1).at[cells.local].add(y)[:-1]
    return out.at[cells.global_].add(x)


def add_diagonal(matrix: Arrowhead, cells: Cells, diagonal: Vector) -> Arrowhead:
    """Add a diagonal of shape (n,)."""
    own = jnp.concatenate([diagonal, jnp.zeros(1)])[cells.local]
    return Arrowhead(
        matrix.corner + jnp.diag(diagonal[cells.global_]),
        matrix.edges,
        matrix.blocks + own[:, :, None] * jnp.eye(own.shape[1])[None],
    )


def read_diagonal(matrix: Arrowhead, cells: Cells, n: int) -> Float[JaxArray, "{n}"]:
    """Return the diagonal, shape (n,)."""
    out = jnp.zeros(n + 1).at[cells.local].add(jnp.einsum("cll->cl", matrix.blocks))[:-1]
    return out.at[cells.global_].add(jnp.diag(matrix.corner))


def along(cells: Cells, slope: tuple[JaxArray, JaxArray], step: Vector) -> Float[JaxArray, "bins"]:
    """Return the change of every rate, shape (bins,), to first order in a step, shape (n,).

    ``slope`` has the derivatives of the rates by the globals, (bins, k), and by the locals of each
    bin's cell, (bins, L).
    """
    j_global, j_local = slope
    local = jnp.concatenate([step, jnp.zeros(1)])[cells.local]
    local = jnp.concatenate([local, jnp.zeros((1, local.shape[1]))])[cells.of_bin]
    return j_global @ step[cells.global_] + jnp.sum(j_local * local, axis=1)


def across(
    cells: Cells, slope: tuple[JaxArray, JaxArray], weights: Float[JaxArray, "bins"], n: int
) -> Float[JaxArray, "{n}"]:
    """Return the gradient, shape (n,), of the rates summed with weights: :func:`along` transposed.

    Args:
        cells: The split.
        slope: As in :func:`along`.
        weights: Shape (bins,).
        n: Number of parameters.
    """
    j_global, j_local = slope
    per_cell = jnp.zeros((cells.local.shape[0] + 1, j_local.shape[1]))
    per_cell = per_cell.at[cells.of_bin].add(weights[:, None] * j_local)[:-1]
    out = jnp.zeros(n + 1).at[cells.local].add(per_cell)[:-1]
    return out.at[cells.global_].add(weights @ j_global)


def factor(matrix: Arrowhead) -> tuple[JaxArray, JaxArray, JaxArray, JaxArray]:
    """Return the scaled Schur complement's Cholesky factor, its scale, D^-1 C, Cholesky of D.

    Positive definite only where :func:`masked` made it so.
    """
    chol = cholesky(matrix.blocks)
    inner = cho_solve(chol, matrix.edges)
    schur = matrix.corner - jnp.einsum("clk,clm->km", matrix.edges, inner)
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(matrix.corner), NEGLIGIBLE))
    return cholesky(schur * scale[:, None] * scale[None, :]), scale, inner, chol


def solve(matrix: Arrowhead, cells: Cells, right: Vector, free: Flags, damping: Scalar) -> Vector:
    """Solve over the free directions; 0 elsewhere, NaN if the matrix is not positive definite."""
    matrix = masked(matrix, cells, free, damping)
    right = jnp.where(free, right, 0.0)
    r_global = right[cells.global_]
    r_local = jnp.concatenate([right, jnp.zeros(1)])[cells.local]
    chol_s, scale, inner, chol_d = factor(matrix)
    reduced = r_global - jnp.einsum("clk,cl->k", inner, r_local)
    x = scale * cho_solve(chol_s, (reduced * scale)[:, None])[:, 0]
    y = cho_solve(chol_d, (r_local - matrix.edges @ x)[:, :, None])[:, :, 0]
    out = jnp.zeros(right.shape[0] + 1).at[cells.local].add(y)[:-1]
    return out.at[cells.global_].add(x)


def inverse(matrix: Arrowhead, cells: Cells, free: Flags) -> tuple[JaxArray, JaxArray]:
    """Return the inverse over the free directions, 0 elsewhere.

    Returns:
        Its global block, shape (k, k), and its diagonal, shape (n,).
    """
    matrix = masked(matrix, cells, free, jnp.zeros(()))
    f_global = free[cells.global_]
    chol_s, scale, inner, chol_d = factor(matrix)
    # A column at a time: BLAS runs many right-hand sides on threads, which on a busy machine take
    # a hundred times as long to start as the columns do to solve.
    columns = jax.lax.map(
        lambda unit: cho_solve(chol_s, unit[:, None])[:, 0], jnp.eye(f_global.shape[0])
    )
    block = columns * scale[:, None] * scale[None, :]
    block = jnp.where(f_global[:, None] & f_global[None, :], block, 0.0)
    n_local = cells.local.shape[1]
    own = jnp.einsum(
        "cll->cl", cho_solve(chol_d, jnp.broadcast_to(jnp.eye(n_local), matrix.blocks.shape))
    )
    local = own + jnp.einsum("clk,clk->cl", inner @ block, inner)
    out = jnp.zeros(free.shape[0] + 1).at[cells.local].add(local)[:-1]
    return block, jnp.where(free, out.at[cells.global_].add(jnp.diag(block)), 0.0)
