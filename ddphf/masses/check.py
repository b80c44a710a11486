"""pyhf's own word on some hypotheses: its 2NLL at the points that rows have found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.exceptions import FitError
from ddphf.likelihood.certificate import EDM_TOLERANCE, compare_values
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.rows.fits import RowFits
from ddphf.likelihood.rows.model import RowData
from ddphf.masses.engine import ScanEngine

__all__ = ["check_by_pyhf", "point_of"]

CHECKED = 3
"""Hypotheses that pyhf evaluates once more: the first, the last and the best."""


def check_by_pyhf(engine: ScanEngine, free: RowFits, null: RowFits, q0: Array) -> Spec:
    """Compare 2NLL(0) - 2NLL(free) of some hypotheses with pyhf's, and return both.

    Raises:
        FitError: They differ.
    """
    usable = np.flatnonzero(np.isfinite(q0) & free.ok & null.ok)
    if not len(usable):
        return {"hypotheses": [], "largest_difference": None}
    best = int(usable[np.argmax(q0[usable])])
    chosen = sorted({int(usable[0]), int(usable[-1]), best})[:CHECKED]
    largest = 0.0
    for index in chosen:
        reference = ReferenceModel(engine.scan.workspace(index))
        values = [
            reference.twice_nll(
                point_of(engine, reference, fits, index, dark=dark), backend="numpy"
            )
            for fits, dark in ((free, False), (null, True))
        ]
        by_rows = 2.0 * float(null.value[index] - free.value[index])
        by_pyhf = values[1] - values[0]
        try:
            compare_values(reference, by_rows, by_pyhf, "pyhf", EDM_TOLERANCE)
        except FitError as error:
            raise FitError(f"hypothesis {index}: {error}") from None
        largest = max(largest, abs(by_rows - by_pyhf))
    return {"hypotheses": chosen, "largest_difference": largest}


def point_of(
    engine: ScanEngine, reference: ReferenceModel, fits: RowFits, index: int, *, dark: bool,
    places: Mapping[str, int] | None = None,
) -> Array:  # fmt: skip
    """Return all parameters of a row's fit in pyhf's order.

    Args:
        engine: The scan's.
        reference: Of the hypothesis's workspace.
        fits: Of all hypotheses.
        index: Of the hypothesis.
        dark: Whether the signal was held at 0.
        places: First bin of the row that errors of bins of a name belong to; 0 where None.
    """
    model, table = engine.model, reference.parameters
    data = model.observed.take(slice(index, index + 1))
    if dark:
        counts = np.where(engine.signal_only[index], 0.0, data.counts)
        data = RowData(counts, data.centre, data.local)
    _, gamma = engine.expected(fits.theta[index : index + 1], data, index)
    live = np.flatnonzero(engine.scan.live[index])
    out = table.init.copy()
    for i, name in enumerate(table.names):
        if name in model.names:
            out[i] = fits.theta[index, model.names.index(name)]
        elif not table.fixed[i]:
            base, _, number = name.rpartition("[")
            out[i] = gamma[0, live[(places or {}).get(base, 0) + int(number[:-1])]]
    return out
