"""The selections of a search, ranked: local significance beside the adjusted p-value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, numbers
from ddphf.results.provenance import describe_global

__all__ = ["draw_selections"]

SHOWN = 20
"""Rows that can be read."""


LONGEST = 70
"""Letters of a name beside its bar."""


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 23]}...{name[-20:]}"


def draw_selections(record: Mapping[str, Any]) -> Figure | None:
    """Draw local Z and adjusted p of the best selections, the best on top.

    Args:
        record: JSON form of the record of ``ddphf search events``.

    Returns:
        None where there are no selections.
    """
    found = (record.get("selections") or [])[:SHOWN]
    if not found:
        return None
    sign = {"excess": "Z", "deficit": "-Z", "both": "|Z|"}[record["direction"]]
    signed = numbers([entry["local"]["z"] for entry in found])
    z = {"Z": signed, "-Z": -signed, "|Z|": np.abs(signed)}[sign]
    p = numbers([entry["p_adjusted"] for entry in found])
    place = np.arange(len(found))[::-1]
    names = [_shortened(f"{entry['name']}  |  {entry['observable']}") for entry in found]
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(8.2, 1.4 + 0.24 * len(found)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        left.barh(place, np.nan_to_num(z), color=BLUE, alpha=0.7)
        quantile = ((record.get("null") or {}).get("quantiles") or {}).get("0.95")
        if quantile is not None and quantile > 0:
            left.axvline(quantile, color=GREY, ls="--", lw=0.8)
            left.annotate(
                "95 % of the largest of all without a signal", (quantile, 1.0), xytext=(0, 2),
                xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="right" if quantile > 0.5 * np.nanmax(z) else "left", va="bottom", fontsize=7,
                color="0.35",
            )  # fmt: skip
        left.set_yticks(place, names, fontsize=7)
        whole = not record["windows"]["n"]
        left.set_xlabel(f"local {sign} of the {'histogram' if whole else 'best window'}")
        right.plot(p, place, "o", color=ORANGE, ms=4)
        right.set_xscale("log")
        # Powers of ten are not typeset: names of selections may hold a dollar sign.
        right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        right.set_xlim(min(float(np.nanmin(p, initial=1.0)), 0.1) / 2, 2)
        right.axvline(0.05, color=GREY, lw=0.8, ls=":")
        right.set_xlabel("p adjusted for looking at all")
        total = len(record["selections"])
        figure.suptitle(
            f"{len(found)} of {total} histograms; global {describe_global(record['global'])}",
            x=0.01, ha="left", fontsize=9,
        )  # fmt: skip
    return figure
