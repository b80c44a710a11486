"""Variables of the events: transformed, and refused where nothing can be learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from ddphf.arrays import Array, IntArray
from ddphf.config.learn import LearnConfig, VariableConfig
from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.symmetry.expressions import evaluate

__all__ = ["far_events", "make_points", "resolutions", "transform_values"]

TIED = 10
"""Events per distinct value from which on values are rounded, and say so or are refused."""

TINIEST = 1e-140
"""Of a standard deviation: its square, and those of distances in its units, are numbers."""

NEAR_TOGETHER = 0.1
"""Part of its range in which 98 % of the events shall not lie: 5 of the 50 cells of a scan."""


def make_points(table: EventTable, variables: Sequence[VariableConfig], rows: IntArray) -> Array:
    """Return the transformed variables of some rows, (n, d).

    Raises:
        InputError: A value that is no number or has no logarithm, a variable with one value for all
            events, or one with few distinct values and no resolution.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> table = make_events({"m": [1.0, 10.0, 100.0]})
        >>> make_points(table, [VariableConfig("m", "rank")], np.arange(3)).ravel().tolist()
        [0.16666666666666666, 0.5, 0.8333333333333334]
    """
    columns = []
    for variable in variables:
        values = np.asarray(evaluate(variable.column, table), dtype=float)[rows]
        where = f"learn: variable '{variable.column}'"
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(
                f"{where} is {values[bad[0]]:g} for {bad.size} of {len(values)} events; drop them "
                "with 'events.select', from both samples alike"
            )
        if np.ptp(values) <= 0:
            raise InputError(f"{where} is {values[0]:g} for every event; leave it out")
        with np.errstate(over="ignore", under="ignore"):
            spread = float(np.std(values))
        if not TINIEST < spread < 1 / TINIEST:
            raise InputError(
                f"{where} has values from {values.min():g} to {values.max():g}, whose squares are "
                "beyond the numbers of a computer; write it in another unit"
            )
        if variable.resolution is not None and np.ptp(values) < 0.999 * variable.resolution:
            raise InputError(
                f"{where} has values from {values.min():g} to {values.max():g}, all within its "
                f"'resolution' of {variable.resolution:g}; state what values are rounded to, or "
                "leave the variable out"
            )
        distinct = len(np.unique(values))
        if distinct * TIED < len(values) and variable.resolution is None:
            raise InputError(
                f"{where} has {distinct} distinct values in {len(values)} events: they are rounded "
                "or whole numbers; state to what with 'resolution', so that no window and no "
                "kernel is finer"
            )
        if variable.transform == "log":
            low = values.min()
            if low <= 0:
                raise InputError(
                    f"{where} is {low:g} for {np.sum(values <= 0)} events, which have no "
                    "logarithm; take 'transform: rank', or drop them with 'events.select'"
                )
        columns.append(transform_values(values, variable.transform))
    return np.stack(columns, axis=1)


def transform_values(values: Array, kind: Literal["log", "rank"] | None) -> Array:
    """Return the values of a variable as the test sees them, (n,).

    Example:
        >>> transform_values(np.array([5.0, 7.0]), "rank").tolist()
        [0.25, 0.75]
    """
    if kind == "log":
        return np.asarray(np.log(values))
    if kind == "rank":
        return np.asarray((rankdata(values) - 0.5) / len(values))
    return values


def far_events(config: LearnConfig, points: Array) -> list[str]:
    """Return warnings of variables whose range is that of few events far away.

    Windows and bells are made for the whole range; few of them are then where the events are.

    Example:
        >>> config = LearnConfig((VariableConfig("m"),))
        >>> far_events(config, np.append(np.linspace(0, 1, 999), 1e6)[:, None])[0][:48]
        "98 % of the events have 'm' within 9.8e-05 % of "
    """
    out = []
    for variable, x in zip(config.variables, points.T, strict=True):
        low, high = np.quantile(x, [0.01, 0.99])
        part = float((high - low) / np.ptp(x))
        if part < NEAR_TOGETHER:
            out.append(
                f"98 % of the events have '{variable.column}' within {100 * part:.2g} % of its "
                "range: windows and bells span all of it and see little where the events are; drop "
                "what lies far away with 'events.select', or take 'transform: rank'"
            )
    return out


def resolutions(variables: Sequence[VariableConfig]) -> Array:
    """Return the resolution of each variable, 0 where none is stated, (d,)."""
    return np.array([v.resolution if v.resolution is not None else 0.0 for v in variables])
