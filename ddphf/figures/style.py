"""What all figures share: colours, fonts, names, and how they are written."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure

from ddphf.arrays import Array

__all__ = [
    "BLUE", "FONT", "GREEN", "GREY", "ORANGE", "PALETTE", "Figure", "axis_label", "figure_bytes",
    "is_uneven", "log_scale", "numbers", "panels_of", "save_figure", "short_name",
]  # fmt: skip

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
PALETTE = (GREEN, "#CC79A7", "#56B4E9", "#F0E442", "#E69F00")

# parse_math off: names come from workspaces and may hold a dollar sign. The salt makes the ids
# inside an SVG the same every time.
FONT: dict[Any, object] = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "svg.hashsalt": "ddphf",
}

FEW_DECADES = 30.0
"""A logarithmic axis of a smaller ratio of its ends has hardly a power of ten to label."""

LONG_DECIMALS = re.compile(rb"([1-9]\d*\.\d\d)\d+")
COMMENTS = re.compile(rb" *<!--.*?-->\n?|<metadata>.*?</metadata>\n?", re.DOTALL)

SPACES = re.compile(rb">\s+<")


def axis_label(axis: Mapping[str, Any]) -> str:
    """Return the name of an axis of the sidecar with its unit.

    Example:
        >>> axis_label({"label": "mass", "unit": "GeV"})
        'mass [GeV]'
    """
    return f"{axis['label']} [{axis['unit']}]" if axis["unit"] else str(axis["label"])


def panels_of(figure: Figure, rows: int = 1, columns: int = 1, **options: Any) -> list[list[Axes]]:
    """Return the panels of a new grid, by row and column.

    Args:
        figure: Where they are drawn.
        rows: Of the grid.
        columns: Of the grid.
        options: As of matplotlib's ``Figure.subplots``.

    Example:
        >>> [len(row) for row in panels_of(Figure(), 2, 3)]
        [3, 3]
    """
    return [list(row) for row in figure.subplots(rows, columns, squeeze=False, **options)]


def log_scale(axis: XAxis | YAxis) -> None:
    """Make an axis logarithmic, with plain numbers: mathematics is not parsed in these figures.

    Where the axis covers little more than a decade, 2 and 5 of each are labelled too.

    Args:
        axis: ``panel.xaxis`` or ``panel.yaxis``.

    Example:
        >>> figure = Figure()
        >>> ((panel,),) = panels_of(figure)
        >>> log_scale(panel.yaxis)
        >>> panel.get_yscale()
        'log'
    """

    def between(x: float, _: float) -> str:
        low, high = axis.get_view_interval()
        leading = round(x / 10 ** np.floor(np.log10(x)), 6)
        return f"{x:g}" if high < FEW_DECADES * low and leading in (2, 5) else ""

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(between)


def numbers(values: Sequence[Any] | Array) -> Array:
    """Return numbers as an array, NaN where there is none.

    Example:
        >>> numbers([1, None, 0.5]).tolist()
        [1.0, nan, 0.5]
    """
    return np.array(values, dtype=float)


def is_uneven(edges: Array) -> bool:
    """Return whether bins differ in width.

    Example:
        >>> is_uneven(np.array([0.0, 1.0, 2.0])), is_uneven(np.array([0.0, 1.0, 3.0]))
        (False, True)
    """
    widths = np.diff(edges)
    return bool(np.ptp(widths) > 1e-6 * widths.max())


def short_name(name: str) -> str:
    """Return a name, cut in its middle where it would take the figure's width.

    Example:
        >>> short_name("jet_energy_scale_of_forward_and_central_jets[12]")
        'jet_energy_scale_of_...al_jets[12]'
    """
    return name if len(name) <= 34 else f"{name[:20]}...{name[-11:]}"


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; the same figure gives the same bytes."""
    Path(path).write_bytes(figure_bytes(figure, Path(path).suffix.lower().lstrip(".")))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as ``png``, ``svg`` or ``pdf``; the same figure gives the same bytes."""
    dates: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}
    out = io.BytesIO()
    with mpl.rc_context(FONT), warnings.catch_warnings():
        # Names of other alphabets show as boxes; a page of warnings helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # A text that leaves no room for the axes: all is there, only badly placed.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure.savefig(out, format=kind, dpi=130, metadata=dates.get(kind))
    if kind != "svg":
        return out.getvalue()
    # A hundredth of a point is enough; numbers below 1 are scales of glyphs and stay.
    bare = SPACES.sub(b"><", COMMENTS.sub(b"", out.getvalue()))
    return LONG_DECIMALS.sub(rb"\1", bare)
