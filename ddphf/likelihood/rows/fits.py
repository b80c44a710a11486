"""Fits of rows: projected Newton in the global parameters, all rows in step, each certified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import AnyArray, Array, Float, IntArray, Mask
from ddphf.likelihood.certificate import EDM_ROUNDING, EDM_TOLERANCE, free_directions
from ddphf.likelihood.descent import ENOUGH, QUARTER, SLACK
from ddphf.likelihood.rows.kernel import Sums, definite, derivatives, evaluate
from ddphf.likelihood.rows.model import RowData, RowModel
from ddphf.statistics.tails import CONVERGED_FAST, FAILED

__all__ = ["TOGETHER", "RowFits", "fit_rows"]

TOGETHER = 128
"""Rows in step: their arrays stay in the processor's cache."""

MOST = 1_000_000
"""Numbers of the shifts of rows in step."""

FORESEEN = 1e-9
"""Distance from the minimum in 2NLL from which the last step is taken without a look."""

MAX_STEPS = 60
SHORTEST = 1e-9
"""Part of a step below which it leads nowhere."""


@dataclass(frozen=True)
class RowFits:
    """Fits of many rows.

    Attributes:
        theta: Global parameters, shape (fits, k).
        value: -ln L over its best value term by term, shape (fits,): differences are what counts.
        edm: Estimated distance to the minimum in 2NLL; inf where the Hessian is indefinite.
        errors: Of the global parameters; 0 where held or pushed against a bound.
        status: CONVERGED_FAST or FAILED.
    """

    theta: Float[Array, "fits k"]
    value: Float[Array, "fits"]
    edm: Float[Array, "fits"]
    errors: Float[Array, "fits k"]
    status: AnyArray

    def columns(self) -> tuple[AnyArray, ...]:
        """Return the fields in their order."""
        return self.theta, self.value, self.edm, self.errors, self.status

    @property
    def ok(self) -> Mask:
        """Which are certified."""
        return np.asarray(self.status != FAILED)


def fit_rows(
    model: RowModel,
    data: RowData,
    start: Float[Array, "fits k"],
    held: Mask,
    *,
    row: IntArray | int | None = None,
) -> RowFits:
    """Minimise -ln L of many rows.

    Args:
        model: The rows.
        data: One per fit.
        start: Shape (fits, k); held parameters keep these values.
        held: Shape (fits, k) or (k,).
        row: Row of each fit, or of all; the fits are those of the rows in order by default.

    Returns:
        A fit that fails is a row that says so, never an exception.
    """
    held = np.broadcast_to(held | model.held, start.shape)
    which = np.arange(len(start)) if row is None else np.asarray(row)
    parts = []
    together = max(min(TOGETHER, MOST // max(int(np.prod(model.shifts.up.shape[1:])), 1)), 1)
    for first in range(0, len(start), together):
        some = slice(first, first + together)
        own = model.take(which[some] if which.ndim else which[None])
        parts.append(_fit(own, data.take(some), start[some], held[some]))
    if not parts:
        none = np.zeros((0, start.shape[1]))
        return RowFits(none, none[:, 0], none[:, 0], none, np.zeros(0, dtype=np.int8))
    return RowFits(
        *(np.concatenate(x) for x in zip(*(part.columns() for part in parts), strict=True))
    )


def _shrink(model: RowModel, rows: Mask) -> RowModel:
    return model if len(model) == 1 else model.take(np.flatnonzero(rows))


def _fit(model: RowModel, data: RowData, start: Array, held: Mask) -> RowFits:
    n, k = start.shape
    theta = np.where(held, start, np.clip(start, model.lower, model.upper))
    out = RowFits(
        theta.copy(), np.full(n, np.inf), np.full(n, np.inf), np.zeros((n, k)),
        np.full(n, FAILED, dtype=np.int8),
    )  # fmt: skip
    rows = np.arange(n)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        sums = evaluate(model, data, theta)
        share, last = np.ones(n), np.full(n, np.inf)
        for _ in range(MAX_STEPS):
            step, edm, errors = _newton(model, data, theta, sums, held)
            ended = (edm <= ENOUGH) | ((edm < EDM_ROUNDING) & (edm > QUARTER * last))
            ended |= ~np.isfinite(sums.value) | (share < SHORTEST)
            theta, value, last_step = _last_step(model, theta, sums.value, step, edm)
            sums = sums._replace(value=value)
            ended |= last_step
            for own, values in (
                (out.theta, theta), (out.value, sums.value), (out.edm, edm), (out.errors, errors),
            ):  # fmt: skip
                own[rows[ended]] = values[ended]
            go = ~ended
            if not go.any():
                rows = rows[:0]
                break
            if not go.all():
                model, data, held = _shrink(model, go), data.take(go), held[go]
                rows, theta, sums = rows[go], theta[go], Sums(*(x[go] for x in sums))
                step, last, edm = step[go], last[go], edm[go]
            theta, sums, share = _search(model, data, theta, sums, step)
            last = edm
        if len(rows):
            _, edm, errors = _newton(model, data, theta, sums, held)
            out.theta[rows], out.value[rows] = theta, sums.value
            out.edm[rows], out.errors[rows] = edm, errors
    out.status[out.edm < EDM_TOLERANCE] = CONVERGED_FAST
    return out


def _last_step(
    model: RowModel, theta: Array, value: Array, step: Array, edm: Array
) -> tuple[Array, Array, Mask]:
    """Take steps whose gain is known better than another evaluation would tell.

    Beyond a distance of d in 2NLL Newton's prediction of it is off by about d^1.5.
    """
    ends = theta + step
    inside = np.all(((ends >= model.lower) & (ends <= model.upper)) | (step == 0), axis=1)
    good = (edm > ENOUGH) & (edm < FORESEEN) & inside
    return (
        np.where(good[:, None], ends, theta),
        np.where(good, value - 0.5 * np.where(good, edm, 0.0), value),
        good,
    )


def _newton(
    model: RowModel, data: RowData, theta: Array, sums: Sums, held: Mask
) -> tuple[Array, Array, Array]:
    """Return the step, its EDM and the errors of the parameters."""
    gradient, hessian = derivatives(model, data, theta, sums)
    free = free_directions(theta, gradient, held, model.lower, model.upper)
    gradient = np.where(free, gradient, 0.0)
    inverse, convex = _invert(hessian, free)
    if not convex.all():
        some = ~convex
        own = model if len(model) == 1 else model.take(np.flatnonzero(some))
        safe = definite(own, data.take(some), theta[some])
        other, fine = _invert(safe, free[some])
        inverse[some] = np.where(fine[:, None, None], other, 0.0)
    step: Array = -np.einsum("rkl,rl->rk", inverse, gradient)
    edm = np.where(convex, -np.sum(step * gradient, axis=1), np.inf)
    variance: Array = np.einsum("rkk->rk", inverse)
    return step, edm, np.sqrt(np.where(convex[:, None] & free, variance, 0.0))


def _invert(matrix: Array, free: Mask) -> tuple[Array, Mask]:
    """Return inverses over the free directions, and which matrices are positive definite.

    Gauss-Jordan in place, a pivot after the other: the matrices are small and many.
    """
    k = matrix.shape[1]
    diagonal: Array = np.einsum("rkk->rk", matrix)
    scale = np.where(free & (diagonal > 0), 1.0 / np.sqrt(np.abs(diagonal) + 1e-300), 0.0)
    work = matrix * scale[:, :, None] * scale[:, None, :]
    each = np.arange(k)
    work[:, each, each] = np.where(scale > 0, work[:, each, each], 1.0)
    definite = np.all(~free | (diagonal > 0), axis=1)
    for j in range(k):
        pivot = work[:, j, j].copy()
        good = pivot > 1e-14
        definite &= good
        pivot = np.where(good, pivot, 1.0)
        line = work[:, j, :] / pivot[:, None]
        line[:, j] = 1.0 / pivot
        column = work[:, :, j].copy()
        column[:, j] = 0.0
        work[:, :, j] = 0.0
        work -= column[:, :, None] * line[:, None, :]
        work[:, j, :] = line
    return work * scale[:, :, None] * scale[:, None, :], definite


def _search(
    model: RowModel, data: RowData, theta: Array, sums: Sums, step: Array
) -> tuple[Array, Sums, Array]:
    """Go along the steps, cut at the bounds, as far as -ln L does not rise."""
    share = np.ones(len(theta))
    best, found = theta.copy(), sums
    left = np.arange(len(theta))
    own, some = model, data
    while len(left):
        trial = np.clip(theta[left] + share[left, None] * step[left], model.lower, model.upper)
        # A held value may lie beyond a bound.
        trial = np.where(step[left] == 0, theta[left], trial)
        new = evaluate(own, some, trial)
        before = sums.value[left]
        good = new.value <= before + SLACK * (1.0 + np.abs(before))
        if len(left) == len(theta) and good.all():
            return trial, new, share
        taken = left[good]
        best[taken] = trial[good]
        for old, fresh in zip(found, new, strict=True):
            old[taken] = fresh[good]
        share[left[~good]] *= 0.3
        left = left[~good]
        left = left[share[left] >= SHORTEST]
        own, some = (own if len(own) == 1 else model.take(left)), data.take(left)
    return best, found, share
