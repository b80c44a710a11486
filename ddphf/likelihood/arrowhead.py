r"""Gradient and Hessian of any compiled model in arrowhead form.

Parameters are global, or local to a cell: a cell is a connected component of bins through per-bin
parameters (shapefactor, shapesys, staterror). With the locals of a cell numbered 0..L-1, the
derivative of all rates along "local l of every cell at once" costs one forward sweep, so the whole
Hessian costs (k + L) L + k sweeps instead of n^2, and it is solved by eliminating each L x L block:

.. math::  S = G - \sum_c C_c^T D_c^{-1} C_c .
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.likelihood.arrays import Codes, ModelArrays, constraint_logpdf, rates
from ddphf.likelihood.expansion import Expansion

__all__ = [
    "Arrowhead",
    "Cells",
    "arrowhead",
    "cho_solve",
    "factor",
    "find_cells",
    "inverse_diagonal",
    "masked",
    "solve",
]

Array = Any
MAX_LOCALS = 8


class Cells(NamedTuple):
    """Which parameters are local, and to what. Padding: parameter index n, cell index ``cells``.

    Attributes:
        global_: Shape (k,): parameter index.
        local: Shape (cells, L): parameter index, n where a cell has fewer.
        of_bin: Shape (bins,): the cell of each bin.
    """

    global_: Array
    local: Array
    of_bin: Array


class Arrowhead(NamedTuple):
    """A symmetric matrix: corner G (k, k), edges C (cells, L, k), blocks D (cells, L, L)."""

    corner: Array
    edges: Array
    blocks: Array


def find_cells(expansion: Expansion, max_locals: int = MAX_LOCALS) -> Cells:
    """Split the parameters; those of a component with too many locals stay global."""
    n, n_bins = expansion.n_parameters, expansion.n_bins
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent.setdefault(x, x) != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    touched: dict[int, set[int]] = {}
    for s, columns in enumerate(expansion.factors):
        for index, per_bin in columns:
            if not per_bin:
                continue
            for i in np.flatnonzero((index >= 0) & expansion.present[s]):
                parameter = int(index[i])
                touched.setdefault(parameter, set()).add(int(i))
                parent[root(n_bins + parameter)] = root(int(i))
    components: dict[int, list[int]] = {}
    for parameter in sorted(touched):
        components.setdefault(root(n_bins + parameter), []).append(parameter)
    kept = {r: p for r, p in components.items() if len(p) <= max_locals}
    width = max((len(p) for p in kept.values()), default=0)
    local = np.full((len(kept), width), n)
    of_bin = np.full(n_bins, len(kept))
    is_local = np.zeros(n, dtype=bool)
    for c, parameters in enumerate(kept.values()):
        local[c, : len(parameters)] = parameters
        is_local[parameters] = True
        for parameter in parameters:
            of_bin[list(touched[parameter])] = c
    # A component of a parameter that touches no bin has its constraint alone: global is fine.
    return Cells(np.flatnonzero(~is_local), local, of_bin)


def arrowhead(
    codes: Codes, arrays: ModelArrays, cells: Cells, parameters: Array, data: Array
) -> tuple[Array, Array, Array, Arrowhead]:
    """Return -ln L without main-data constants, all rates, the gradient and the Hessian.

    Args:
        codes: Static codes.
        arrays: The model.
        cells: The split.
        parameters: Shape (n,).
        data: Main and auxiliary data.
    """
    n_bins, n = arrays.nominal.shape[0], parameters.shape[0]
    n_cells, n_local = cells.local.shape
    k = cells.global_.shape[0]
    counts, auxiliary = data[:n_bins], data[n_bins:]

    def rate_of(p: Array) -> Array:
        return rates(codes, arrays, p)

    def constraint(p: Array) -> Array:
        return -constraint_logpdf(arrays, p, auxiliary)

    basis = jnp.zeros((k, n)).at[jnp.arange(k), cells.global_].set(1.0)
    if n_local:
        colours = jnp.zeros((n_local, n + 1))
        for slot in range(n_local):
            colours = colours.at[slot, cells.local[:, slot]].set(1.0)
        basis = jnp.concatenate([basis, colours[:, :n]])

    rate = rate_of(parameters)
    safe = jnp.where(counts > 0, jnp.maximum(rate, 1e-300), 1.0)
    w = jnp.where(counts > 0, counts / safe, 0.0) - 1.0
    alpha = jnp.where(counts > 0, counts / (safe * safe), 0.0)
    main = jnp.sum(
        jnp.where(counts > 0, counts * jnp.log(jnp.where(counts > 0, counts, 1.0) / safe), 0.0)
        + (rate - counts)
    )
    value = main + constraint(parameters)
    _, pullback = jax.vjp(rate_of, parameters)
    slope, curvature = _constraint_derivatives(arrays, parameters, auxiliary)
    gradient = slope - pullback(w)[0]

    def push(direction: Array) -> Array:
        return jax.jvp(rate_of, (parameters,), (direction,))[1]

    jacobian = jax.vmap(push)(basis)  # (k + L, bins)
    j_global, j_local = jacobian[:k], jacobian[k:]

    def weighted_gradient(p: Array) -> Array:
        return jax.vjp(rate_of, p)[1](w)[0][cells.global_]

    def push_weighted(direction: Array) -> Array:
        return jax.jvp(weighted_gradient, (parameters,), (direction,))[1]

    corner = (j_global * alpha) @ j_global.T - jax.vmap(push_weighted)(basis[:k])
    corner = corner + jnp.diag(curvature[cells.global_])
    if not n_local:
        empty = Arrowhead(corner, jnp.zeros((0, 0, k)), jnp.zeros((0, 0, 0)))
        return value, rate, gradient, empty

    def local_jacobian(p: Array) -> Array:
        return jax.vmap(lambda d: jax.jvp(rate_of, (p,), (d,))[1])(basis[k:])

    second = jax.vmap(lambda d: jax.jvp(local_jacobian, (parameters,), (d,))[1])(basis)
    per_bin = jnp.einsum("db,lb,b->bld", jacobian, j_local, alpha) - jnp.einsum(
        "dlb,b->bld", second, w
    )
    per_cell = jnp.zeros((n_cells + 1, *per_bin.shape[1:])).at[cells.of_bin].add(per_bin)[:-1]
    edges, blocks = per_cell[:, :, :k], per_cell[:, :, k:]
    own = jnp.concatenate([curvature, jnp.ones(1)])[cells.local]
    blocks = blocks + own[:, :, None] * jnp.eye(n_local)
    return value, rate, gradient, Arrowhead(corner, edges, blocks)


def _constraint_derivatives(
    arrays: ModelArrays, parameters: Array, auxiliary: Array
) -> tuple[Array, Array]:
    """Return first and second derivatives of the constraint terms of -ln L (diagonal)."""
    slope, curvature = jnp.zeros_like(parameters), jnp.zeros_like(parameters)
    where, sigma = arrays.normal_parameter, arrays.normal_sigma
    pull = (parameters[where] - auxiliary[arrays.normal_data]) / sigma
    slope = slope.at[where].add(pull / sigma)
    curvature = curvature.at[where].add(1.0 / sigma**2)
    where = arrays.poisson_parameter
    x, aux = parameters[where], auxiliary[arrays.poisson_data]
    safe = jnp.where(x > 0, x, 1.0)
    slope = slope.at[where].add(arrays.poisson_tau - aux / safe)
    curvature = curvature.at[where].add(aux / safe**2)
    return slope, curvature


def masked(matrix: Arrowhead, cells: Cells, free: Array, damping: Array) -> Arrowhead:
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
    return Arrowhead(corner, edges, blocks + add[:, :, None] * jnp.eye(blocks.shape[1]))


def factor(matrix: Arrowhead) -> tuple[Array, Array, Array, Array]:
    """Return the scaled Schur complement's Cholesky factor, its scale, D^-1 C, Cholesky of D.

    Positive definite only where :func:`masked` made it so.
    """
    chol = jnp.linalg.cholesky(matrix.blocks)
    inner = cho_solve(chol, matrix.edges)
    schur = matrix.corner - jnp.einsum("clk,clm->km", matrix.edges, inner)
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(matrix.corner), 1e-300))
    return jnp.linalg.cholesky(schur * scale[:, None] * scale[None, :]), scale, inner, chol


def cho_solve(chol: Array, right: Array) -> Array:
    """Solve with a lower Cholesky factor, batched over leading axes."""
    half = jax.scipy.linalg.solve_triangular(chol, right, lower=True)
    return jax.scipy.linalg.solve_triangular(chol.swapaxes(-1, -2), half, lower=False)


def solve(matrix: Arrowhead, cells: Cells, right: Array, free: Array, damping: Array) -> Array:
    """Solve over the free directions; 0 elsewhere, NaN if the matrix is not positive definite."""
    matrix = masked(matrix, cells, free, damping)
    right = jnp.where(free, right, 0.0)
    r_global = right[cells.global_]
    n_cells, n_local = cells.local.shape
    if n_local == 0 or n_cells == 0:
        scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(matrix.corner), 1e-300))
        chol = jnp.linalg.cholesky(matrix.corner * scale[:, None] * scale[None, :])
        x = scale * cho_solve(chol, (r_global * scale)[:, None])[:, 0]
        return jnp.zeros_like(right).at[cells.global_].set(x)
    r_local = jnp.concatenate([right, jnp.zeros(1)])[cells.local]
    chol_s, scale, inner, chol_d = factor(matrix)
    reduced = r_global - jnp.einsum("clk,cl->k", inner, r_local)
    x = scale * cho_solve(chol_s, (reduced * scale)[:, None])[:, 0]
    y = cho_solve(chol_d, (r_local - matrix.edges @ x)[:, :, None])[:, :, 0]
    out = jnp.zeros(right.shape[0] + 1).at[cells.local].add(y)[:-1]
    return out.at[cells.global_].add(x)


def inverse_diagonal(matrix: Arrowhead, cells: Cells, free: Array) -> Array:
    """Return the diagonal of the inverse over the free directions, 0 elsewhere."""
    matrix = masked(matrix, cells, free, jnp.zeros(()))
    k = cells.global_.shape[0]
    n_cells, n_local = cells.local.shape
    if n_local == 0 or n_cells == 0:
        inverse = _invert(matrix.corner)
        diagonal = jnp.zeros(free.shape[0]).at[cells.global_].set(jnp.diag(inverse))
        return jnp.where(free, diagonal, 0.0)
    chol_s, scale, inner, chol_d = factor(matrix)
    inverse = cho_solve(chol_s, jnp.eye(k)) * scale[:, None] * scale[None, :]
    own = jnp.einsum(
        "cll->cl", cho_solve(chol_d, jnp.broadcast_to(jnp.eye(n_local), matrix.blocks.shape))
    )
    local = own + jnp.einsum("clk,km,clm->cl", inner, inverse, inner)
    out = jnp.zeros(free.shape[0] + 1).at[cells.local].add(local)[:-1]
    return jnp.where(free, out.at[cells.global_].add(jnp.diag(inverse)), 0.0)


def _invert(matrix: Array) -> Array:
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(matrix), 1e-300))
    chol = jnp.linalg.cholesky(matrix * scale[:, None] * scale[None, :])
    return cho_solve(chol, jnp.eye(matrix.shape[0])) * scale[:, None] * scale[None, :]
