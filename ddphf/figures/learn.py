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

__all__ = ["draw_learned", "draw_learned_curve", "draw_learned_null", "draw_learned_power"]

Record = Mapping[str, Any]


def draw_learned(record: Record) -> dict[str, Figure | None]:
    """Return every figure of a record by the name of its file; None where there is none."""
    return {
        "learn_null": draw_learned_null(record),
        "learn_curve": draw_learned_curve(record),
        "learn_power": draw_learned_power(record),
    }


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


def draw_learned_curve(record: Record) -> Figure | None:
    """Draw f(x) with its bands without a difference, or the map of |f| / sd of two variables.

    Returns:
        None where the record has no curve.
    """
    curve = record.get("curve")
    if not curve:
        return None
    axes = [np.asarray(axis, dtype=float) for axis in curve["axes"]]
    names = [v.get("label") or v["column"] for v in record["variables"]]
    units = [f" [{v['unit']}]" if v.get("unit") else "" for v in record["variables"]]
    values, sd = (np.asarray(curve[key], dtype=float) for key in ("values", "standard_deviation"))
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.2, 4.2), layout="constrained")
        panel = figure.subplots()
        if len(axes) == 1:
            wide = curve["simultaneous"] * sd
            panel.fill_between(
                axes[0],
                -wide,
                wide,
                color=GREY,
                alpha=0.3,
                lw=0,
                label=f"{curve['level']:.0%} of all curves without a difference",
            )
            panel.plot(axes[0], curve["pointwise"], color=GREY, ls="--", lw=0.8)
            panel.plot(
                axes[0],
                -np.asarray(curve["pointwise"], dtype=float),
                color=GREY,
                ls="--",
                lw=0.8,
                label=f"{curve['level']:.0%} at each point",
            )
            panel.plot(axes[0], values, color=ORANGE, lw=1.5, label="data")
            panel.axhline(0.0, color="k", lw=0.6)
            panel.set_ylabel("f(x): ln of the ratio to the null")
            panel.legend(frameon=False, fontsize=8)
        else:
            grid = (values / sd).reshape(len(axes[0]), len(axes[1])).T
            high = max(float(np.abs(grid).max()), 3.0)
            mesh = panel.pcolormesh(
                axes[0],
                axes[1],
                grid,
                cmap="RdBu_r",
                vmin=-high,
                vmax=high,
                shading="nearest",
                rasterized=True,
            )
            figure.colorbar(mesh, ax=panel, label="f / sd")
            if np.abs(grid).max() > curve["simultaneous"]:
                panel.contour(
                    axes[0],
                    axes[1],
                    np.abs(grid),
                    levels=[curve["simultaneous"]],
                    colors="k",
                    linewidths=1.0,
                )
            panel.set_ylabel(f"{names[1]}{units[1]}")
        panel.set_xlabel(f"{names[0]}{units[0]}")
        pull = curve["largest"]["pull"]
        panel.set_title(f"largest |f| / sd {pull:.2f}; {describe_p(dict(record))}", loc="left",
                        fontsize=8)  # fmt: skip
    return figure


def draw_learned_power(record: Record) -> Figure | None:
    """Draw median Z and power against the injected events, beside what is possible.

    Returns:
        None where the record has none.
    """
    power = record.get("power")
    if not power or not power["points"]:
        return None
    points = power["points"]
    x = [p["strength"] for p in points]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.errorbar(x, [p["median_z"] for p in points], [p["error"] for p in points], fmt="o-",
                      color=BLUE, ms=4, capsize=2, label=str(record["statistic"]))  # fmt: skip
        left.plot(x, [p["ideal"]["z"] for p in points], color=GREY, ls="--",
                  label="ideal, 12 degrees of freedom")  # fmt: skip
        left.plot(x, [p["q0_l1"]["z"] for p in points], color=ORANGE, ls=":", label="shape known")
        left.set_ylabel("median Z")
        left.legend(frameon=False, fontsize=7)
        right.errorbar(x, [p["power"] for p in points], [p["power_error"] for p in points],
                       fmt="o-", color=BLUE, ms=4, capsize=2)  # fmt: skip
        right.plot(x, [p["ideal"]["power"] for p in points], color=GREY, ls="--")
        right.axhline(power["level"], color=GREY, lw=0.6)
        right.set_ylabel(f"power at p < {power['level']:g}")
        right.set_ylim(0, 1.02)
        for panel in (left, right):
            panel.set_xlabel("signal events")
    return figure
