"""Bins of one input as correctionlib finds them: even and uneven edges, and what lies beyond."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.inputs.look_up import OUTSIDE

__all__ = ["edge_points", "find_bin", "meet", "to_edges"]


def to_edges(edges: Any) -> Any:
    """Return the edges of a node as numbers: an array, or (n, low, high) of a uniform binning."""
    if hasattr(edges, "n"):
        return (int(edges.n), float(edges.low), float(edges.high))
    return np.array([float(x) for x in edges])  # "inf" and "-inf" are words of the schema


def edge_points(edges: Any) -> Array:
    """Return every edge, shape (n + 1,), of what :func:`to_edges` gives."""
    return np.linspace(edges[1], edges[2], edges[0] + 1) if isinstance(edges, tuple) else edges


def meet(outer: tuple[float, float] | None, inner: tuple[float, float]) -> tuple[float, float]:
    """Return what two bins of one input share; the inner one where only a clamp leads to it."""
    if outer is None:
        return inner
    low, high = max(outer[0], inner[0]), min(outer[1], inner[1])
    return (low, high) if low < high else inner


def find_bin(values: Array, edges: Any, flow: Any) -> IntArray:
    """Return the bin of every value, -1 beyond the edges unless the flow leads back inside.

    Args:
        values: Shape (n,).
        edges: Of :func:`to_edges`.
        flow: ``"clamp"``, ``"wrap"``; anything else leaves values beyond the edges outside.

    Example:
        >>> find_bin(np.array([-1.0, 0.5, 7.0]), np.array([0.0, 1.0, 2.0]), "clamp").tolist()
        [0, 0, 1]
        >>> find_bin(np.array([-1.0, 0.5, 7.0]), (2, 0.0, 2.0), "wrap").tolist()
        [1, 0, 1]
    """
    if isinstance(edges, tuple):
        n, low, high = edges
    else:
        n, low, high = len(edges) - 1, float(edges[0]), float(edges[-1])
    beyond = (values < low) | (values >= high)
    with np.errstate(all="ignore"):  # infinite edges and values
        part = (values - low) / (high - low)
        if isinstance(flow, str) and flow == "wrap":
            part = part - np.floor(part)
            beyond = ~((part >= 0) & (part < 1))
            values = low + part * (high - low)
        if isinstance(edges, tuple):
            place = np.floor(np.where(beyond, 0.0, n * part)).astype(np.int64)
        else:
            place = np.searchsorted(edges, values, side="right") - 1
    place = np.clip(place, 0, n - 1)
    if isinstance(flow, str) and flow == "clamp":
        return np.where(values < low, 0, np.where(values >= high, n - 1, place))
    return np.where(beyond, OUTSIDE, place)
