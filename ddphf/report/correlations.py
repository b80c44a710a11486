"""Heat map of a correlation study."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.report.figures import FONT
from ddphf.studies.correlations import CorrelationResult

__all__ = ["draw_widths"]


def draw_widths(result: CorrelationResult) -> Figure:
    """Draw the pull widths: rows the truth, columns the model; toys beside the closed form."""
    tables = [("closed form", result.closed)]
    if result.toys is not None:
        tables.append((f"{result.n_toys} toys", result.toys))
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(4.4 * len(tables) + 0.8, 4.2), layout="constrained")
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        reach = max(0.05, *(float(np.max(np.abs(np.log(np.array(t))))) for _, t in tables))
        for panel, (title, table) in zip(panels, tables, strict=True):
            values = np.array(table)
            image = panel.imshow(np.log(values), cmap="RdBu_r", vmin=-reach, vmax=reach)
            for (row, column), value in np.ndenumerate(values):
                panel.text(column, row, f"{value:.3f}", ha="center", va="center")
            ticks = [f"{rho:g}" for rho in result.rho]
            panel.set_xticks(range(len(ticks)), ticks)
            panel.set_yticks(range(len(ticks)), ticks)
            panel.set_xlabel("rho of the model")
            panel.set_ylabel("rho of the data")
            panel.set_title(title, loc="left", fontsize=9)
        bar = figure.colorbar(image, ax=list(panels))
        bar.set_label("ln(pull width): red is too wide")
        figure.suptitle(f"pull of {'mu' if result.poi == 'mu' else 'R'}", fontsize=10)
    return figure
