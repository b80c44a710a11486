"""Pulls, correlations and the ranking of the parameters that are not per bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ddphf.figures.style import BLUE, FONT, GREY, ORANGE, numbers, panels_of, short_name
from ddphf.results.yields import PullResult

__all__ = ["SHOWN_IMPACTS", "draw_correlations", "draw_pulls", "draw_ranking"]

SHOWN_PULLS = 60
SHOWN_CORRELATIONS = 40
SHOWN_IMPACTS = 25

MOST_WRITTEN = 12
"""Rows of a matrix whose numbers can be read in their cells."""


def draw_pulls(pulls: Sequence[PullResult]) -> Figure:
    """Draw (value - nominal) / width and error / width of the constrained parameters.

    Args:
        pulls: In the model's order; of more than 60 the largest are drawn, and the title says so.

    Example:
        >>> figure = draw_pulls([PullResult("lumi", 1.01, 0.015, 1.0, 0.02)])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['lumi']
    """
    shown = sorted(pulls, key=lambda pull: -abs(pull.pull))[:SHOWN_PULLS]
    shown = [pull for pull in pulls if pull in shown]
    title = "pulls" if len(shown) == len(pulls) else f"pulls, largest {len(shown)} of {len(pulls)}"
    place = np.arange(len(shown))
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(6.4, 0.9 + 0.2 * max(len(shown), 2)), layout="constrained")
        ((axes,),) = panels_of(figure)
        axes.axvspan(-2, 2, color=GREY, alpha=0.2, lw=0)
        axes.axvspan(-1, 1, color=GREY, alpha=0.35, lw=0)
        axes.axvline(0.0, color="k", lw=0.6)
        widths = np.fmax(numbers([p.constraint for p in shown]), 0.0)  # no bar without an error
        axes.errorbar(
            [p.pull for p in shown], place, xerr=widths, fmt=".", ms=5, lw=1.2, color=BLUE,
        )  # fmt: skip
        reach = max([2.2, *(1.08 * (abs(p.pull) + (p.constraint or 0.0)) for p in shown)])
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(place, [short_name(p.name) for p in shown], fontsize=8)
        axes.set_xlabel("(fitted - nominal) / width of the constraint")
        figure.suptitle(title, fontsize=10)
    return figure


def draw_correlations(correlations: Mapping[str, Any]) -> Figure:
    """Draw the correlation matrix of the fitted parameters that are not per bin.

    Args:
        correlations: ``names`` and ``matrix``; of more than 40 those with the largest correlation
            to another one are drawn, and the title says so.
    """
    names, matrix = list(correlations["names"]), np.array(correlations["matrix"], dtype=float)
    off = np.abs(matrix - np.diag(np.diag(matrix)))
    total = len(names)
    if total > SHOWN_CORRELATIONS:
        kept = np.sort(np.argsort(-off.max(axis=0), kind="stable")[:SHOWN_CORRELATIONS])
        names, matrix = [names[i] for i in kept], matrix[np.ix_(kept, kept)]
    n = len(names)
    title = "correlations" if n == total else f"correlations, strongest {n} of {total}"
    ticks = [short_name(name) for name in names]
    written = n <= MOST_WRITTEN
    side = 0.7 + 0.065 * max(map(len, ticks)) + (0.31 if written else 0.17) * max(n, 6)
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(side + 0.9, side), layout="constrained")
        ((axes,),) = panels_of(figure)
        image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
        axes.set_xticks(range(n), ticks, rotation=90, fontsize=7)
        axes.set_yticks(range(n), ticks, fontsize=7)
        if written:
            for (row, column), value in np.ndenumerate(matrix):
                if abs(value) < 0.005:
                    continue  # 0.00, and half of them with a minus
                colour = "w" if abs(value) > 0.6 else "k"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6,
                          color=colour)  # fmt: skip
        figure.colorbar(image, ax=axes, label="correlation", shrink=0.8)
        figure.suptitle(title, fontsize=10)
    return figure


def draw_ranking(ranking: Mapping[str, Any]) -> Figure:
    """Draw the impacts on the parameter of interest, with the pulls.

    A question mark stands where a post-fit impact is null: a refit failed, or none is defined.
    Without constraints there are no pulls and no pre-fit impacts, and no panel and legend of them.

    Args:
        ranking: Record of a ranking: ``poi`` and ``parameters`` in falling impact.
    """
    entries = list(ranking["parameters"])[:SHOWN_IMPACTS]
    total = int(ranking.get("n_ranked", len(ranking["parameters"])))
    poi = short_name(ranking["poi"]["name"])
    place = np.arange(len(entries))
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(7.2, 1.2 + 0.22 * max(len(entries), 3)), layout="constrained")
        pulls, errors = (numbers([e.get(k) for e in entries]) for k in ("pull", "constraint"))
        known, errors = ~np.isnan(pulls), np.fmax(errors, 0.0)  # no bar where there is no error
        widths = (1.0, 1.6) if known.any() else (1.6,)
        panels = panels_of(figure, 1, len(widths), sharey=True, width_ratios=widths)[0]
        left, right = panels[0], panels[-1]
        if known.any():
            left.axvspan(-1, 1, color=GREY, alpha=0.3, lw=0)
            left.axvline(0.0, color="k", lw=0.6)
            left.errorbar(pulls[known], place[known], xerr=errors[known], fmt="k.", ms=5, lw=1.0)
            left.set_xlabel("pull")
            reach = max([1.6, *(1.1 * (np.abs(pulls[known]) + errors[known]))])
            left.set_xlim(-reach, reach)
        right.axvline(0.0, color="k", lw=0.6)
        for side, colour, sign in (("up", ORANGE, 1), ("down", BLUE, -1)):
            found = {
                kind: numbers([e.get(f"{kind}_{side}") for e in entries])
                for kind in ("prefit", "postfit")
            }
            hollow, solid = map(np.nan_to_num, found.values())
            if not np.isnan(found["prefit"]).all():
                right.barh(place, hollow, height=0.8, facecolor="none", edgecolor=colour, lw=0.9,
                           label=f"pre-fit, {side}")  # fmt: skip
            right.barh(place, solid, height=0.8, facecolor=colour, alpha=0.6, lw=0,
                       label=f"post-fit, {side}")  # fmt: skip
            for row in np.flatnonzero(np.isnan(found["postfit"])):
                right.annotate("?", (0, row), xytext=(sign * 6, 0), textcoords="offset points",
                               ha="center", va="center", color=colour, fontsize=8)  # fmt: skip
        right.set_xlabel(f"shift of {poi}")
        right.locator_params(axis="x", nbins=6)
        left.set_yticks(place, [short_name(entry["name"]) for entry in entries], fontsize=8)
        left.set_ylim(len(entries) - 0.4, -0.6)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=4,
                      fontsize=7, frameon=False)  # fmt: skip
        shown = "" if len(entries) >= total else f", largest {len(entries)} of {total}"
        figure.suptitle(f"impacts on {poi}{shown}", fontsize=10)
    return figure
