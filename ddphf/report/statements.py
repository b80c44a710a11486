"""Figures of discovery statements and limits, drawn from their records."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ddphf.report.figures import BLUE, FONT, ORANGE

__all__ = ["draw_limit", "draw_nulls"]

BANDS = ("#F0E442", "#009E73")
"""Two and one sigma."""


def draw_nulls(statement: dict[str, Any]) -> Figure:
    """Draw the toy null beside the asymptotic one: signed Z, and quantiles against quantiles.

    Args:
        statement: One of ``statements`` of discover.json, with ``null.comparison``.

    Returns:
        A figure with two panels.
    """
    comparison, z0 = statement["null"]["comparison"], statement["observed"]["z0"]
    capped = comparison["reference"] == "normal_capped"
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(8.6, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_histogram(left, comparison, z0, capped)
        _draw_quantiles(right, comparison)
        figure.suptitle(
            f"null of {statement['measurement']}: {comparison['n']} toys, "
            f"KS distance {comparison['ks']['distance']:.4f} "
            f"(p = {comparison['ks']['p_value']:.2g})",
            fontsize=10,
        )
    return figure


def _draw_histogram(panel: Any, comparison: dict[str, Any], z0: float, capped: bool) -> None:
    edges = np.array(comparison["histogram"]["edges"])
    counts = np.array(comparison["histogram"]["counts"], dtype=float)
    n, centres = comparison["n"], 0.5 * (edges[1:] + edges[:-1])
    expected = n * np.diff(norm.cdf(edges))
    if capped:
        first = int(np.searchsorted(edges, 0.0, side="right")) - 1
        expected[:first] = 0.0
        expected[first] += 0.5 * n
    panel.stairs(expected, edges, color=BLUE, lw=1.5, label="asymptotic", baseline=None)
    seen = counts > 0
    panel.errorbar(
        centres[seen], counts[seen], np.sqrt(counts[seen]), fmt="k.", ms=4, lw=0.8, label="toys"
    )
    shown = float(np.clip(z0, edges[0], edges[-1]))
    label = f"observed Z = {z0:.2f}" + ("" if shown == z0 else " (outside)")
    panel.axvline(shown, color=ORANGE, lw=1.5, ls="--", label=label)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")  # mathematics is not parsed here
    panel.set_ylim(0.5, 20 * max(counts.max(), expected.max()))
    panel.set_xlim(edges[0], edges[-1])
    panel.set_xlabel("signed significance Z")
    panel.set_ylabel(f"toys / {edges[1] - edges[0]:g}")
    panel.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_quantiles(panel: Any, comparison: dict[str, Any]) -> None:
    quantiles = {key: np.array(values) for key, values in comparison["quantiles"].items()}
    p, x, y = (quantiles[key] for key in ("probability", "asymptotic", "toys"))
    if len(p) == 0:
        panel.text(0.5, 0.5, "too few toys", ha="center", transform=panel.transAxes)
        return
    error = np.sqrt(p * (1 - p) / comparison["n"]) / norm.pdf(norm.ppf(p))
    ends = [float(min(x.min(), y.min())) - 0.3, float(max(x.max(), y.max())) + 0.3]
    panel.fill_between(x, x - error, x + error, color=BLUE, alpha=0.25, lw=0,
                       label="68 % of samples of this size")  # fmt: skip
    panel.plot(ends, ends, color=BLUE, lw=1)
    panel.plot(x, y, "k.", ms=4, label="toys")
    panel.set_xlim(ends)
    panel.set_ylim(ends)
    panel.set_aspect("equal", adjustable="box")
    panel.set_xlabel("asymptotic quantile of Z")
    panel.set_ylabel("toy quantile of Z")
    panel.legend(fontsize=8, frameon=False, loc="upper left")


def draw_limit(limit: dict[str, Any]) -> Figure:
    """Draw CLs against the signal strength with its expected bands.

    Args:
        limit: Contents of limit.json.
    """
    alpha = 1 - limit["level"]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.4, 4.2), layout="constrained")
        panel = figure.subplots()
        if "asymptotic" in limit:
            _draw_scan(panel, limit["asymptotic"])
        if "toys" in limit:
            _draw_toys(panel, limit["toys"], bands="asymptotic" not in limit)
        panel.axhline(alpha, color=ORANGE, lw=1.2, ls="--")
        panel.text(
            0.015, alpha * 1.06, f"{100 * limit['level']:.4g} % CL", color=ORANGE, fontsize=8,
            transform=panel.get_yaxis_transform(), va="bottom", zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_ylim(alpha / 20, 60)  # the legend is above CLs = 1
        parts = [limit[key] for key in ("asymptotic", "toys") if key in limit]
        ends = [x for p in parts for x in (p["observed"], *p["expected"]) if x is not None]
        panel.set_xlim(0, 1.35 * max(ends, default=parts[0]["scan"]["mu"][-1]))
        panel.set_xlabel(f"signal strength {limit['poi']}")
        panel.set_ylabel("CLs")
        panel.set_title(limit["measurement"], loc="left", fontsize=9)
        panel.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def _draw_scan(panel: Any, part: dict[str, Any]) -> None:
    scan = part["scan"]
    # At mu = 0 nothing is excluded: CLs is 1.
    mu = np.append(0.0, scan["mu"])
    bands = np.column_stack([np.ones(5), scan["expected"]])
    panel.fill_between(mu, bands[0], bands[4], color=BANDS[0], lw=0, label="expected, 2 sigma")
    panel.fill_between(mu, bands[1], bands[3], color=BANDS[1], lw=0, label="expected, 1 sigma")
    panel.plot(mu, bands[2], "k--", lw=1, label="expected")
    observed = np.append(1.0, scan["observed"])
    panel.plot(mu, observed, "k-", lw=1.5, label=f"observed, limit {_say(part)}")


def _draw_toys(panel: Any, part: dict[str, Any], *, bands: bool) -> None:
    scan = part["scan"]
    mu, cls, error = (np.array(scan[key]) for key in ("mu", "observed", "observed_error"))
    if bands:
        ends = np.maximum(np.array(scan["expected"]), 1e-6)
        panel.fill_between(mu, ends[0], ends[4], color=BANDS[0], lw=0, label="expected, 2 sigma")
        panel.fill_between(mu, ends[1], ends[3], color=BANDS[1], lw=0, label="expected, 1 sigma")
        panel.plot(mu, ends[2], "k--", lw=1, label="expected")
    else:
        panel.plot(mu, np.maximum(scan["expected"][2], 1e-6), "x", color=BLUE, ms=5,
                   label="expected, toys")  # fmt: skip
    seen = cls > 0
    panel.errorbar(
        mu[seen], cls[seen], error[seen], fmt="o", color=BLUE, ms=3.5, lw=0.9,
        label=f"observed, toys, limit {_say(part)}",
    )  # fmt: skip


def _say(part: dict[str, Any]) -> str:
    if part["observed"] is None:
        return "not reached"
    error = part.get("observed_error")
    return f"{part['observed']:.4g}" + ("" if error is None else f" +- {error:.1g}")
