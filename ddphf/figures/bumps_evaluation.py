"""Figures of an evaluation, as talks on bumps show them: Delta Z, against what, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.figures.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    log_scale,
    numbers,
    panels_of,
)

__all__ = ["draw_evaluation"]

Record = Mapping[str, Any]

COLOURS = (BLUE, ORANGE, GREEN, *PALETTE[1:])

AGAINST = {
    "z": "expected Z, background known",
    "place": "place of the bump in the range",
    "counts": "background in its bin",
    "width": "width of the bump [bins]",
}


def draw_evaluation(record: Record) -> Figure | None:
    """Draw an evaluation: each set of functions in a colour.

    Args:
        record: JSON form of the record.

    Returns:
        None where it has no set.
    """
    sets = record["sets"]
    if not sets:
        return None
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(9.6, 6.0), layout="constrained")
        (first, *upper), (second, *lower) = panels_of(figure, 2, 3)
        for found, colour in zip(sets, COLOURS, strict=False):
            _draw_differences(first, found, colour)
            _draw_curve(second, found, colour)
        for panel, (name, label) in zip((*upper, *lower), AGAINST.items(), strict=True):
            for k, (found, colour) in enumerate(zip(sets, COLOURS, strict=False)):
                _draw_against(panel, found, name, colour, k / max(len(sets), 2))
            panel.axhline(0, color=GREY, lw=0.8)
            panel.set_xlabel(label)
            panel.set_ylabel("Delta Z")
            if name == "counts":
                log_scale(panel.xaxis)
        first.set_title(f"{record['method']}: estimated minus known Z", loc="left")
        first.legend(fontsize=7, frameon=False)
        chance = np.geomspace(1e-3, 1, 50)
        second.plot(chance, chance, color=GREY, lw=0.8, ls=":")
        second.set_xlabel("part of spectra without a bump")
        second.set_ylabel("part of those with one")
        second.legend(fontsize=7, frameon=False, loc="lower right")
        log_scale(second.xaxis)
        second.set_ylim(0, 1.02)
    return figure


def _draw_differences(panel: Axes, found: Record, colour: str) -> None:
    histogram = found.get("delta_z_histogram")
    if histogram is None:
        return
    counts, edges = numbers(histogram["counts"]), numbers(histogram["edges"])
    d = found.get("delta_z_all") or found["delta_z"]
    label = str(found["name"])
    if d["bias"] is not None:
        label += f": {d['bias']:+.2f}, half range {d['half_range']:.2f}"
    panel.stairs(counts / max(counts.sum(), 1.0), edges, color=colour, lw=1.3, label=label)
    panel.set_xlabel("Delta Z")
    panel.set_ylabel("part of signals")
    panel.set_ylim(0, max(panel.get_ylim()[1], 1.45 * float(counts.max() / max(counts.sum(), 1.0))))


def _draw_curve(panel: Axes, found: Record, colour: str) -> None:
    points = [p for p in found.get("roc") or () if p["true"] is not None]
    label = found["name"]
    if found["auc"] is not None:
        label += f": AUC {found['auc']['value']:.3f}"
    panel.plot(
        [p["false"] for p in points], [p["true"] for p in points], color=colour, marker=".", ms=4,
        lw=1.2, label=label,
    )  # fmt: skip


def _draw_against(panel: Axes, found: Record, name: str, colour: str, shift: float) -> None:
    rows = [row for row in found["against"].get(name) or () if row["bias"] is not None]
    if not rows:
        return
    low, high = (np.array([row[key] for row in rows], dtype=float) for key in ("low", "high"))
    part = 0.35 + 0.4 * shift
    x = low ** (1 - part) * high**part if name == "counts" else low + (high - low) * part
    panel.errorbar(
        x, [row["bias"] for row in rows], yerr=[row["half_range"] for row in rows], fmt="o", ms=3,
        color=colour, lw=1, capsize=2,
    )  # fmt: skip
