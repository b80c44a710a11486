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


def _draw_null(study: Mapping[str, Any]) -> Figure:
    """Mean of t_sym by Adam against epochs, in both units."""
    figure, panel = _open()
    units = dict.fromkeys(row["unit"] for row in study["epochs"])
    for unit, color in zip(units, (BLUE, ORANGE), strict=True):
        rows = [row for row in study["epochs"] if row["unit"] == unit]
        _points(panel, [r["epochs"] for r in rows], rows, "mean", color, unit)
    panel.axhline(12, color=GREY, ls="--", lw=1, label="chi2 of 12 degrees of freedom")
    epochs = sorted({row["epochs"] for row in study["epochs"]})
    panel.set_xscale("log")
    panel.set_xticks(epochs, [f"{n}" for n in epochs])
    panel.minorticks_off()
    _say(panel, "epochs of Adam", "mean t without a signal")
    panel.legend(frameon=False, fontsize=8)
    return figure


def _open() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()


def _points(
    panel: Axes, x: Sequence[float], rows: Sequence[Mapping[str, Any]], key: str, color: str,
    label: str,
) -> None:  # fmt: skip
    """Draw what stands under the key of each row, with its error."""
    y, error = ([row[name] for row in rows] for name in (key, "error"))
    panel.errorbar(x, y, error, fmt="o-", color=color, ms=4, capsize=2, label=label)


def _say(panel: Axes, x: str, y: str) -> None:
    """Label both axes; what is drawn is above 0."""
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.set_ylim(bottom=0)


def _draw_luminosity(study: Mapping[str, Any]) -> Figure:
    """Median Z of the default against the events, beside what is possible."""
    figure, panel = _open()
    signals = dict.fromkeys(row["signal"] for row in study["luminosity"])
    for signal, color in zip(signals, (BLUE, ORANGE), strict=True):
        rows = [row for row in study["luminosity"] if row["signal"] == signal]
        x = [r["background"] for r in rows]
        found = [r["default"] for r in rows]
        _points(panel, x, found, "median_z", color, f"{signal}: default")
        panel.plot(x, [r["z_ideal"] for r in rows], color=color, ls="--", lw=1,
                   label=f"{signal}: ideal, 12 degrees of freedom")  # fmt: skip
        panel.plot(x, [r["z_known_shape"] for r in rows], color=color, ls=":", lw=1,
                   label=f"{signal}: shape known")  # fmt: skip
    first = study["luminosity"][0]
    _say(panel, "background events per sample", "median Z")
    part = first["events"] / first["background"]
    panel.set_title(f"signal {part:.1%} of the background", loc="left", fontsize=9)
    panel.legend(frameon=False, fontsize=7)
    return figure


def _draw_permutation(study: Mapping[str, Any]) -> Figure:
    """Part of experiments without a signal with p < .05, by permutation and by redraws."""
    figure, panel = _open()
    rows = study["permutation"]
    x = [r["events"] for r in rows]
    for name, color in (("permutation", ORANGE), ("redraws", BLUE)):
        part = [r[name] for r in rows]
        errors = [
            (max(p * (1 - p), 1 / r["experiments"]) / r["experiments"]) ** 0.5
            for p, r in zip(part, rows, strict=True)
        ]
        panel.errorbar(x, part, errors, fmt="o-", color=color, ms=4, capsize=2, label=name)
    panel.axhline(0.05, color=GREY, lw=0.8)
    _say(panel, "events of both samples", "experiments with p < .05")
    panel.set_title(
        f"no signal; efficiencies {rows[0]['difference']:.0%} apart at low pT", loc="left",
        fontsize=9,
    )  # fmt: skip
    panel.legend(frameon=False, fontsize=8)
    return figure
