"""Fits of many data sets or many held values: one compilation, bounded memory, failures as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ddphf.arrays import Array, Mask, for_programs
from ddphf.compute.chunks import chunks_of
from ddphf.exceptions import ModelError
from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.direct import newton as direct
from ddphf.likelihood.direct.approach import approach
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.general import newton
from ddphf.likelihood.general.likelihood import logpdf
from ddphf.likelihood.paired.newton import CELL_BOUNDS, minimize_profiles
from ddphf.statistics.tails import CAREFUL, CONVERGED_FAST, FAILED

__all__ = ["STATUS_TEXT", "BatchResult", "minimize_batch"]

STATUS_TEXT = {
    CONVERGED_FAST: "converged",
    CAREFUL: "converged on the careful path, after the fast one was not certified",
    FAILED: "not certified, also not on the careful path",
}
BLOCK = 64
"""Fits per compiled call. The state of a 28x28 pair with 60 nuisances is about 1 MB per fit."""

MANY = 24
"""From so many parameters on a general model is fitted in numpy: a compiled batch takes as many
steps as its slowest fit, each with a Hessian, while numpy shares one Hessian among all."""

_logpdfs = jax.jit(jax.vmap(logpdf, in_axes=(None, None, 0, 0)), static_argnums=0)


@dataclass(frozen=True)
class BatchResult:
    """Many fits, in the order of the input.

    Attributes:
        names: Names of the global parameters, k of them.
        parameters: Shape (n, k); NaN where failed.
        points: Shape (n, parameters): all parameters, in the model's order; NaN where failed.
        errors: Shape (n, k), from the Hessian with the cells eliminated: 0 where held or at a
            bound, NaN where failed.
        twice_nll: Shape (n,), constants included; NaN where failed.
        edm: Shape (n,).
        status: Shape (n,): a key of :data:`STATUS_TEXT`.
        reasons: Per failed item, why, as a sentence.
    """

    names: tuple[str, ...]
    parameters: Array
    points: Array
    errors: Array
    twice_nll: Array
    edm: Array
    status: np.ndarray[Any, np.dtype[np.int8]]
    reasons: dict[int, str]

    @property
    def n_failed(self) -> int:
        """Number of items without a certificate."""
        return int(np.sum(self.status == FAILED))


def minimize_batch(
    model: CompiledModel,
    data: Array | None = None,
    *,
    start: Array | None = None,
    fixed: Mask | None = None,
    values: Array | None = None,
    block: int = BLOCK,
    errors: bool = True,
) -> BatchResult:
    """Fit many data sets, or one at many held values, or both.

    Args:
        model: The model.
        data: Shape (n, n_main + n_aux) or (n_main + n_aux,); the observed by default.
        start: Starting points, shape (n, parameters) or (parameters,).
        fixed: Held parameters, shape (n, parameters) or (parameters,); the measurement's by
            default.
        values: Values of held parameters, shape (n, parameters) or (parameters,); ``start`` by
            default.
        block: Fits per compiled call; memory grows with it.
        errors: Whether errors are wanted; NaN else, where leaving them out saves time.

    Returns:
        One row per item. An item that fails is a row with its reason, never an exception.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin())
        >>> data = np.stack([model.data, model.data + [5.0, 0.0]])
        >>> [round(float(x), 4) for x in minimize_batch(model, data).parameters[:, 0]]
        [2.0, 3.0]
    """
    table = model.parameters
    data = np.atleast_2d(model.data if data is None else np.asarray(data, dtype=float))
    held = np.atleast_2d(np.asarray(table.fixed if fixed is None else fixed, dtype=bool))
    begin = np.atleast_2d(np.asarray(table.init if start is None else start, dtype=float))
    wanted = begin if values is None else np.atleast_2d(np.asarray(values, dtype=float))
    n = max(len(data), len(held), len(begin), len(wanted))
    for name, array, width in (
        ("data", data, len(model.data)),
        ("fixed", held, len(table.names)),
        ("start", begin, len(table.names)),
        ("values", wanted, len(table.names)),
    ):
        if array.shape[1] != width or len(array) not in (1, n):
            raise ModelError(f"{name}: shape {array.shape}, expected ({n}, {width})")
    points = np.where(held, wanted, begin)
    names = model.global_names()
    where = np.asarray(model.cells.global_)
    out = BatchResult(
        names=tuple(names),
        parameters=np.full((n, len(names)), np.nan),
        points=np.full((n, len(table.names)), np.nan),
        errors=np.full((n, len(names)), np.nan),
        twice_nll=np.full(n, np.nan),
        edm=np.full(n, np.inf),
        status=np.full(n, FAILED, dtype=np.int8),
        reasons={},
    )
    in_numpy = model.pair is None and len(table.names) >= MANY
    for rows in chunks_of(n, block):
        # The last block is padded with its first row: one shape, one compilation.
        padding = 0 if in_numpy else block - len(rows)
        padded = np.concatenate([rows, np.full(padding, rows[0])])
        some, x, masks = (
            array[padded if len(array) > 1 else np.zeros(len(padded), int)]
            for array in (data, points, held)
        )
        if in_numpy:
            done, edm, found, widths = _fit_in_numpy(model, some, x, masks, errors)
            value = model.direct.twice_nll(found, some)
        else:
            done, edm, found, widths = _fit_rows(model, some, x, masks)
            value = -2.0 * np.asarray(_logpdfs(model.codes, model.on_device[0], found, some))
        good = np.flatnonzero(done[: len(rows)])
        out.points[rows[good]], out.parameters[rows[good]] = found[good], found[good][:, where]
        out.twice_nll[rows[good]], out.edm[rows[good]] = value[good], edm[good]
        if errors:  # a direction without curvature has none
            out.errors[rows[good]] = np.nan_to_num(widths[good][:, where], posinf=0.0)
        out.status[rows[good]] = CONVERGED_FAST
        for j in np.flatnonzero(~done[: len(rows)]):
            row = rows[j]
            minimum = minimize(model, data=some[j], start=x[j], fixed=masks[j])
            out.edm[row] = minimum.edm
            if minimum.converged:
                out.points[row] = minimum.parameters
                out.parameters[row] = minimum.parameters[where]
                if errors:
                    out.errors[row] = minimum.errors[where]
                out.twice_nll[row], out.status[row] = minimum.twice_nll, CAREFUL
            else:
                out.reasons[int(row)] = minimum.status
    return out


def _fit_in_numpy(
    model: CompiledModel, data: Array, x: Array, held: Mask, errors: bool
) -> tuple[Mask, Array, Array, Array]:
    """Return (certified, EDM, parameters, errors) of one block, the first fit's Hessian shared."""
    problems = [model.problem(*row) for row in zip(data, held, strict=True)]
    first = minimize(model, data=data[0], start=x[0], fixed=held[0])
    if first.converged:
        x = approach(problems, x, first.parameters, data[0])
    fits = list(direct.minimize_many(problems, x, errors=errors))
    edm = np.array([fit.edm for fit in fits])
    done = (edm < EDM_TOLERANCE) & np.array([fit.physical for fit in fits])
    return done, edm, np.stack([f.parameters for f in fits]), np.stack([f.errors for f in fits])


def _fit_rows(
    model: CompiledModel, data: Array, x: Array, held: Mask
) -> tuple[Mask, Array, Array, Array]:
    """Return (certified, EDM, parameters, errors) of one block; errors of the global ones only."""
    table, n = model.parameters, len(data)
    pair = model.pair

    def rows(value: Any) -> Any:
        return np.broadcast_to(value, (n, *np.shape(value)))

    if pair is None:
        problem = Problem.of(
            model.on_device, for_programs(data), held, rows(table.lower), rows(table.upper)
        )
        result = newton.minimize_general_batch(model.codes, problem, x)
        edm = np.asarray(result.edm)
        done = (edm < EDM_TOLERANCE) & np.asarray(result.physical)
        return done, edm, np.asarray(result.parameters), np.asarray(result.errors)
    where = pair.places.global_
    # Items often hold the same cells' parameters, at the same values: that of the measurement.
    local = np.delete(np.arange(len(table.names)), where)
    cells = np.where(held[:, local], x[:, local], np.inf)
    differ = bool(np.any(cells != cells[0]))
    bounds = [
        [getattr(own, name) for name in CELL_BOUNDS]
        for own in (pair.held(x[j], held[j]) for j in (range(n) if differ else (0,)))
    ]
    pieces = pair.split(data)
    limits = rows(pair.arrays.lower), rows(pair.arrays.upper)
    fit = minimize_profiles(
        pair.structure, Problem.of(pair.arrays, pieces, held[:, where], *limits), x[:, where],
        jax.tree.map(lambda *a: np.stack(a) if differ else rows(a[0]), *bounds),
    )  # fmt: skip
    fits = jax.tree.map(np.asarray, fit)
    poi_free = pair.poi is not None and ~held[:, where][:, pair.poi]
    # Corners need the slopes on both sides, which the careful path takes.
    empty = np.any((pieces.n[0] == 0) & (pieces.n[1] == 0), axis=-1) & poi_free
    done = (fits.edm < EDM_TOLERANCE) & ~empty
    sure = np.flatnonzero(done)
    certified = jax.tree.map(lambda leaf: leaf[sure], fits)
    found, errors = x.copy(), np.zeros_like(x)
    found[sure], _ = pair.parameters(certified, x[sure], held[sure])
    errors[np.ix_(sure, where)] = pair.errors(certified, held[sure])
    return done, fits.edm, found, errors
