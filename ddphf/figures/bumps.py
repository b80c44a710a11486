"""The figure of a bump: counts, background, bump; Z per bin below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    ORANGE,
    is_uneven,
    log_scale,
    numbers,
    panels_of,
    short_name,
)
from ddphf.results.bumps import describe_p

__all__ = ["draw_bump", "draw_bumps"]

Record = Mapping[str, Any]

LEAST_Z = 3.0
"""The axis of Z reaches this at least."""


def draw_bumps(record: Record) -> dict[str, Figure | None]:
    """Return the figure of a record's first spectrum by the name of its file; None without one.

    Args:
        record: JSON form of the record.
    """
    first = record["spectra"][0] if record["spectra"] else None
    return {"bump": None if first is None else draw_bump(first)}


def draw_bump(spectrum: Record) -> Figure | None:
    """Draw one spectrum of a record.

    Args:
        spectrum: Its entry.

    Returns:
        None where no background was fitted.
    """
    background = spectrum["background"]
    if background is None or not background.get("expected") or not spectrum.get("edges"):
        return None
    edges, observed = numbers(spectrum["edges"]), numbers(spectrum["observed"])
    best = spectrum["best"]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        rows = panels_of(figure, 2, 1, sharex=True, height_ratios=[2.2, 1])
        _draw_counts(rows[0][0], edges, observed, spectrum)
        _draw_z(rows[1][0], edges, spectrum)
        unit = spectrum.get("unit") or ""
        rows[1][0].set_xlabel(f"mass [{unit}]" if unit else "mass")
        found = spectrum["status"] if best is None else _sentence(best, unit)
        rows[0][0].set_title(f"{short_name(spectrum['name'])}\n{found}", loc="left", fontsize=9)
    return figure


def _sentence(best: Record, unit: str) -> str:
    return (
        f"best bump at {best['mass']:.6g} {unit}".rstrip()
        + f": {best['events']:.4g} events, Z = {best['z']:.2f} local\nglobal {describe_p(best)}"
    )


def _step(panel: Axes, edges: Array, values: Array, **style: Any) -> None:
    panel.stairs(values, edges, baseline=None, **style)


def _draw_counts(panel: Axes, edges: Array, observed: Array, spectrum: Record) -> None:
    centres = (edges[1:] + edges[:-1]) / 2
    wide = np.diff(edges) / np.diff(edges).mean()
    background = numbers(spectrum["background"]["expected"])
    best, widths = spectrum["best"], numbers(spectrum.get("widths") or [])
    panel.errorbar(
        centres, observed / wide, np.sqrt(observed) / wide, fmt="k.", ms=4, lw=0.8, label="counts"
    )
    _step(panel, edges, background / wide, color=BLUE, lw=1.4, label="background")
    if best is not None and len(widths):
        pulls = (centres - best["mass"]) / best["width"]
        shape = np.exp(-0.5 * pulls**2) / (best["width"] * np.sqrt(2 * np.pi)) * np.diff(edges)
        with_bump = (background + best["events"] * shape) / wide
        _step(panel, edges, with_bump, color=ORANGE, lw=1.4, label="with bump")
    start = spectrum.get("start", 0)
    if start:
        panel.axvspan(float(edges[0]), float(edges[start]), color=GREY, alpha=0.25, lw=0)
    if observed.max() > 30 * max(float(np.min(observed)), 0.5):
        log_scale(panel.yaxis)
        decade = np.floor(np.log10(max(float(np.min(observed / wide)), 1.0)))
        panel.set_ylim(bottom=0.5 * 10.0**decade)
    panel.set_xlim(float(edges[0]), float(edges[-1]))
    panel.set_ylabel("counts / mean bin" if is_uneven(edges) else "counts")
    panel.legend(fontsize=8, frameon=False)


def _draw_z(panel: Axes, edges: Array, spectrum: Record) -> None:
    z, known = numbers(spectrum["z_profiled"]), numbers(spectrum["z_known"])
    given = bool((spectrum["background"] or {}).get("given"))
    label = "background given" if given else "background of the best fit held"
    _step(panel, edges, known, color=GREY, lw=1.0, label=label)
    _step(panel, edges, z, color=BLUE, lw=1.4, label="background profiled")
    asked = spectrum.get("network")
    if asked:
        _step(panel, edges, numbers(asked["z"]), color=GREEN, lw=1.0, label="network, an estimate")
    excluded = [i for i, why in enumerate(spectrum.get("excluded") or []) if why is not None]
    for i in excluded:
        label = "not stated" if i == excluded[0] else ""
        ends = float(edges[i]), float(edges[i + 1])
        panel.axvspan(*ends, color=GREY, alpha=0.25, lw=0, label=label)
    if spectrum["best"] is not None:
        panel.axvline(spectrum["best"]["mass"], color=ORANGE, lw=1.2, ls="--")
    panel.axhline(0, color="k", lw=0.6)
    most = max(np.nanmax(np.abs(np.append(z, 0.0))), np.nanmax(np.abs(np.append(known, 0.0))))
    reach = max(LEAST_Z, 1.15 * float(most))
    panel.set_ylim(-1.4 * reach, reach)  # the legend is below
    panel.set_ylabel("local Z")
    panel.legend(fontsize=7, frameon=False, ncols=3, loc="lower left")
