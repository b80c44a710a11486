"""Upper limits: CLs against the signal strength, from the record of ``ddphf limit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddphf.arrays import Array
from ddphf.figures.style import BLUE, FONT, ORANGE, log_scale, numbers, panels_of, short_name

__all__ = ["draw_limit"]

BANDS = ("#F0E442", "#009E73")
"""Two and one sigma."""

LOWEST = 1e-6
"""CLs of no toy at all, on a logarithmic axis."""


def draw_limit(limit: Mapping[str, Any]) -> Figure | None:
    """Draw CLs against the signal strength with its expected bands; None without a scan.

    Args:
        limit: A record of limits: ``level``, and ``asymptotic``, ``toys`` or both.
    """
    parts = {
        key: limit[key]
        for key in ("asymptotic", "toys")
        if limit.get(key) and limit[key].get("scan")
    }
    if not parts:
        return None
    alpha = 1 - limit["level"]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(5.4, 4.2), layout="constrained")
        ((panel,),) = panels_of(figure)
        if "asymptotic" in parts:
            _draw_asymptotic_cls(panel, parts["asymptotic"])
        if "toys" in parts:
            _draw_toy_cls(panel, parts["toys"], bands="asymptotic" not in parts)
        log_scale(panel.yaxis)
        known = 0 < alpha < 1  # records of other programs may hold anything
        if known:
            panel.axhline(alpha, color=ORANGE, lw=1.2, ls="--")
            panel.text(
                0.015, alpha * 1.06, f"{100 * limit['level']:.4g} % CL", color=ORANGE, fontsize=8,
                transform=panel.get_yaxis_transform(), va="bottom", zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
        panel.set_ylim((alpha if known else 0.05) / 20, 60)  # the legend is above CLs = 1
        stated = [(p.get("observed"), *(p.get("expected") or ())) for p in parts.values()]
        ends = [x for part in stated for x in part if x is not None]
        right = 1.35 * max(ends, default=max(max(p["scan"]["mu"]) for p in parts.values()))
        if right > 0:
            panel.set_xlim(0, right)
        panel.set_xlabel(f"signal strength {short_name(limit.get('poi', 'mu'))}")
        panel.set_ylabel("CLs")
        panel.set_title(short_name(limit["measurement"]), loc="left", fontsize=9)
        panel.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def _draw_asymptotic_cls(panel: Axes, part: Mapping[str, Any]) -> None:
    scan = part["scan"]
    mu = numbers(scan["mu"])
    if scan.get("expected"):
        _draw_bands(panel, mu, numbers(scan["expected"]))
    panel.plot(
        *_from_zero(mu, numbers(scan["observed"])), "k-", lw=1.5,
        label=f"observed, limit {_limit_text(part)}",
    )  # fmt: skip


def _draw_toy_cls(panel: Axes, part: Mapping[str, Any], *, bands: bool) -> None:
    scan = part["scan"]
    mu, cls = numbers(scan["mu"]), numbers(scan["observed"])
    error = np.fmax(numbers(scan.get("observed_error") or [None] * len(mu)), 0.0)
    if scan.get("expected"):
        ends = np.maximum(numbers(scan["expected"]), LOWEST)
        if bands:
            _draw_bands(panel, mu, ends)
        else:
            panel.plot(mu, ends[2], "x", color=BLUE, ms=5, label="expected, toys")
    seen = cls > 0
    panel.errorbar(
        mu[seen], cls[seen], error[seen], fmt="o", color=BLUE, ms=3.5, lw=0.9,
        label=f"observed, toys, limit {_limit_text(part)}",
    )  # fmt: skip


def _draw_bands(panel: Axes, mu: Array, bands: Array) -> None:
    mu, bands = _from_zero(mu, bands)
    panel.fill_between(mu, bands[0], bands[4], color=BANDS[0], lw=0, label="expected, 2 sigma")
    panel.fill_between(mu, bands[1], bands[3], color=BANDS[1], lw=0, label="expected, 1 sigma")
    panel.plot(mu, bands[2], "k--", lw=1, label="expected")


def _from_zero(mu: Array, cls: Array) -> tuple[Array, Array]:
    """Return the curves with their point at 0, where nothing is excluded: CLs is 1."""
    if not mu[0] > 0:
        return mu, cls
    ones = np.ones((*cls.shape[:-1], 1))
    return np.append(0.0, mu), np.concatenate([ones, cls], axis=-1)


def _limit_text(part: Mapping[str, Any]) -> str:
    if part["observed"] is None:
        return "not reached"
    error = part.get("observed_error")
    return f"{part['observed']:.4g}" + ("" if error is None else f" +- {error:.1g}")
