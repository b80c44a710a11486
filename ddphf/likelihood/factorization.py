"""Cholesky factors inside compiled programs, of one matrix or of many, that never wait.

The CPU kernels behind ``jnp.linalg`` split a batch of matrices among the threads of XLA's pool and
wait there for the others. They run on those threads themselves: as soon as as many of them wait as
there are threads, all wait for ever. Here such a kernel gets one matrix at a time, which it does
alone; small matrices, of which there is one per bin, are taken apart in plain array operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddphf.arrays import Float, JaxArray

__all__ = ["SMALL", "cho_solve", "cholesky", "solve_lower"]


Square = Float[JaxArray, "*many n n"]
Columns = Float[JaxArray, "*many n m"]
Program = Callable[..., JaxArray]

SMALL = 8
"""Largest matrix done in plain operations, unrolled: their number grows with its square."""


def cholesky(matrix: Square) -> Square:
    """Return the lower Cholesky factor; NaN where a matrix is not positive definite.

    Args:
        matrix: Shape (..., n, n), symmetric.

    Example:
        >>> cholesky(jnp.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
        [[2.0, 0.0], [1.0, 2.0]]
    """
    n = matrix.shape[-1]
    if n > SMALL:
        return _over_leading_axes(_cholesky_alone, matrix.ndim - 2)(matrix)
    columns: list[JaxArray] = []
    for j in range(n):
        column = matrix[..., :, j]
        for done in columns:
            column = column - done * done[..., j, None]
        pivot = column[..., j, None]
        column = column / jnp.sqrt(jnp.where(pivot > 0, pivot, jnp.nan))
        columns.append(jnp.where(jnp.arange(n) >= j, column, 0.0))
    return jnp.stack(columns, axis=-1) if columns else matrix


def solve_lower(chol: Square, right: Columns) -> Columns:
    """Solve with the factor itself.

    Args:
        chol: Lower triangular, shape (..., n, n).
        right: Shape (..., n, m), the same leading axes.

    Example:
        >>> solve_lower(jnp.array([[2.0, 0.0], [1.0, 2.0]]), jnp.array([[2.0], [3.0]])).tolist()
        [[1.0], [1.0]]
    """
    if chol.shape[-1] > SMALL:
        return _over_leading_axes(_solve_lower_alone, chol.ndim - 2)(chol, right)
    return _stack(_forward(chol, right), right)


def cho_solve(chol: Square, right: Columns) -> Columns:
    """Solve with the matrix that a factor belongs to; shapes as in :func:`solve_lower`.

    Example:
        >>> cho_solve(jnp.array([[2.0, 0.0], [1.0, 2.0]]), jnp.array([[6.0], [7.0]])).tolist()
        [[1.0], [1.0]]
    """
    n = chol.shape[-1]
    if n > SMALL:
        return _over_leading_axes(_cho_solve_alone, chol.ndim - 2)(chol, right)
    half = _forward(chol, right)
    rows: dict[int, JaxArray] = {}
    for j in reversed(range(n)):
        row = half[j]
        for k in range(j + 1, n):
            row = row - chol[..., k, j, None] * rows[k]
        rows[j] = row / chol[..., j, j, None]
    return _stack([rows[j] for j in range(n)], right)


def _forward(chol: JaxArray, right: JaxArray) -> list[JaxArray]:
    rows: list[JaxArray] = []
    for j in range(chol.shape[-1]):
        row = right[..., j, :]
        for k, done in enumerate(rows):
            row = row - chol[..., j, k, None] * done
        rows.append(row / chol[..., j, j, None])
    return rows


def _stack(rows: list[JaxArray], right: JaxArray) -> JaxArray:
    return jnp.stack(rows, axis=-2) if rows else right


def _over_leading_axes(function: Program, n: int) -> Program:
    for _ in range(n):
        function = jax.vmap(function)
    return function


_one_by_one: Any = jax.custom_batching.sequential_vmap

_cholesky_alone = _one_by_one(lambda matrix: jnp.linalg.cholesky(matrix, symmetrize_input=False))

_solve_lower_alone = _one_by_one(
    lambda chol, right: jax.lax.linalg.triangular_solve(chol, right, left_side=True, lower=True)
)

_cho_solve_alone = _one_by_one(
    lambda chol, right: jax.lax.linalg.triangular_solve(
        chol, _solve_lower_alone(chol, right), left_side=True, lower=True, transpose_a=True
    )
)
