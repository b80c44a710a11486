"""Windows, maps and axes of one histogram as records have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array, Spec
from ddphf.inputs.histogram import Axis
from ddphf.search.field import Field
from ddphf.search.local_p import window_p
from ddphf.search.pair import SearchPair
from ddphf.search.scan import Found

__all__ = ["describe_axes", "describe_maps", "describe_window"]

MOST_AXES = 2
"""Histograms of more have no map of their bins: nothing draws one."""


def describe_window(
    pair: SearchPair, field: Field, found: Found, *, deficit: bool | None = None
) -> Spec:
    """Return a window for the record, without its global p-value.

    Args:
        pair: The data.
        field: Of them.
        found: The window.
        deficit: Whether its local p-value is that of a deficit; by default as its sign says.
    """
    low = found.z < 0 if deficit is None else deficit
    window = found.window
    box = window.slices
    inside = np.zeros(pair.shape, dtype=bool)
    inside[box] = True
    count = max(int(np.count_nonzero(field.filled[box])), 1)
    bare = float(field.terms[box].sum()) / math.sqrt(count)
    expected = pair.fakes_tested + pair.ratio * (pair.partner - pair.fakes_partner)
    return {
        "start": list(window.start),
        "size": list(window.size),
        "edges": [
            [float(axis.edges[a]), float(axis.edges[a + k])]
            for axis, a, k in zip(pair.axes, window.start, window.size, strict=True)
        ],
        "tested": float(pair.tested[box].sum()),
        "partner": float(pair.partner[box].sum()),
        "expected": float(expected[box].sum()),
        "n_bins": found.n_bins,
        "variance": found.variance,
        "merged": found.merged,
        "local": {"n_sigma": bare, "z": found.z, **_local_p(pair, field, found, low)},
    }


def _local_p(pair: SearchPair, field: Field, found: Found, deficit: bool) -> Spec:
    """Return the local p-value of a window on one side: by the law of counts where they are."""
    sign = -1.0 if deficit else 1.0
    if pair.weighted or field.first_fraction() is not None:
        p = float(norm.sf(sign * found.z)) or None
        return {"p": p, "z_exact": None, "method": "gaussian"}
    exact = window_p(field, found.window, deficit=deficit)
    z = None if exact.z is None else sign * exact.z
    return {"p": exact.p, "z_exact": z, "method": exact.method}


def describe_maps(field: Field) -> Spec | None:
    """Return Z of each bin, as it is and with the nuisances profiled; None where empty.

    Of more than two axes nothing.
    """
    if len(field.shape) > MOST_AXES:
        return None
    lost = np.einsum("ij,jk,ik->i", field.profile.pulls, field.profile.inverse, field.profile.pulls)
    left = 1 - lost.reshape(field.shape)
    good = field.filled & (left > 1e-6)
    profiled = np.where(good, field.profiled / np.sqrt(np.where(good, left, 1.0)), np.nan)
    return {
        "z": _holes(np.where(field.filled, field.terms, np.nan)),
        "profiled": _holes(profiled),
    }


def _holes(values: Array) -> list[float | None]:
    return [None if math.isnan(x) else float(x) for x in values.ravel()]


def describe_axes(axes: Sequence[Axis]) -> tuple[Spec, ...]:
    """Return axes as records have them."""
    return tuple(
        {
            "name": axis.name,
            "label": axis.label or axis.name,
            "unit": axis.unit,
            "edges": [float(x) for x in axis.edges],
        }
        for axis in axes
    )
