"""Cheap steps towards minima near a known one: its factorised Hessian serves many fits.

A gradient of many points costs a fraction of one Hessian. Where the steps converge they save all
Newton steps but the last, whose exact Hessian is the certificate; where they do not, a fit begins
at its own start as if nothing had been tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.likelihood.direct.newton import ENOUGH, Problem, is_physical, look

__all__ = ["approach"]


MAX_STEPS = 20
NEAR = 1e-4
"""A point of this EDM is kept, should the steps to it get no further."""
CONTRACTION = 0.5
"""Largest ratio of the EDMs of two steps that counts as convergence."""


def approach(problems: Sequence[Problem], starts: Array, near: Array) -> Array:
    """Return starts that are nearer to the minima.

    Args:
        problems: Shape (m,): of one model; each holds the parameters that all hold, and at most
            one more. Others stay where they are.
        starts: Shape (m, n).
        near: A minimum with nothing but the common parameters held, shape (n,).
    """
    fixed = np.stack([problem.fixed for problem in problems])
    data = np.stack([problem.data for problem in problems])
    common: Mask = np.all(fixed, axis=0)
    model, _, _, lower, upper = problems[0]
    extra = fixed & ~common
    metric = look(problems[0]._replace(fixed=common), near).factored
    out, rows = starts.copy(), np.flatnonzero(extra.sum(axis=1) <= 1)
    if metric is None:
        return out
    # To hold one parameter more is to project its column of the inverse out.
    which = {int(p): i for i, p in enumerate(np.flatnonzero(extra.any(axis=0)))}
    columns = metric.solve(np.eye(model.n)[list(which)])
    held = np.where(extra.any(axis=1), extra.argmax(axis=1), -1)

    x = np.where(fixed, starts, np.clip(starts, lower, upper))[rows]
    last = np.full(len(rows), np.inf)
    for _ in range(MAX_STEPS):
        with np.errstate(invalid="ignore", over="ignore"):  # a step may lead far out
            at = model.evaluate(x, data[rows])
            gradient = np.where(fixed[rows], 0.0, at.gradient)
            step = metric.solve(gradient)
            for i in np.flatnonzero(held[rows] >= 0):
                p = int(held[rows[i]])
                column = columns[which[p]]
                if column[p] > 0:
                    step[i] -= column * (step[i, p] / column[p])
            edm = np.abs(np.sum(step * gradient, axis=1))
        counts = data[rows, : model.n_bins]
        inside = np.all(((x > lower) & (x < upper)) | ~metric.free | fixed[rows], axis=1)
        well = is_physical(at.rate, counts) & inside & (edm <= CONTRACTION * last)
        done = well & (edm < ENOUGH)
        kept = well & (edm < NEAR)
        out[rows[kept]] = x[kept]
        going = well & ~done
        rows, last = rows[going], edm[going]
        if not len(rows):
            break
        x = np.where(fixed[rows], x[going], x[going] - step[going])
    return out
