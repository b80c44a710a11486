"""Figures of a search, from its record alone: local significances never without the global one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from ddphf.arrays import Array
from ddphf.figures.selections import draw_selections
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, axis_label, numbers
from ddphf.results.provenance import describe_global

__all__ = ["draw_map", "draw_maximum", "draw_search", "draw_sizes"]

Record = Mapping[str, Any]

LARGEST_Z = 5.0

SHOWN = 5
"""Windows that are drawn."""


def draw_search(record: Record) -> dict[str, Figure | None]:
    """Return every figure of a record by the name of its file; None where there is none.

    Args:
        record: JSON form of the record.
    """
    return {
        "search_z_map": draw_map(record, "z"),
        "search_profiled_map": draw_map(record, "profiled"),
        "search_sizes": draw_sizes(record),
        "search_maximum": draw_maximum(record),
        **({"search_selections": draw_selections(record)} if record.get("selections") else {}),
    }


def _global(record: Record) -> str:
    found = record["best"][0]
    z = found["local"]["z"]
    return f"best window: local Z = {z:.2f}; global {describe_global(found['global'])}"


def draw_map(record: Record, kind: str) -> Figure | None:
    """Draw Z of each bin with the best windows.

    Args:
        record: JSON form of the record.
        kind: ``z`` as it is, ``profiled`` with the nuisances profiled.

    Returns:
        None where the record has no map: of more than two axes.
    """
    maps, axes = record.get("maps"), record.get("axes") or []
    if not maps or len(axes) not in (1, 2) or not record["best"]:
        return None
    values = numbers(maps[kind])
    what = "Z of the bin" if kind == "z" else "Z of the bin, nuisances profiled"
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.6, 4.4) if len(axes) == 2 else (6.0, 3.6), layout="constrained")
        panel = figure.subplots()
        if len(axes) == 2:
            _draw_windows_on_plane(figure, panel, record, values, what)
        else:
            _draw_windows_on_axis(panel, record, values, what)
        n = record["windows"]["n"]
        title = f"{what}; the {min(len(record['best']), SHOWN)} best of {n} windows"
        panel.set_title(f"{title}\n{_global(record)}", loc="left", fontsize=8)
    return figure


def _draw_windows_on_plane(
    figure: Figure, panel: Axes, record: Record, values: Array, what: str
) -> None:
    x, y = (np.asarray(axis["edges"], dtype=float) for axis in record["axes"])
    grid = np.ma.masked_invalid(values.reshape(len(x) - 1, len(y) - 1).T)
    panel.set_facecolor("0.85")  # empty bins
    mesh = panel.pcolormesh(
        x, y, grid, cmap="RdBu_r", vmin=-LARGEST_Z, vmax=LARGEST_Z, rasterized=True
    )
    figure.colorbar(mesh, ax=panel, label=what, extend="both")
    for number, window in enumerate(record["best"][:SHOWN], start=1):
        (left, right), (low, high) = window["edges"]
        best = number == 1
        panel.add_patch(
            Rectangle(
                (left, low), right - left, high - low, fill=False, ec="k",
                lw=2.0 if best else 1.0, ls="-" if best else "--",
            )
        )  # fmt: skip
        panel.annotate(
            str(number), (right, high), xytext=(-2, -2), textcoords="offset points", ha="right",
            va="top", fontsize=8, fontweight="bold" if best else "normal",
            bbox={"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )  # fmt: skip
    panel.set_xlim(x[0], x[-1])
    panel.set_ylim(y[0], y[-1])
    panel.set_xlabel(axis_label(record["axes"][0]))
    panel.set_ylabel(axis_label(record["axes"][1]))


def _draw_windows_on_axis(panel: Axes, record: Record, values: Array, what: str) -> None:
    (axis,) = record["axes"]
    edges = np.asarray(axis["edges"], dtype=float)
    top = max(float(np.nanmax(np.abs(values), initial=0.0)), 3.0) * 1.25
    for number, window in enumerate(record["best"][:SHOWN], start=1):
        ((left, right),) = window["edges"]
        panel.axvspan(left, right, color=ORANGE, alpha=0.3 if number == 1 else 0.12, lw=0)
        panel.annotate(
            str(number), ((left + right) / 2, 0.97 * top), ha="center", va="top", fontsize=8,
            fontweight="bold" if number == 1 else "normal",
        )  # fmt: skip
    panel.axhline(0.0, color="k", lw=0.6)
    panel.stairs(np.nan_to_num(values), edges, color=BLUE, fill=True, alpha=0.6)
    panel.set_xlim(edges[0], edges[-1])
    panel.set_ylim(-top, top)
    panel.set_xlabel(axis_label(axis))
    panel.set_ylabel(what)


def draw_sizes(record: Record) -> Figure | None:
    """Draw the best Z of each size: against the size, or as a map of two.

    Returns:
        None where there are fewer than two sizes.
    """
    curve, axes = record.get("size_curve") or [], record.get("axes") or []
    if len(curve) < 2:
        return None
    sizes = np.array([entry["size"] for entry in curve], dtype=int)
    values = numbers([entry["z"] for entry in curve])
    square = sizes.shape[1] == 2 and len({tuple(s) for s in sizes}) > 3 * sizes.max()
    best = record["best"][0] if record["best"] else None
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.4, 4.2) if square else (5.6, 3.6), layout="constrained")
        panel = figure.subplots()
        if square:
            _draw_size_map(figure, panel, record, sizes, values)
        else:
            area = np.prod(sizes, axis=1)
            largest = np.array([np.nanmax(values[area == a], initial=-np.inf)
                                for a in np.unique(area)])  # fmt: skip
            panel.plot(np.unique(area), largest, color=BLUE, marker=".", label="best of this size")
            for q in ("0.5", "0.95"):
                height = (record.get("null") or {}).get("quantiles", {}).get(q)
                if height is not None:
                    panel.axhline(height, color=GREY, lw=0.8, ls="-" if q == "0.5" else "--")
                    panel.annotate(
                        f"{float(q):.0%} of the null's maximum", (1.0, height), xytext=(-3, 2),
                        xycoords=("axes fraction", "data"), textcoords="offset points",
                        ha="right", fontsize=7, color="0.35",
                    )  # fmt: skip
            if area.max() > 20:
                panel.set_xscale("log")
                panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                # Formulas are off: powers of ten would show as their source.
                panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xlabel("bins of the window")
            panel.set_ylabel("largest local Z")
        if best is not None:
            size = " x ".join(str(k) for k in best["size"])
            panel.set_title(
                f"local Z of the best window of each size; best: {size} bins\n{_global(record)}",
                loc="left", fontsize=8,
            )  # fmt: skip
    del axes
    return figure


def _draw_size_map(
    figure: Figure, panel: Axes, record: Record, sizes: Array, values: Array
) -> None:
    x, y = (np.unique(sizes[:, i]) for i in (0, 1))
    grid = np.full((len(y), len(x)), np.nan)
    grid[np.searchsorted(y, sizes[:, 1]), np.searchsorted(x, sizes[:, 0])] = values
    mesh = panel.pcolormesh(
        np.append(x - 0.5, x[-1] + 0.5), np.append(y - 0.5, y[-1] + 0.5),
        np.ma.masked_invalid(grid), cmap="cividis", rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=panel, label="largest local Z")
    best = record["best"][0]["size"] if record["best"] else None
    if best is not None:
        panel.plot(best[0], best[1], marker="s", ms=7, mfc="none", mec=ORANGE, mew=1.8)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    labels = [axis["label"] for axis in record["axes"]]
    panel.set_xlabel(f"bins along {labels[0]}")
    panel.set_ylabel(f"bins along {labels[1]}")


def draw_maximum(record: Record) -> Figure | None:
    """Draw the largest statistic of histograms without a signal, with what was observed.

    Returns:
        None where the record has no null.
    """
    null = record.get("null")
    if not null or not null.get("histogram"):
        return None
    edges = np.asarray(null["histogram"]["edges"], dtype=float)
    counts = np.asarray(null["histogram"]["counts"], dtype=float)
    density = counts / counts.sum() / np.diff(edges)
    observed = [(abs(w["local"]["z"]), w["global"]) for w in record["best"][:1]]
    whole = record["kind"] == "events" and not record["windows"]["n"]
    if whole:  # of whole histograms, which are compared by their p-values
        observed = [(-record["selections"][0]["local"]["p"], record["global"])]
    elif not observed:
        observed = [(row["local"]["z"], row["global"]) for row in record.get("table") or ()]
    what = "local p" if whole else "local Z"

    def said(value: float) -> str:
        return f"{-value:.3g}" if whole else f"{value:.2f}"

    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.6, 3.6), layout="constrained")
        panel = figure.subplots()
        panel.stairs(density, edges, fill=True, color=BLUE, alpha=0.35, label="without a signal")
        peak = float(density.max())
        top = (1.25 + 0.09 * (1 + len(observed))) * peak  # room for the legend
        for q, value in null["quantiles"].items():
            panel.plot([value, value], [0, 1.08 * peak], color=GREY, lw=0.8, ls=":")
            panel.annotate(
                f"{float(q):.0%}", (value, 1.08 * peak), xytext=(0, 1), ha="center",
                textcoords="offset points", fontsize=7, color="0.35",
            )  # fmt: skip
        for z, overall in observed:
            panel.plot([z, z], [0, 1.16 * peak], color=ORANGE, lw=1.6)
            panel.plot([], [], color=ORANGE, lw=1.6,
                       label=f"{what} = {said(z)}; global {describe_global(overall)}")  # fmt: skip
        low = min([edges[0], *(z for z, _ in observed)])
        high = max([edges[-1], *(z for z, _ in observed)])
        panel.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        panel.set_ylim(0, top)
        n = record["windows"]["n"]
        name = {"excess": "Z", "deficit": "-Z", "both": "|Z|"}[record["direction"]]
        most = f"largest {name} of {n} windows"
        panel.set_xlabel("-p of the best histogram, alone" if whole else most)
        panel.set_ylabel("probability density")
        samples = null.get("samples")
        panel.set_title(f"{null['method']} null, {samples} histograms", loc="left", fontsize=8)
        panel.legend(fontsize=7, frameon=False, loc="upper left")
    return figure
