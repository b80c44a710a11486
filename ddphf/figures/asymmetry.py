"""How the two channels of a pair differ: their asymmetry, and the map of bin-wise Z."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, axis_label, numbers, panels_of
from ddphf.results.yields import AsymmetryResult, YieldsResult

__all__ = ["draw_asymmetry", "draw_asymmetry_panel", "draw_z_map", "local_z"]


CURVES = {"prefit": (GREY, "pre-fit"), "null": (BLUE, "mu = 0"), "postfit": (ORANGE, "post-fit")}
LARGEST_Z = 5.0


def draw_asymmetry(yields: YieldsResult) -> Figure:
    """Draw (B - A) / (B + A) of data and of the fits with and without signal, for each axis.

    Args:
        yields: Of a pair whose binning is known.
    """
    columns = len(yields.asymmetry)
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(4.4 * columns + 0.8, 3.2), layout="constrained")
        panels = panels_of(figure, 1, columns)[0]
        for panel, entry in zip(panels, yields.asymmetry, strict=True):
            draw_asymmetry_panel(panel, yields, entry, ("null", "postfit"))
        figure.suptitle("asymmetry of the two channels")
    return figure


def draw_asymmetry_panel(
    panel: Axes, yields: YieldsResult, entry: AsymmetryResult, shown: Sequence[str]
) -> None:
    """Draw the asymmetry along one axis into a panel.

    Args:
        panel: matplotlib axes.
        yields: For names and binning.
        entry: What is drawn.
        shown: Predictions to draw, with their error bands.
    """
    axis = yields.axes[entry.axis]
    edges = np.asarray(axis["edges"], dtype=float)
    centres = (edges[1:] + edges[:-1]) / 2
    panel.axhline(0.0, color="k", lw=0.6)
    for name in shown:
        if name in entry.expected:
            value, error = (numbers(x[name]) for x in (entry.expected, entry.expected_error))
            colour, label = CURVES[name]
            panel.stairs(value + error, edges, baseline=value - error, fill=True, color=colour,
                         alpha=0.25, lw=0)  # fmt: skip
            panel.stairs(value, edges, baseline=None, color=colour, label=label)
    bars = np.fmax(numbers(entry.observed_error), 0.0)
    panel.errorbar(centres, numbers(entry.observed), bars, fmt="k.", ms=4, lw=0.8, label="data")
    panel.set_xlabel(axis_label(axis))
    panel.set_xlim(edges[0], edges[-1])
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.18 * (high - low))  # room for the legend
    if entry.axis == 0:
        panel.set_ylabel("(B - A) / (B + A)")
        panel.legend(fontsize=7, frameon=False, ncols=3)
        assert yields.pairing is not None
        title = f"B = {yields.pairing['tested']}, A = {yields.pairing['partner']}"
        panel.set_title(title, loc="left", fontsize=8)


def local_z(yields: YieldsResult, prediction: str) -> Array:
    """Return the signed significance of each bin's pair of counts.

    Z_i = sgn(B_i - m_i) sqrt(D_i), with D_i the Poisson deviance of both counts of the bin, m_i
    the expectation of the tested channel. Where the bin's background is free and shared, D_i of
    the fit at mu = 0 is the likelihood ratio of a signal in this bin alone, with one degree of
    freedom.

    Args:
        yields: Of a pair.
        prediction: The fit that data are compared with.

    Returns:
        Shape (M,). It is local: with M bins some are large by chance.

    Example:
        >>> from ddphf.results.yields import ChannelYields, PredictionResult, YieldResult
        >>> fit = {"null": PredictionResult({}, YieldResult((115.0,), (8.0,), 115.0, 8.0))}
        >>> pair = (ChannelYields("B", (130.0,), fit), ChannelYields("A", (100.0,), fit))
        >>> yields = YieldsResult("m", pair, pairing={"tested": "B", "partner": "A"})
        >>> local_z(yields, "null").round(3).tolist()  # (130 - 100) / sqrt(230) is 1.978
        [1.981]
    """
    assert yields.pairing is not None
    deviance, sign = np.zeros(1), np.zeros(1)
    for role in ("tested", "partner"):
        channel = yields.channel(yields.pairing[role])
        n = np.asarray(channel.observed)
        rate = np.maximum(channel.predictions[prediction].total.expected, 1e-300)
        ratio = np.where(n > 0, n, 1.0) / rate
        deviance = deviance + 2 * (rate - n + np.where(n > 0, n * np.log(ratio), 0.0))
        if role == "tested":
            sign = np.sign(n - rate)
    return np.asarray(sign * np.sqrt(np.maximum(deviance, 0.0)))


def draw_z_map(yields: YieldsResult) -> Figure:
    """Draw the bin-wise Z of a 2-D pair, against the fits with and without signal.

    Args:
        yields: Of a pair with two axes.
    """
    tested = yields.channel(yields.pairing["tested"] if yields.pairing else "")
    names = [name for name in ("null", "postfit") if name in tested.predictions]
    edges_x, edges_y = (np.asarray(axis["edges"], dtype=float) for axis in yields.axes)
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(3.6 * len(names) + 1.2, 3.6), layout="constrained")
        panels = panels_of(figure, 1, len(names), sharey=True)[0]
        for panel, name in zip(panels, names, strict=True):
            values = local_z(yields, name).reshape(yields.shape)
            mesh = panel.pcolormesh(
                edges_x, edges_y, values.T, cmap="RdBu_r", vmin=-LARGEST_Z, vmax=LARGEST_Z,
                rasterized=True,
            )  # fmt: skip
            width = float(np.sqrt(np.mean(values**2)))
            panel.set_title(
                f"against {'mu = 0' if name == 'null' else 'the post-fit model'}: rms {width:.2f}",
                loc="left", fontsize=8,
            )  # fmt: skip
            panel.set_xlabel(axis_label(yields.axes[0]))
        panels[0].set_ylabel(axis_label(yields.axes[1]))
        figure.colorbar(mesh, ax=list(panels), label="Z of the bin", extend="both")
        figure.suptitle(f"{yields.measurement}: bin-wise Z, red is an excess in {tested.name}")
    return figure
