"""Figures of scans: a profile with its intervals, or a plane with its contours."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.figures.style import BLUE, FONT, ORANGE, panels_of
from ddphf.results.scan import ScanResult

__all__ = ["draw_scan"]

STYLES = ("-", "--")


def draw_scan(result: ScanResult) -> Figure:
    """Draw a scan of one or two parameters.

    Args:
        result: The scan.

    Returns:
        One parameter: the rise of 2NLL with its parabola and intervals. Two: the plane and its
        contours, the best fit marked. Failed points are left out.
    """
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.2, 4.0), layout="constrained")
        ((axes,),) = panels_of(figure)
        if len(result.parameters) == 1:
            _draw_profile(axes, result)
        else:
            _draw_plane(figure, axes, result)
    return figure


def _draw_profile(axes: Axes, result: ScanResult) -> None:
    (axis,), delta = result.parameters, result.grid()
    values = np.asarray(axis.values)
    good = np.isfinite(delta)
    axes.plot(values[good], delta[good], color=BLUE, marker=".", ms=4, label="profile")
    top = max(float(np.max(delta[good], initial=1.0)), 1.0)
    if axis.error:
        fine = np.linspace(values[0], values[-1], 200)
        with np.errstate(over="ignore"):
            parabola = ((fine - axis.best) / axis.error) ** 2
        axes.plot(
            fine[parabola < 1.2 * top], parabola[parabola < 1.2 * top],
            color=ORANGE, ls=":", label="parabola of the error",
        )  # fmt: skip
    for interval, style in zip(result.intervals, STYLES, strict=False):
        shown = interval["rise"] < 1.05 * top
        if shown:
            axes.axhline(interval["rise"], color="k", lw=0.6, ls=style)
            axes.annotate(
                f"{interval['level']:.1%}", (1.0, interval["rise"]), xytext=(-3, 2),
                xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", fontsize=7,
            )  # fmt: skip
        for end in (interval["low"], interval["high"]):
            if end is not None and shown and values[0] <= end <= values[-1]:
                axes.plot([end, end], [0, interval["rise"]], color="k", lw=0.6, ls=style)
    axes.set_xlim(values[0], values[-1])
    axes.set_ylim(0, 1.1 * top)
    axes.set_xlabel(axis.name)
    axes.set_ylabel("rise of -2 ln L")
    axes.legend(frameon=False, fontsize=8, loc="upper center")


def _draw_plane(figure: Figure, axes: Axes, result: ScanResult) -> None:
    first, second = result.parameters
    delta = np.ma.masked_invalid(result.grid().T)
    outer = max((contour["rise"] for contour in result.contours), default=6.18)
    mesh = axes.pcolormesh(
        first.values, second.values, delta, cmap="Blues_r", vmin=0, vmax=2.5 * outer,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    for contour, style in zip(result.contours, STYLES, strict=False):
        for i, path in enumerate(contour["paths"]):
            label = f"{contour['level']:.1%}" if i == 0 else None
            axes.plot(path["x"], path["y"], color=ORANGE, ls=style, lw=1.5, label=label)
    axes.plot(first.best, second.best, "k+", ms=9, mew=1.5, label="best fit")
    axes.set_xlim(first.values[0], first.values[-1])
    axes.set_ylim(second.values[0], second.values[-1])
    axes.set_xlabel(first.name)
    axes.set_ylabel(second.name)
    axes.legend(fontsize=8)
    figure.colorbar(mesh, ax=axes, label="rise of -2 ln L", extend="max")
