"""How smooth a background may be: strengths of the penalty, by the freedom that each leaves."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.binning import Binning
from ddphf.bumps.links import LOGARITHMIC

__all__ = ["FREEDOMS", "penalty_strengths"]

FREEDOMS = (0.1, 0.7, 2.0, 4.0, 7.0)
"""Degrees of freedom beyond those of a quadratic."""

WINDOW = 5
"""Bins that are averaged for a first idea of the errors."""


def penalty_strengths(binning: Binning, counts: Array) -> Array:
    """Return the strengths that leave each of :data:`FREEDOMS`, with errors from averaged counts.

    Args:
        binning: Of n bins.
        counts: Shape (H, n).

    Returns:
        Of each design, shape (G, H, freedoms).
    """
    half = WINDOW // 2
    density = np.pad(counts / binning.exposure, ((0, 0), (half, half)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(density, WINDOW, axis=1).mean(axis=2)
    smooth = (smooth + 1 / WINDOW) * binning.exposure
    directions, _ = binning.rough
    wanted = np.array(FREEDOMS)
    out = np.empty((len(binning.designs), len(counts), len(wanted)))
    for g, design in enumerate(binning.designs):
        weight = smooth if design.link == LOGARITHMIC else 1 / smooth
        free, bent = design.columns @ design.free, design.columns @ directions
        both = np.hstack([free, bent])
        full = np.swapaxes(both[None] * weight[..., None], 1, 2) @ both
        k = free.shape[1]
        cross = full[:, :k, k:]
        schur = full[:, k:, k:] - np.swapaxes(cross, 1, 2) @ np.linalg.solve(full[:, :k, :k], cross)
        values = np.maximum(np.linalg.eigvalsh(schur), 0.0)[..., None]
        top = np.log(np.maximum(values.max(axis=1), 1e-200))
        low, high = top - 30.0 + 0 * wanted, top + 15.0 + 0 * wanted
        for _ in range(40):
            middle = (low + high) / 2
            left = np.sum(values / (values + np.exp(middle)[:, None]), axis=1)
            low, high = np.where(left > wanted, middle, low), np.where(left > wanted, high, middle)
        out[g] = np.exp((low + high) / 2)
    return out
