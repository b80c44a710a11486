"""Many refits of one model in batches, each certified; those that fail are data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ddphf.likelihood.batch import BLOCK, minimize_batch
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.minimum import Array, Mask

__all__ = ["Counter", "Refits", "refit_all"]

Counter = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Refits:
    """Refits in the order of the input.

    Attributes:
        points: Shape (n, parameters); NaN where failed.
        twice_nll: Shape (n,); NaN where failed.
        reasons: Per failed item, why, as a sentence.
    """

    points: Array
    twice_nll: Array
    reasons: dict[int, str]


def refit_all(
    model: CompiledModel,
    *,
    start: Array,
    fixed: Mask,
    data: Array | None = None,
    progress: Counter | None = None,
) -> Refits:
    """Fit many data sets, starting points and sets of held parameters.

    Args:
        model: The model.
        start: Shape (n, parameters): starting points, with the values of held parameters.
        fixed: Held parameters, shape (n, parameters) or (parameters,).
        data: Shape (n, n_main + n_aux) or (n_main + n_aux,); the observed by default.
        progress: Called with (done, n).

    Example:
        >>> import pyhf
        >>> from ddphf.likelihood.reference import ReferenceModel
        >>> spec = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = pyhf.Workspace.build(spec, [60.0] + spec.config.auxdata)
        >>> model = CompiledModel.from_reference(ReferenceModel(dict(workspace)))
        >>> start = np.array([[2.0, 0.9], [2.0, 1.1]])
        >>> found = refit_all(model, start=start, fixed=np.array([False, True]))
        >>> [round(float(x), 6) for x in found.points[:, 0]]
        [3.0, 1.0]
    """
    n = len(start)
    held = np.broadcast_to(fixed, start.shape)
    sets = np.broadcast_to(model.data if data is None else data, (n, len(model.data)))
    # The pair's batch needs one set of held cells; rows of other sets go to the general Newton,
    # which takes any.
    local = np.ones(len(model.parameters.names), dtype=bool)
    local[np.asarray(model.cells.global_)] = False
    other = np.any(held[:, local] != held[0, local], axis=1)
    other |= np.any((start[:, local] != start[0, local]) & held[:, local], axis=1)
    parts = [(model, np.flatnonzero(~other)), (replace(model, pair=None), np.flatnonzero(other))]
    out = Refits(np.full(start.shape, np.nan), np.full(n, np.nan), {})
    done = 0
    for using, rows in parts:
        for first in range(0, len(rows), BLOCK):
            some = rows[first : first + BLOCK]
            found = minimize_batch(using, sets[some], start=start[some], fixed=held[some])
            out.points[some], out.twice_nll[some] = found.points, found.twice_nll
            for j, reason in found.reasons.items():
                row = int(some[j])
                # Bins at rate 0 are known to the pair's own fit alone.
                again = None if using is model else model.minimize(
                    data=sets[row], start=start[row], fixed=held[row]
                )  # fmt: skip
                if again is not None and again.converged:
                    out.points[row], out.twice_nll[row] = again.parameters, again.twice_nll
                else:
                    out.reasons[row] = reason
            done += len(some)
            if progress is not None:
                progress(done, n)
    return out
