"""Figures of the study of symmetrised NPLM, from its record alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.figures.style import BLUE, FONT, GREY, ORANGE

__all__ = ["draw_nplm"]

SIZE = (5.4, 3.6)
"""Of a figure, in inches."""


def draw_nplm(study: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, figure).

    Args:
        study: Of the record.
    """
    for name, draw in (
        ("null.png", _draw_null), ("luminosity.png", _draw_luminosity),
        ("permutation.png", _draw_permutation),
    ):  # fmt: skip
        with mpl.rc_context(FONT):
            yield name, draw(study)


def _panel(x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure of one panel with both axes labelled."""
    figure = Figure(figsize=SIZE, layout="constrained")
    panel = figure.subplots()
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    return figure, panel


def _colored(
    rows: Sequence[Mapping[str, Any]], key: str
) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Yield what stands under the key, its colour, and the rows with it."""
    for value, color in zip(dict.fromkeys(row[key] for row in rows), (BLUE, ORANGE), strict=True):
        yield value, color, [row for row in rows if row[key] == value]


def _draw_null(study: Mapping[str, Any]) -> Figure:
    """Mean of t_sym by Adam against epochs, in both units."""
    figure, panel = _panel("epochs of Adam", "mean t without a signal")
    for unit, color, rows in _colored(study["epochs"], "unit"):
        _points(panel, [r["epochs"] for r in rows], rows, "mean", color, unit)
    panel.axhline(12, color=GREY, ls="--", lw=1, label="chi2 of 12 degrees of freedom")
    epochs = sorted({row["epochs"] for row in study["epochs"]})
    panel.set_xscale("log")
    panel.set_xticks(epochs, [f"{n}" for n in epochs])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False, fontsize=8)
    return figure


def _points(
    panel: Axes, x: Sequence[float], rows: Sequence[Mapping[str, Any]], key: str, color: str,
    label: str,
) -> None:  # fmt: skip
    """Draw what stands under the key of each row, with its error."""
    y, error = ([row[name] for row in rows] for name in (key, "error"))
    panel.errorbar(x, y, error, fmt="o-", color=color, ms=4, capsize=2, label=label)


def _draw_luminosity(study: Mapping[str, Any]) -> Figure:
    """Median Z of the default against the events, beside what is possible."""
    figure, panel = _panel("background events per sample", "median Z")
    for signal, color, rows in _colored(study["luminosity"], "signal"):
        x = [r["background"] for r in rows]
        found = [r["default"] for r in rows]
        _points(panel, x, found, "median_z", color, f"{signal}: default")
        panel.plot(x, [r["z_ideal"] for r in rows], color=color, ls="--", lw=1,
                   label=f"{signal}: ideal, 12 degrees of freedom")  # fmt: skip
        panel.plot(x, [r["z_known_shape"] for r in rows], color=color, ls=":", lw=1,
                   label=f"{signal}: shape known")  # fmt: skip
    first = study["luminosity"][0]
    panel.set_ylim(bottom=0)
    part = first["events"] / first["background"]
    panel.set_title(f"signal {part:.1%} of the background", loc="left", fontsize=9)
    panel.legend(frameon=False, fontsize=7)
    return figure


def _draw_permutation(study: Mapping[str, Any]) -> Figure:
    """Part of experiments without a signal with p < .05, by permutation and by redraws."""
    figure, panel = _panel("events of both samples", "experiments with p < .05")
    for where, color, rows in _colored(study["permutation"], "where"):
        for name, style in (("permutation", "o-"), ("redraws", "s--")):
            part = [r[name] for r in rows]
            errors = [
                (max(p * (1 - p), 1 / r["experiments"]) / r["experiments"]) ** 0.5
                for p, r in zip(part, rows, strict=True)
            ]
            panel.errorbar([r["events"] for r in rows], part, errors, fmt=style, color=color, ms=4,
                           capsize=2, label=f"{name}: {where}")  # fmt: skip
    panel.axhline(0.05, color=GREY, lw=0.8)
    panel.set_ylim(bottom=0)
    apart = study["permutation"][0]["difference"]
    panel.set_title(f"no signal; efficiencies {apart:.0%} apart", loc="left", fontsize=9)
    panel.legend(frameon=False, fontsize=7)
    return figure
