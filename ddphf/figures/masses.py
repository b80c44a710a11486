"""Figures of a mass scan: limits, p0 and the signal strength against the scanned parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.figures.limit import BANDS
from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, log_scale, numbers, panels_of, short_name

__all__ = ["draw_masses"]

Record = Mapping[str, Any]

WIDE = (7.2, 3.6)

LOWEST_P = 1e-12
"""Of the axis of p0."""


def draw_masses(record: Record) -> dict[str, Figure | None]:
    """Draw a mass scan; None for a figure without anything to draw.

    Args:
        record: A record of ``ddphf masses``.

    Returns:
        ``masses_limits``, ``masses_p0``, ``masses_mu`` and ``masses_toys`` by name.
    """
    x = numbers(record["values"])
    with mpl.rc_context(FONT):
        return {
            "masses_limits": _draw_limits(record, x),
            "masses_p0": _draw_p0(record, x),
            "masses_mu": _draw_mu(record, x),
            "masses_toys": _draw_toys(record, x),
        }


def _column(record: Record, *path: str) -> Array:
    """Return a number of each hypothesis, NaN where it has none."""
    out = []
    for found in record["hypotheses"]:
        value: Any = found
        for key in path:
            value = (value or {}).get(key)
        out.append(value)
    return numbers(out)


def _bands(record: Record, method: str, key: str = "expected") -> Array:
    """Return the expected limits at -2 to 2 sigma, or their errors, shape (n, 5)."""
    none = [None] * 5
    rows = [(found["limit"].get(method) or {}).get(key) or none
            for found in record["hypotheses"]]  # fmt: skip
    return numbers(rows)


def _frame(record: Record, label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=WIDE, layout="constrained")
    ((panel,),) = panels_of(figure)
    unit = record["parameter"]["unit"]
    name = short_name(record["parameter"]["name"])
    panel.set_xlabel(f"{name} [{unit}]" if unit else name)
    panel.set_ylabel(label)
    panel.set_title(short_name(record["name"]), loc="left", fontsize=9)
    return figure, panel


def _poi(record: Record) -> str:
    unit = record["poi"]["unit"]
    name = short_name(record["poi"]["name"])
    return f"{name} [{unit}]" if unit else name


def _levels(record: Record) -> str:
    levels = record.get("levels") or ()
    return f"{100 * levels[0]:.4g} % " if levels else ""


def _draw_limits(record: Record, x: Array) -> Figure | None:
    """Draw the observed limit over the expected bands: of toys where there are any."""
    observed = {m: _column(record, "limit", m, "observed") for m in ("asymptotic", "toys")}
    method = "toys" if np.isfinite(observed["toys"]).any() else "asymptotic"
    bands = _bands(record, method)
    if not np.isfinite(observed[method]).any() and not np.isfinite(bands).any():
        return None
    figure, panel = _frame(record, f"{_levels(record)}upper limit of {_poi(record)}")
    # Toys may not resolve one edge: each strip is drawn where both of its own are known.
    for low, colour, label in ((0, 0, "expected, 2 sigma"), (1, 1, "expected, 1 sigma"),
                               (2, 1, ""), (3, 0, "")):  # fmt: skip
        panel.fill_between(x, bands[:, low], bands[:, low + 1], color=BANDS[colour], lw=0,
                           label=label or None)  # fmt: skip
    unresolved = int((~np.isfinite(bands)).any(axis=1).sum())
    missing = f"; bands incomplete at {unresolved} of {len(x)}" if unresolved else ""
    panel.plot(x, bands[:, 2], "k.--", lw=1, ms=2, label=f"expected, {method}{missing}")
    panel.plot(x, observed[method], "k.-", lw=1, ms=3, label=f"observed, {method}")
    if method == "toys":
        panel.plot(x, observed["asymptotic"], color=BLUE, lw=0.8, label="observed, asymptotic")
    log_scale(panel.yaxis)
    panel.legend(fontsize=8, frameon=False)
    return figure


def _draw_p0(record: Record, x: Array) -> Figure | None:
    """Draw the local p0, and what local values are worth in all."""
    p0 = np.maximum(_column(record, "p0"), LOWEST_P)
    if not np.isfinite(p0).any():
        return None
    figure, panel = _frame(record, "local p0")
    panel.plot(x, p0, "k-", lw=0.8)
    lowest = float(np.nanmin(p0))
    for z in range(1, 8):
        p = float(norm.sf(z))
        if p < lowest / 30:
            break
        panel.axhline(p, color=GREY, lw=0.6, ls=":")
        panel.text(1.005, p, f"{z} sigma", fontsize=7, color=GREY, va="center",
                   transform=panel.get_yaxis_transform())  # fmt: skip
    missing = ~np.isfinite(p0)
    if missing.any():
        panel.plot(x[missing], np.full(missing.sum(), 0.7), "|", color=GREY, ms=5,
                   label="mu = 0 is impossible")  # fmt: skip
    overall = record.get("global")
    if overall:
        p = overall["p"]
        word = f"below {overall['p_interval'][1]:.2g}" if p is None else f"{p:.3g}"
        panel.plot([overall["value"]], [max(overall.get("p0") or lowest, LOWEST_P)], "o",
                   color=ORANGE, ms=5, label=f"best of all, global p {word}")  # fmt: skip
    if missing.any() or overall:
        panel.legend(fontsize=8, frameon=False, loc="lower left")
    log_scale(panel.yaxis)
    panel.set_ylim(lowest / 30, 1.0)
    return figure


def _draw_mu(record: Record, x: Array) -> Figure | None:
    """Draw the fitted strength with its error, where it has one."""
    mu, error = _column(record, "mu_hat"), _column(record, "mu_error")
    if not np.isfinite(mu).any():
        return None
    figure, panel = _frame(record, f"fitted {_poi(record)}")
    inside = error > 0  # at a bound the Hessian says nothing of the error
    width = np.where(inside, error, np.nan)
    panel.fill_between(x, mu - width, mu + width, color=BLUE, alpha=0.3, lw=0)
    panel.errorbar(x, mu, width, fmt="none", ecolor=BLUE, elinewidth=0.6, alpha=0.6, label="error")
    panel.plot(x, mu, color=BLUE, lw=0.8, label=f"fitted {short_name(record['poi']['name'])}")
    bound = np.isfinite(mu) & ~inside
    if bound.any():
        panel.plot(x[bound], mu[bound], ".", color=GREY, ms=3, label="at a bound, without an error")
    panel.axhline(0.0, color=GREY, lw=0.6)
    panel.legend(fontsize=8, frameon=False)
    return figure


def _draw_toys(record: Record, x: Array) -> Figure | None:
    """Draw asymptotic limits over those of toys."""
    observed = {m: _column(record, "limit", m, "observed") for m in ("asymptotic", "toys")}
    median = {m: _bands(record, m)[:, 2] for m in ("asymptotic", "toys")}
    ratios = [
        np.divide(v["asymptotic"], v["toys"], out=np.full(len(x), np.nan), where=v["toys"] > 0)
        for v in (observed, median)
    ]
    if not any(np.isfinite(ratio).any() for ratio in ratios):
        return None
    figure, panel = _frame(record, f"{_levels(record)}limit, asymptotic / toys")
    of_median = _bands(record, "toys", "expected_error")[:, 2]
    errors = (_column(record, "limit", "toys", "error"), of_median)
    tops = (observed["toys"], median["toys"])
    for ratio, error, top, colour, name in zip(
        ratios, errors, tops, ("k", BLUE), ("observed", "expected"), strict=True
    ):
        panel.errorbar(x, ratio, ratio * error / top, fmt=".", color=colour, ms=3, elinewidth=0.5,
                       label=name)  # fmt: skip
    panel.axhline(1.0, color=GREY, lw=0.6)
    panel.legend(fontsize=8, frameon=False)
    return figure
