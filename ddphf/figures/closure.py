"""Figure of the closure test: what the pulls of a pair look like before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, axis_label, panels_of

__all__ = ["draw_closure"]


def draw_closure(
    stages: Mapping[str, Array], axes: Sequence[Mapping[str, Any]], title: str
) -> Figure:
    """Draw the pulls per bin after the restoration, and their distribution at every stage.

    Args:
        stages: Pulls, shape (M,), by what was corrected for; the last one is the restored pair.
        axes: Binning as in the sidecar: ``label``, ``unit`` and ``edges`` per dimension.
        title: Of the figure.
    """
    after = list(stages.values())[-1]
    colours = dict(zip(stages, [GREY, ORANGE, BLUE][-len(stages) :], strict=True))
    shape = tuple(len(axis["edges"]) - 1 for axis in axes)
    names = [axis_label(axis) for axis in axes]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained")
        left, right = panels_of(figure, 1, 2)[0]
        if len(shape) == 2:
            edges_x, edges_y = (np.asarray(axis["edges"]) for axis in axes)
            mesh = left.pcolormesh(
                edges_x, edges_y, after.reshape(shape).T, cmap="RdBu_r", vmin=-4, vmax=4
            )
            figure.colorbar(mesh, ax=left, label="pull, restored")
            left.set_xlabel(names[0])
            left.set_ylabel(names[1])
        else:
            edges = axes[0]["edges"] if len(shape) == 1 else np.arange(len(after) + 1)
            left.axhline(0.0, color="k", lw=0.6)
            for label, values in stages.items():
                left.stairs(values, edges, baseline=None, color=colours[label], label=label)
            left.set_xlabel(names[0] if len(shape) == 1 else "bin")
            left.set_ylabel("pull")
        reach = float(np.ceil(max(4.0, *(np.max(np.abs(v)) for v in stages.values()))))
        bins = np.linspace(-reach, reach, 41)
        for label, values in stages.items():
            n_sigma = values.sum() / np.sqrt(values.size)
            counts, _ = np.histogram(values, bins)
            right.stairs(
                counts, bins, color=colours[label], label=f"{label}, N_sigma {n_sigma:.2f}"
            )
        x = np.linspace(-reach, reach, 400)
        density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        right.plot(x, after.size * (bins[1] - bins[0]) * density, "k-", lw=0.8, label="normal")
        right.set_xlabel("pull")
        right.set_ylabel("bins")
        right.set_ylim(0, 1.35 * right.get_ylim()[1])
        right.legend(loc="upper right", fontsize=7, frameon=False)
        figure.suptitle(title)
    return figure
