"""The null distribution of signed Z: toys beside what asymptotics expect of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.figures import style

__all__ = ["bin_toys", "draw_null"]


def bin_toys(z0: Array, observed: float | None) -> dict[str, Any]:
    """Return finite significances as a comparison that :func:`draw_null` draws.

    Args:
        z0: Signed significances, NaN where a toy failed.
        observed: That of the data; the bins are wide enough for it.

    Example:
        >>> found = bin_toys(np.array([-1.0, 0.2, np.nan]), 4.2)
        >>> found["n"], found["histogram"]["edges"][-1], sum(found["histogram"]["counts"])
        (2, 5.0, 2)
    """
    finite = z0[np.isfinite(z0)]
    reach = max([4.0, *np.abs(finite), *([] if observed is None else [abs(observed)])])
    reach = float(np.ceil(min(reach, 40.0) + 0.1))
    # As wide as the bins of discover.json.
    counts, edges = np.histogram(finite, np.linspace(-reach, reach, int(8 * reach) + 1))
    return {
        "n": len(finite),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def draw_null(comparison: Mapping[str, Any], observed: float | None, name: str) -> Figure:
    """Draw the toy null beside the asymptotic one: signed Z, and quantiles against quantiles.

    Args:
        comparison: ``null.comparison`` of a statement of discover.json, or of :func:`bin_toys`,
            which has no quantiles: they are left out.
        observed: Signed Z of the data, None where it is not known.
        name: Of what was tested.

    Example:
        >>> figure = draw_null(bin_toys(np.array([-1.0, 0.2, 0.4]), None), None, "discovery")
        >>> figure.get_suptitle(), len(figure.axes)
        ('null of discovery: 3 toys', 1)
    """
    ks, quantiles = comparison.get("ks"), comparison.get("quantiles")
    title = f"null of {style.short_name(name)}: {comparison['n']} toys"
    if ks:
        p = "" if ks["p_value"] is None else f" (p = {ks['p_value']:.2g})"
        title += f", KS distance {ks['distance']:.4f}{p}"
    with mpl.rc_context(style.FONT):
        width = 8.6 if quantiles else 5.4
        figure = Figure(figsize=(width, 3.9), layout="constrained")
        panels = style.panels_of(figure, 1, 2 if quantiles else 1)[0]
        _draw_histogram(panels[0], comparison, observed)
        if quantiles:
            _draw_quantiles(panels[1], quantiles, comparison["n"])
        figure.suptitle(title, fontsize=10)
    return figure


def _draw_histogram(panel: Axes, comparison: Mapping[str, Any], z0: float | None) -> None:
    edges = style.numbers(comparison["histogram"]["edges"])
    counts = style.numbers(comparison["histogram"]["counts"])
    n, centres = comparison["n"], 0.5 * (edges[1:] + edges[:-1])
    expected = n * np.diff(norm.cdf(edges))
    if comparison.get("reference") == "normal_capped" and edges[0] <= 0 < edges[-1]:
        first = int(np.searchsorted(edges, 0.0, side="right")) - 1
        expected[:first] = 0.0
        expected[first] += 0.5 * n
    panel.stairs(expected, edges, color=style.BLUE, lw=1.5, label="asymptotic", baseline=None)
    seen, outside = counts > 0, n - counts.sum()
    label = "toys" if outside <= 0 else f"toys, {outside:g} outside"
    panel.errorbar(
        centres[seen], counts[seen], np.sqrt(counts[seen]), fmt="k.", ms=4, lw=0.8, label=label
    )
    if z0 is not None:
        shown = float(np.clip(z0, edges[0], edges[-1]))
        label = f"observed Z = {z0:.2f}" + ("" if shown == z0 else " (outside)")
        panel.axvline(shown, color=style.ORANGE, lw=1.5, ls="--", label=label)
    style.log_scale(panel.yaxis)
    panel.set_ylim(0.5, 20 * max(counts.max(), expected.max(), 1.0))
    panel.set_xlim(edges[0], edges[-1])
    panel.set_xlabel("signed significance Z")
    width = "bin" if style.is_uneven(edges) else format(edges[1] - edges[0], "g")
    panel.set_ylabel(f"toys / {width}")
    panel.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_quantiles(panel: Axes, quantiles: Mapping[str, Any], n: int) -> None:
    p, x, y = (style.numbers(quantiles[key]) for key in ("probability", "asymptotic", "toys"))
    if len(p) == 0 or n == 0:
        panel.text(0.5, 0.5, "too few toys", ha="center", transform=panel.transAxes)
        panel.set_axis_off()
        return
    error = np.sqrt(p * (1 - p) / n) / norm.pdf(norm.ppf(p))
    ends = [float(min(x.min(), y.min())) - 0.3, float(max(x.max(), y.max())) + 0.3]
    panel.fill_between(x, x - error, x + error, color=style.BLUE, alpha=0.25, lw=0,
                       label="68 % of samples of this size")  # fmt: skip
    panel.plot(ends, ends, color=style.BLUE, lw=1)
    panel.plot(x, y, "k.", ms=4, label="toys")
    panel.set_xlim(*ends)
    panel.set_ylim(*ends)
    panel.set_aspect("equal", adjustable="box")
    panel.set_xlabel("asymptotic quantile of Z")
    panel.set_ylabel("toy quantile of Z")
    panel.legend(fontsize=8, frameon=False, loc="upper left")
