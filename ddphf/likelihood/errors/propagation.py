r"""First-order propagation at a minimum: how parameters and rates move together.

With covariance C = H^-1 (cells eliminated, not held) and J the derivatives of the rates,
:math:`C e_p` is the covariance of every parameter with parameter p, :math:`J C e_p` that of every
rate, and :math:`(J C J^T)_{ii}` the variance of rate i. A shift of count i by dn moves parameter p
by :math:`(J C e_p)_i \, dn / \lambda_i`, because the score of count i is :math:`J_i / \lambda_i`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct.newton import look
from ddphf.likelihood.errors.edges import edge_terms

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
    model: CompiledModel, parameters: Array, index: int, *, fixed: Mask | None = None
) -> Propagation:
    """Propagate the inverse Hessian at a minimum.

    Args:
        model: The model.
        parameters: The minimum, shape (n,).
        index: The chosen parameter.
        fixed: Held parameters, shape (n,); the measurement's by default.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> from ddphf.likelihood.fits import minimize
        >>> model = CompiledModel.from_reference(one_bin())
        >>> found = propagate(model, minimize(model).parameters, 0)
        >>> [round(float(x), 4) for x in found.rate_variance]  # one bin, one POI: its count
        [60.0]
    """
    problem, x = model.problem(fixed=fixed), np.asarray(parameters, dtype=float)
    n = len(x)
    inside = ~problem.fixed & (x > problem.lower) & (x < problem.upper)
    terms = edge_terms(model.direct, x, inside, problem.data)
    local = look(problem._replace(data=terms.data), x, terms.multiplier)
    found, split, rates = local.curvature, model.direct.split, local.at.rate
    if local.factored is None:
        k = len(split.global_)
        unknown = [np.full(shape, np.nan) for shape in (n, len(rates), len(rates), (k, k))]
        return Propagation(unknown[0], rates, *unknown[1:])
    column = local.factored.solve(np.eye(1, n, index)[0])

    # Variances: that of the globals with the cells following them, and the cell's own part.
    followed = np.where(local.free[split.global_], found.j_global, 0.0)
    moved = found.j_global @ column[split.global_]
    own = np.zeros(len(rates))
    if split.local.size:
        # Bins outside all cells have no local slope: it is 0 whatever cell they read.
        cell = np.minimum(split.of_bin, len(split.local) - 1)
        locals_ = split.local[cell]
        moved = moved + np.sum(found.j_local * np.append(column, 0.0)[locals_], axis=1)
        j_local = np.where(np.append(local.free, False)[locals_], found.j_local, 0.0)
        followed = followed - (j_local[:, None, :] @ local.factored.inner[cell])[:, 0]
        own = np.einsum("bl,blm,bm->b", j_local, local.factored.inverse_blocks[cell], j_local)
    block = local.factored.block
    variance = np.sum((followed @ block) * followed, axis=1) + own
    return Propagation(column, rates, moved, variance, block)
