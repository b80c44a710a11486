"""Figures of what was learned, from its record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2

from ddphf.figures.style import BLUE, FONT, GREY, ORANGE
from ddphf.results.learn import describe_p

__all__ = ["draw_learned", "draw_learned_null"]

Record = Mapping[str, Any]


def draw_learned(record: Record) -> dict[str, Figure | None]:
    """Return every figure of a record by the name of its file; None where there is none."""
    return {"learn_null": draw_learned_null(record)}


def draw_learned_null(record: Record) -> Figure | None:
    """Draw the statistic in the redraws with the data's, beside chi2 of 12 degrees of freedom.

    Returns:
        None where the record has no redraws.
    """
    histogram = (record.get("null") or {}).get("histogram")
    if not histogram or record["t"] is None:
        return None
    edges, counts = (np.asarray(histogram[key], dtype=float) for key in ("edges", "counts"))
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.0, 3.8), layout="constrained")
        panel = figure.subplots()
        panel.stairs(counts, edges, fill=True, color=BLUE, alpha=0.5, label="redraws of the labels")
        high = max(float(edges[-1]), float(record["t"]))
        if record["statistic"] in ("network", "nplm"):
            x = np.linspace(0.0, high, 200)
            scale = counts.sum() * (edges[1] - edges[0])
            panel.plot(x, scale * chi2(12).pdf(x), color=GREY, lw=1, label="chi2, 12 d.o.f.")
        panel.axvline(float(record["t"]), color=ORANGE, lw=2, label="data")
        panel.set_xlabel(f"t ({record['statistic']})")
        panel.set_ylabel("redraws")
        panel.legend(frameon=False, fontsize=8)
        panel.set_title(describe_p(dict(record)), loc="left", fontsize=9)
    return figure
