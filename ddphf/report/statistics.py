"""Null distribution and upper limit, from their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.report.figures import BLUE, FONT, GREEN, ORANGE

__all__ = ["bin_toys", "draw_limit", "draw_null"]


def bin_toys(z0: Array, observed: float | None) -> tuple[Array, Array]:
    """Return edges and counts of the finite significances, wide enough for the observed one.

    Args:
        z0: Signed significances, NaN where a toy failed.
        observed: That of the data.

    Example:
        >>> edges, counts = bin_toys(np.array([-1.0, 0.2, np.nan]), 4.2)
        >>> float(edges[-1]), int(counts.sum())
        (5.0, 2)
    """
    finite = z0[np.isfinite(z0)]
    reach = max([4.0, *np.abs(finite), *([] if observed is None else [abs(observed)])])
    reach = float(np.ceil(min(reach, 40.0) + 0.1))
    counts, edges = np.histogram(finite, np.linspace(-reach, reach, int(10 * reach) + 1))
    return edges, counts.astype(float)


def draw_null(edges: Sequence[float], counts: Sequence[float], observed: float | None) -> Figure:
    """Draw toys of the null against the standard normal, with the observed significance.

    Args:
        edges: Of the histogram of signed Z.
        counts: Toys per bin.
        observed: Z of the data, None where it is not known.
    """
    ends, values = np.asarray(edges, dtype=float), np.asarray(counts, dtype=float)
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.0, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.stairs(values, ends, fill=True, color=BLUE, alpha=0.6, lw=0, label="toys of the null")
        reach = max(abs(ends[0]), abs(ends[-1]), abs(observed or 0.0) + 0.5)
        x = np.linspace(-reach, reach, 400)
        # Expected per bin, from the number of toys and the bin width.
        height = float(values.sum()) * float(np.median(np.diff(ends))) / np.sqrt(2 * np.pi)
        axes.plot(x, height * np.exp(-(x**2) / 2), "k-", lw=0.9, label="standard normal")
        if observed is not None:
            axes.axvline(observed, color=ORANGE, lw=1.5, label=f"observed, Z = {observed:.2f}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0.5, 4 * max(float(values.max(initial=1.0)), 1.0))
        axes.set_xlim(-reach, reach)
        axes.set_xlabel("signed significance Z")
        axes.set_ylabel("toys / bin")
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def draw_limit(scan: Mapping[str, Any], level: float, poi: str) -> Figure:
    """Draw CLs against the signal strength, observed and expected with its bands.

    Args:
        scan: ``mu``, ``observed`` and ``expected`` (five curves, -2 to +2 sigma).
        level: Confidence level.
        poi: Name of the signal strength.
    """
    mu = np.asarray(scan["mu"], dtype=float)
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        axes = figure.subplots()
        if scan.get("expected"):
            bands = _holes(scan["expected"])
            for low, high, alpha, label in ((0, 4, 0.25, "2 sigma"), (1, 3, 0.5, "1 sigma")):
                axes.fill_between(mu, bands[low], bands[high], color=GREEN, alpha=alpha, lw=0,
                                  label=f"expected, {label}")  # fmt: skip
            axes.plot(mu, bands[2], "k--", lw=0.9, label="expected")
        axes.plot(mu, _holes(scan["observed"]), "k.-", ms=4, lw=1.0, label="observed")
        axes.axhline(1 - level, color=ORANGE, lw=1.0, label=f"{1 - level:g}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(1e-3, 1.3)
        axes.set_xlabel(f"signal strength {poi}")
        axes.set_ylabel("CLs")
        axes.legend(fontsize=7, frameon=False)
    return figure


def _holes(values: Any) -> Array:
    """Return numbers with NaN where there is none."""
    return np.array(values, dtype=float)  # None becomes NaN
