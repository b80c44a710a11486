"""Spectra of a fitted pair, drawn from flat arrays and the sidecar's binning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.figure import Figure

__all__ = ["BLUE", "ORANGE", "ChannelSpectrum", "draw_spectra", "save_figure"]

Array = np.ndarray[Any, np.dtype[np.float64]]

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"

# parse_math off: names come from workspaces and may hold a dollar sign.
FONT = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
}


@dataclass(frozen=True)
class ChannelSpectrum:
    """One channel: what was observed and what the model expects.

    Attributes:
        name: Such as ``SR_mue``.
        observed: Counts, shape (M,).
        samples: Expected events per sample, each of shape (M,), drawn as a stack.
    """

    name: str
    observed: Array
    samples: dict[str, Array]

    @property
    def expected(self) -> Array:
        """Total expectation, shape (M,)."""
        return np.asarray(sum(self.samples.values()))


def draw_spectra(
    channels: Sequence[ChannelSpectrum], axes: Sequence[dict[str, Any]], title: str
) -> Figure:
    """Draw every channel's projections with the ratio of data to model, and of the two channels.

    Args:
        channels: One or more channels of equal binning.
        axes: Binning as in the sidecar: ``label``, ``unit`` and ``edges`` per dimension.
        title: Such as ``post-fit``.

    Returns:
        A figure with one column per axis: per channel a spectrum and its data/model panel, below
        them the ratio of the channels where there are two.
    """
    shape = tuple(len(axis["edges"]) - 1 for axis in axes)
    rows = 2 * len(channels) + (1 if len(channels) == 2 else 0)
    heights = [3.0, 1.2] * len(channels) + [1.4] * (rows - 2 * len(channels))
    with mpl.rc_context(FONT):
        figure = Figure(
            figsize=(4.6 * len(shape) + 0.6, 0.9 * sum(heights) + 0.6), layout="constrained"
        )
        grid = figure.subplots(
            rows, len(shape), sharex="col", squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for column, axis in enumerate(axes):
            for row, channel in enumerate(channels):
                _draw_channel(grid[2 * row : 2 * row + 2, column], channel, axis, shape, column)
            if len(channels) == 2:
                _draw_ratio(grid[-1, column], channels[0], channels[1], axis, shape, column)
            unit = f" [{axis['unit']}]" if axis["unit"] else ""
            grid[-1, column].set_xlabel(f"{axis['label']}{unit}")
        figure.suptitle(title)
    return figure


def _project(values: Array, shape: tuple[int, ...], axis: int) -> Array:
    others = tuple(i for i in range(len(shape)) if i != axis)
    return np.asarray(values.reshape(shape).sum(axis=others))


def _draw_channel(
    panels: Any, channel: ChannelSpectrum, axis: dict[str, Any], shape: tuple[int, ...], column: int
) -> None:
    edges = np.asarray(axis["edges"])
    observed = _project(channel.observed, shape, column)
    parts = {name: _project(values, shape, column) for name, values in channel.samples.items()}
    colours = {"symmetric": BLUE, "fakes": GREY, "signal": ORANGE}
    # Nothing to see, as the signal before a fit: nothing in the legend.
    parts = {name: part for name, part in parts.items() if np.any(part)}
    order = sorted(parts, key=lambda name: (name == "signal", name == "symmetric", name))
    spares = [GREEN, "#CC79A7", "#56B4E9", "#F0E442", "#E69F00"]
    palette = [colours.get(name, spares[i % len(spares)]) for i, name in enumerate(order)]
    top, low = panels
    positive = [np.maximum(parts[name], 0.0) for name in order]
    mplhep.histplot(
        positive, bins=edges, stack=True, histtype="fill", color=palette,
        label=[f" {name}" for name in order], ax=top,  # matplotlib drops a leading underscore
        alpha=0.75,
    )  # fmt: skip
    centres = (edges[1:] + edges[:-1]) / 2
    top.errorbar(centres, observed, np.sqrt(observed), fmt="k.", ms=4, lw=0.8, label="data")
    top.set_ylabel("events / bin")
    top.set_title(channel.name, loc="left", fontsize=9)
    top.set_ylim(bottom=0)
    if column == 0:
        top.legend(fontsize=7, frameon=False)
    expected = np.asarray(sum(parts.values()))
    good = expected > 0
    low.axhline(1.0, color="k", lw=0.6)
    low.errorbar(
        centres[good], observed[good] / expected[good], np.sqrt(observed[good]) / expected[good],
        fmt="k.", ms=4, lw=0.8,
    )  # fmt: skip
    low.set_ylabel("data / model")


def _draw_ratio(
    panel: Any, first: ChannelSpectrum, second: ChannelSpectrum, axis: dict[str, Any],
    shape: tuple[int, ...], column: int,
) -> None:  # fmt: skip
    edges = np.asarray(axis["edges"])
    centres = (edges[1:] + edges[:-1]) / 2
    a, b = (_project(c.observed, shape, column) for c in (first, second))
    model_a, model_b = (_project(c.expected, shape, column) for c in (first, second))
    good = (a > 0) & (b > 0)
    ratio = b[good] / a[good]
    panel.errorbar(
        centres[good], ratio, ratio * np.sqrt(1 / a[good] + 1 / b[good]), fmt="k.", ms=4, lw=0.8,
        label="data",
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        panel.stairs(np.where(model_a > 0, model_b / model_a, np.nan), edges, color=ORANGE,
                     label="model", baseline=None)  # fmt: skip
    panel.set_ylabel(f"{second.name}\n/ {first.name}", fontsize=8)
    if column == 0:
        panel.legend(fontsize=7, frameon=False)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; the same figure gives the same bytes."""
    suffix = Path(path).suffix.lower()
    metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=130, metadata=metadata if suffix in (".svg", ".png") else None)
