"""Heat map of a correlation study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.figures.style import FONT, panels_of

__all__ = ["draw_widths"]


def draw_widths(
    rho: Sequence[float], tables: Mapping[str, Sequence[Sequence[float]]], title: str
) -> Figure:
    """Draw pull widths, rows the rho of the data and columns that of the model.

    Args:
        rho: Correlations of rows and columns.
        tables: Widths by how they were found, drawn side by side.
        title: Of the figure.
    """
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(4.4 * len(tables) + 0.8, 4.2), layout="constrained")
        panels = panels_of(figure, 1, len(tables))[0]
        reach = max(0.05, *(float(np.max(np.abs(np.log(np.array(t))))) for t in tables.values()))
        for panel, (name, table) in zip(panels, tables.items(), strict=True):
            values = np.array(table)
            image = panel.imshow(np.log(values), cmap="RdBu_r", vmin=-reach, vmax=reach)
            for (row, column), value in np.ndenumerate(values):
                dark = abs(np.log(value)) > 0.6 * reach
                panel.text(
                    column, row, f"{value:.3f}", ha="center", va="center",
                    color="white" if dark else "black",
                )  # fmt: skip
            ticks = [f"{rho:g}" for rho in rho]
            panel.set_xticks(range(len(ticks)), ticks)
            panel.set_yticks(range(len(ticks)), ticks)
            panel.set_xlabel("rho of the model")
            panel.set_ylabel("rho of the data")
            panel.set_title(name, loc="left", fontsize=9)
        bar = figure.colorbar(image, ax=list(panels))
        bar.set_label("ln(pull width): red is too wide")
        figure.suptitle(title, fontsize=10)
    return figure
