"""Figures of the lepton-ID eigen-variations, from a workspace and its sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, PALETTE, axis_label, panels_of

__all__ = [
    "draw_lepton_id_correlation",
    "draw_lepton_id_spectrum",
    "draw_lepton_id_variations",
    "relative_variations",
]


LARGEST_MATRIX = 200
"""Rows drawn of a correlation matrix: more are averaged over neighbouring bins."""

SHOWN = 4
"""Eigen-variations drawn one by one."""


def relative_variations(spec: Mapping[str, Any], names: Sequence[str]) -> dict[str, Array]:
    """Return G per channel, shape (M, n): the relative change of ``symmetric`` per sigma."""
    out = {}
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            if sample["name"] != "symmetric":
                continue
            nominal = np.asarray(sample["data"], dtype=float)
            by_name = {m["name"]: m["data"] for m in sample["modifiers"] if m["type"] == "histosys"}
            columns = [
                np.asarray(by_name[name]["hi_data"]) / nominal - 1
                if name in by_name
                else np.zeros_like(nominal)  # absorbed, left out
                for name in names
            ]
            out[channel["name"]] = np.stack(columns, axis=1)
    return out


def draw_lepton_id_spectrum(variations: Mapping[str, Array], sidecar: Mapping[str, Any]) -> Figure:
    """Draw how much each direction moves the ratio, kept and dropped, and what is missing of it."""
    del variations
    entry = sidecar["lepton_id"]
    felt = "ratio_variances" in entry  # older sidecars are ordered by the eigenvalues of C
    values = np.asarray(entry["ratio_variances" if felt else "eigenvalues"], dtype=float)
    total = float(values.sum())
    order = np.arange(1, len(values) + 1)
    kept = len(entry["kept"])
    missing = 1 - np.cumsum(values) / (total if total > 0 else 1.0)
    drawn = values > 1e-12 * values.max(initial=0.0)  # what is absorbed is 0 up to rounding
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ((axes,),) = panels_of(figure)
        for part, colour, label in (
            (drawn & (order <= kept), BLUE, "kept"), (drawn & (order > kept), GREY, "dropped"),
        ):  # fmt: skip
            axes.semilogy(order[part], values[part], "o", color=colour, ms=4, label=label)
        axes.set_xlabel("eigen-variation")
        axes.set_ylabel(
            "variance of the ratio / statistical" if felt else "eigenvalue (relative variance)"
        )
        right = axes.twinx()
        shown = missing > 1e-12
        right.semilogy(order[shown], missing[shown], "-", color=ORANGE, label="missing after it")
        right.set_ylabel("missing part of the trace", color=ORANGE)
        for panel in (axes, right):  # powers of ten would need mathtext
            panel.yaxis.set_major_formatter("{x:g}")
        axes.legend(loc="upper right", frameon=False)
        share = entry["ratio_retained"] if felt else entry["retained"]
        figure.suptitle(
            f"{kept} of {len(values)} eigen-variations hold {share:.2%} of the "
            f"{'variance of the ratio' if felt else 'trace'}"
        )
    return figure


def draw_lepton_id_correlation(
    variations: Mapping[str, Array], sidecar: Mapping[str, Any]
) -> Figure:
    """Draw the correlation of all template bins of both channels, by the kept variations."""
    del sidecar
    stacked = np.concatenate(list(variations.values()))
    group = -(-len(stacked) // LARGEST_MATRIX)
    size = -(-len(stacked) // group) * group
    padded = np.concatenate([stacked, np.repeat(stacked[-1:], size - len(stacked), axis=0)])
    rows = padded.reshape(size // group, group, -1).mean(axis=1)
    length = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(length > 0, length, 1.0)[:, None]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.6, 4.8), layout="constrained")
        ((axes,),) = panels_of(figure)
        extent = (0, len(stacked), len(stacked), 0)
        image = axes.imshow(
            unit @ unit.T, vmin=-1, vmax=1, cmap="RdBu_r", extent=extent, interpolation="nearest"
        )
        figure.colorbar(image, ax=axes, label="correlation")
        start, ticks = 0, []
        for name, columns in variations.items():
            ticks.append((start + len(columns) / 2, name))
            start += len(columns)
            if start < len(stacked):
                axes.axhline(start, color="k", lw=0.6)
                axes.axvline(start, color="k", lw=0.6)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([t for t, _ in ticks], [name for _, name in ticks])
        axes.tick_params(axis="y", rotation=90)
        text = f", {group} bins averaged" if group > 1 else ""
        figure.suptitle(f"lepton-ID error of the symmetric background{text}")
    return figure


def draw_lepton_id_variations(
    variations: Mapping[str, Array], sidecar: Mapping[str, Any]
) -> Figure:
    """Draw the largest variations of each channel, averaged along each axis of the binning."""
    axes_info = sidecar["binning"]["axes"]
    shape = tuple(len(axis["edges"]) - 1 for axis in axes_info)
    names = sidecar["lepton_id"]["kept"]
    palette = [BLUE, ORANGE, *PALETTE[:2]]
    with mpl.rc_context(FONT):
        figure = Figure(
            figsize=(4.6 * len(shape) + 0.6, 2.4 * len(variations) + 0.6), layout="constrained"
        )
        grid = panels_of(figure, len(variations), len(shape), sharex="col", sharey=True)
        for row, (channel, columns) in enumerate(variations.items()):
            for number, axis in enumerate(axes_info):
                panel = grid[row][number]
                others = tuple(i for i in range(len(shape)) if i != number)
                panel.axhline(0.0, color="k", lw=0.6)
                for index, colour in zip(range(min(SHOWN, len(names))), palette, strict=False):
                    mean = columns[:, index].reshape(shape).mean(axis=others)
                    panel.stairs(
                        100 * mean, axis["edges"], baseline=None, color=colour, label=names[index]
                    )
                panel.set_title(channel, loc="left", fontsize=9)
                if number == 0:
                    panel.set_ylabel("change per sigma [%]")
                if row == len(variations) - 1:
                    panel.set_xlabel(axis_label(axis))
        if names:
            grid[0][0].legend(fontsize=7, frameon=False)
        figure.suptitle("largest eigen-variations, mean over the other axes")
    return figure
