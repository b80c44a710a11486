"""What all figures share: colours, fonts, axis names, and how they are written."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = [
    "BLUE", "FONT", "GREEN", "GREY", "ORANGE", "PALETTE", "axis_label", "figure_bytes",
    "save_figure",
]  # fmt: skip

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
PALETTE = (GREEN, "#CC79A7", "#56B4E9", "#F0E442", "#E69F00")

# parse_math off: names come from workspaces and may hold a dollar sign. The salt makes the ids
# inside an SVG the same every time.
FONT = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "svg.hashsalt": "ddphf",
}

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
        figure.savefig(out, format=kind, dpi=130, metadata=dates.get(kind))
    if kind != "svg":
        return out.getvalue()
    # A hundredth of a point is enough; numbers below 1 are scales of glyphs and stay.
    bare = SPACES.sub(b"><", COMMENTS.sub(b"", out.getvalue()))
    return LONG_DECIMALS.sub(rb"\1", bare)
