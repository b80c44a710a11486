r"""First-order propagation at a minimum: how parameters and rates move together.

With covariance C = H^-1 (cells eliminated, not held) and J the derivatives of the rates,
:math:`C e_p` is the covariance of every parameter with parameter p, :math:`J C e_p` that of every
rate, and :math:`(J C J^T)_{ii}` the variance of rate i. A shift of count i by dn moves parameter p
by :math:`(J C e_p)_i \, dn / \lambda_i`, because the score of count i is :math:`J_i / \lambda_i`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import edge_terms
from ddphf.likelihood.factorization import cho_solve, cholesky, solve_lower
from ddphf.likelihood.general.arrays import Codes, ModelArrays
from ddphf.likelihood.general.arrowhead import Cells, factor, masked, solve
from ddphf.likelihood.general.derivatives import evaluate
from ddphf.likelihood.minimum import Array, Mask, Minimum
from ddphf.likelihood.paired.newton import free_directions

__all__ = ["Propagation", "held_by_data", "propagate"]


@dataclass(frozen=True)
class Propagation:
    """Covariances at a minimum.

    Attributes:
        covariance: Shape (n,): of every parameter with the chosen one; 0 where not free.
        rates: Shape (n_main,): expected main data.
        rate_covariance: Shape (n_main,): of every rate with the chosen parameter.
        rate_variance: Shape (n_main,).
        global_covariance: Shape (k, k): of the global parameters, as in
            :meth:`CompiledModel.covariance`.
    """

    covariance: Array
    rates: Array
    rate_covariance: Array
    rate_variance: Array
    global_covariance: Array


def held_by_data(minimum: Minimum, fixed: Mask) -> Mask:
    """Return what a fit held: the fixed parameters, and those that no data or bound describe.

    A parameter that changes no expected count, or a background whose rate sits at 0, has error 0
    away from its bounds; the Hessian is singular along it. One that an edge stops is not among
    them: elsewhere it moves again.

    Args:
        minimum: A certified fit.
        fixed: Shape (n,): what was asked to be held.
    """
    return np.asarray(
        fixed | ((minimum.errors == 0) & ~minimum.at_bound & ~minimum.at_edge), dtype=bool
    )


def propagate(
    model: CompiledModel,
    parameters: Array,
    index: int,
    *,
    fixed: Mask | None = None,
    data: Array | None = None,
) -> Propagation:
    """Propagate the inverse Hessian at a minimum.

    Args:
        model: The model.
        parameters: The minimum, shape (n,).
        index: The chosen parameter.
        fixed: Held parameters, shape (n,); the measurement's by default.
        data: Main and auxiliary data; the observed by default.

    Example:
        >>> import pyhf
        >>> from ddphf.likelihood.reference import ReferenceModel
        >>> spec = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = pyhf.Workspace.build(spec, [60.0] + spec.config.auxdata)
        >>> model = CompiledModel.from_reference(ReferenceModel(dict(workspace)))
        >>> found = propagate(model, model.minimize().parameters, 0)
        >>> [round(float(x), 4) for x in found.rate_variance]  # one bin, one POI: its count
        [60.0]
    """
    table, x = model.parameters, np.asarray(parameters, dtype=float)
    held = table.fixed if fixed is None else np.asarray(fixed, dtype=bool)
    data = model.data if data is None else np.asarray(data, dtype=float)
    free = ~held & (x > table.lower) & (x < table.upper)
    terms = edge_terms(model.codes, model.arrays, model.cells, x, free, data)
    found = _propagate(
        model.codes, model.arrays, model.cells, x, index, held, table.lower, table.upper, *terms
    )
    return Propagation(*map(np.array, found))


@partial(jax.jit, static_argnums=0)
def _propagate(
    codes: Codes,
    arrays: ModelArrays,
    cells: Cells,
    x: Any,
    index: Any,
    fixed: Any,
    lower: Any,
    upper: Any,
    data: Any,
    multiplier: Any,
) -> tuple[Any, Any, Any, Any, Any]:
    point = evaluate(codes, arrays, cells, x, data, multiplier)
    free = free_directions(x, point.gradient, fixed, lower, upper)
    unit = jnp.zeros_like(x).at[index].set(1.0)
    column = solve(point.hessian, cells, unit, free, jnp.zeros(()))

    # Variances: that of the globals with the cells following them, and the cell's own part.
    n_cells, n_local = cells.local.shape
    f_global = free[cells.global_]
    matrix = masked(point.hessian, cells, free, jnp.zeros(()))
    j_global, j_local = point.slope
    followed = jnp.where(f_global, j_global, 0.0).T
    moved = j_global @ column[cells.global_]
    own: Any = 0.0
    if n_local == 0 or n_cells == 0:
        scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(matrix.corner), 1e-300))
        chol = cholesky(matrix.corner * scale[:, None] * scale[None, :])
    else:
        chol, scale, inner, chol_local = factor(matrix)
        # Bins outside all cells have no local slope: it is 0 whatever cell they read.
        cell = jnp.minimum(cells.of_bin, n_cells - 1)
        local = cells.local[cell]
        moved = moved + jnp.sum(j_local * jnp.append(column, 0.0)[local], axis=1)
        j_local = jnp.where(jnp.append(free, False)[local], j_local, 0.0)
        followed = followed - jnp.einsum("blk,bl->kb", inner[cell], j_local)
        own = cho_solve(chol_local[cell], j_local[:, :, None])[:, :, 0]
        own = jnp.sum(own * j_local, axis=1)
    half = solve_lower(chol, followed * scale[:, None])
    inverse = cho_solve(chol, jnp.eye(len(f_global))) * scale[:, None] * scale[None, :]
    block = jnp.where(f_global[:, None] & f_global[None, :], inverse, 0.0)
    return column, point.rate, moved, jnp.sum(half * half, axis=0) + own, block
