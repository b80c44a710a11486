"""Data against model, channel by channel, from a record of yields and the sidecar's binning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.asymmetry import draw_asymmetry_panel
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, PALETTE, axis_label, is_uneven
from ddphf.results.yields import ChannelYields, PredictionResult, YieldsResult

__all__ = ["draw_spectra"]


COLOURS = {"symmetric": BLUE, "fakes": GREY, "signal": ORANGE}

COLUMNS = 3
"""Channels side by side where there is no common binning."""


def draw_spectra(yields: YieldsResult, prediction: str, *, asymmetry: bool = True) -> Figure:
    """Draw every channel with the ratio of data to model, and the asymmetry of a pair.

    Args:
        yields: What was observed and expected.
        prediction: ``"prefit"``, ``"postfit"`` or ``"null"``.
        asymmetry: Whether a pair's asymmetry is drawn below.

    Returns:
        A figure. Channels with the binning of the sidecar are projected on each axis, one column
        per axis; others are drawn against their bin numbers. Channels may differ in length.

    Example:
        >>> from ddphf.results.yields import PredictionResult, YieldResult
        >>> model = YieldResult((9.0, 4.0), (1.0, 0.5), 13.0, 1.2)
        >>> channel = ChannelYields("SR", (8.0, 5.0), {"prefit": PredictionResult({}, model)})
        >>> len(draw_spectra(YieldsResult("m", (channel,)), "prefit").axes)
        2
    """
    size = int(np.prod(yields.shape))
    n_axes = len(yields.axes)
    binned = n_axes > 0 and all(len(channel.observed) == size for channel in yields.channels)
    panels: list[tuple[ChannelYields, int | None]] = [
        (channel, axis)
        for channel in yields.channels
        for axis in (range(n_axes) if binned else [None])
    ]
    columns = n_axes if binned else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    pair = asymmetry and binned and bool(yields.asymmetry)
    heights = [3.0, 1.2] * rows + [1.6] * pair
    with mpl.rc_context(FONT):
        figure = Figure(
            figsize=(4.4 * columns + 0.8, 0.85 * sum(heights) + 0.6), layout="constrained"
        )
        # One grid, so that all panels of a column line up.
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        for number, (channel, axis) in enumerate(panels):
            row, column = divmod(number, columns)
            top = figure.add_subplot(grid[2 * row, column])
            low = figure.add_subplot(grid[2 * row + 1, column], sharex=top)
            _draw_channel(top, low, yields, channel, prediction, axis)
            top.tick_params(labelbottom=False)
            top.set_ylabel(_events_per(yields, axis))
            if column == 0:
                low.set_ylabel("data / model")
        for entry in yields.asymmetry if pair else ():
            panel = figure.add_subplot(grid[-1, entry.axis])
            draw_asymmetry_panel(panel, yields, entry, (prediction,))
        figure.suptitle(f"{yields.title(prediction)} ({yields.measurement})")
        figure.align_ylabels()
    return figure


def _draw_channel(
    top: Axes, low: Axes, yields: YieldsResult, channel: ChannelYields, prediction: str,
    axis: int | None,
) -> None:  # fmt: skip
    found = channel.predictions[prediction]
    shape = (len(channel.observed),) if axis is None else yields.shape
    described: Mapping[str, Any] = {"label": "bin", "unit": "", "edges": range(shape[0] + 1)}
    if axis is not None:
        described = yields.axes[axis]
    errors = found.total.error if axis is None else found.axis_errors[axis]
    edges = np.asarray(described["edges"], dtype=float)

    def project(values: Any) -> Array:
        others = tuple(i for i in range(len(shape)) if i != (axis or 0))
        return np.asarray(np.reshape(np.asarray(values, dtype=float), shape).sum(axis=others))

    observed, expected, error = project(channel.observed), project(found.total.expected), errors
    # Bins of unequal width: densities, or a wide bin would look like a peak.
    width = np.diff(edges) if is_uneven(edges) else np.ones(len(edges) - 1)
    below = np.zeros_like(expected)
    colours = _colours(yields)
    for name, values in _stack(found, set(colours)):
        above = below + np.maximum(project(values), 0.0) / width
        colour = colours.get(name, GREY)
        top.stairs(above, edges, baseline=below, fill=True, color=colour, alpha=0.8, lw=0,
                   label=f" {name}")  # fmt: skip  # matplotlib drops a leading underscore
        below = above
    # Many narrow bins: points and bars of the same size would be one black band.
    size, line = (4.0, 0.8) if len(observed) <= 60 else (1.0, 0.3)
    centres = (edges[1:] + edges[:-1]) / 2
    _draw_band(top, edges, expected / width, np.asarray(error) / width, "model error")
    top.errorbar(
        centres,
        observed / width,
        np.sqrt(observed) / width,
        fmt="k.",
        label="data",
        ms=size,
        lw=line,
    )
    top.set_title(channel.name, loc="left", fontsize=9)
    entries = len(top.get_legend_handles_labels()[1])
    heights = np.max(
        [(observed + np.sqrt(observed)) / width, below, (expected + error) / width], axis=0
    )
    # Where it is long, or the right third is no lower than the rest, the legend lies above.
    above_all = entries >= 6 or heights[-(len(heights) // 3 + 1) :].max() > 0.5 * heights.max()
    top.set_ylim(0, (1.4 if above_all else 1.08) * max(1e-9, float(heights.max())))
    top.set_xlim(edges[0], edges[-1])
    if axis in (None, 0):
        columns = 3 if above_all else 1
        top.legend(fontsize=7, frameon=False, loc="upper right", ncols=columns)
    good = expected > 0
    scale = np.where(good, expected, 1.0)
    _draw_band(low, edges, np.ones_like(scale), np.where(good, error / scale, 0.0), None)
    low.axhline(1.0, color="k", lw=0.6)
    ratio, bars = observed / scale, np.sqrt(observed) / scale
    low.errorbar(centres[good], ratio[good], bars[good], fmt="k.", ms=size, lw=line)
    if good.any():
        reach = min(1.0, 1.15 * float(np.max(np.abs(ratio[good] - 1) + bars[good])))
        low.set_ylim(1 - max(reach, 1e-3), 1 + max(reach, 1e-3))
    low.set_xlabel(axis_label(described))


def _events_per(yields: YieldsResult, axis: int | None) -> str:
    """Return the label of the ordinate: events of a bin, of its width, or per unit."""
    if axis is None:
        return "events / bin"
    described = yields.axes[axis]
    edges = np.asarray(described["edges"], dtype=float)
    if is_uneven(edges):
        return f"events / {described['unit'] or 'unit of ' + str(described['label'])}"
    return f"events / {edges[1] - edges[0]:.3g} {described['unit']}".rstrip()


def _draw_band(panel: Axes, edges: Array, centre: Array, error: Array, label: str | None) -> None:
    panel.stairs(
        centre + error, edges, baseline=centre - error, fill=True, facecolor="none",
        edgecolor="#333333", hatch="//////", lw=0, label=label,
    )  # fmt: skip


def _colours(yields: YieldsResult) -> dict[str, str]:
    """Return the samples that are drawn one by one, each with one colour in all channels."""
    sizes: dict[str, float] = {}
    for channel in yields.channels:
        for name, found in channel.predictions["prefit"].samples.items():
            sizes[name] = sizes.get(name, 0.0) + found.sum
    free = [c for c in (*PALETTE, BLUE, ORANGE) if not any(COLOURS.get(n) == c for n in sizes)]
    by_size = sorted((name for name in sizes if name not in COLOURS), key=lambda n: -sizes[n])
    shown = zip(by_size, free, strict=False)
    return {**{name: COLOURS[name] for name in sizes if name in COLOURS}, **dict(shown)}


def _stack(found: PredictionResult, shown: set[str]) -> list[tuple[str, Array]]:
    """Return what is drawn from below: the small ones as one, the known, the signal."""
    parts = {name: np.asarray(y.expected) for name, y in found.samples.items()}
    # Nothing to see, as the signal before a fit: nothing in the legend.
    parts = {name: part for name, part in parts.items() if np.any(part)}
    parts = parts or {"model": np.asarray(found.total.expected)}
    rest = [name for name in parts if name not in shown]
    kept = [name for name in parts if name in shown]
    order = sorted(kept, key=lambda name: (name == "signal", name == "symmetric", name))
    out = [(name, parts[name]) for name in order]
    if rest:
        label = rest[0] if len(rest) == 1 else f"{len(rest)} others"
        out.insert(0, (label, np.sum([parts[name] for name in rest], axis=0)))
    return out
