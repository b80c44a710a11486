"""Chapters of the report on limits, scans, goodness of fit and rankings, from their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddphf.figures.limit import draw_limit
from ddphf.figures.parameters import SHOWN_IMPACTS, draw_ranking
from ddphf.figures.scan import draw_scan
from ddphf.report.page import draw, note, text
from ddphf.report.tables import Table, number, with_error
from ddphf.results.fit import describe_error
from ddphf.results.scan import ScanResult

__all__ = ["goodness_parts", "limit_parts", "ranking_parts", "scan_parts"]

Record = Mapping[str, Any]


def limit_parts(limit: Record | None) -> list[str]:
    """Return upper limits and intervals."""
    if limit is None:
        return []
    poi, rows = limit.get("poi", "mu"), []
    for key in ("asymptotic", "toys"):
        entry = limit.get(key)
        if entry:
            error = entry.get("observed_error")
            value = entry["observed"]
            observed = number(value, 5)
            if value is not None and error is not None:
                observed = with_error(value, error)
            bands = entry.get("expected") or [None] * 5
            rows.append((key, observed, *(number(x, 5) for x in bands)))
    parts = [note("Upper limit" if rows else "Intervals")]
    if rows:
        columns = ("", "observed", "-2 sigma", "-1 sigma", "expected", "+1 sigma", "+2 sigma")
        title = f"CLs upper limit on {poi} at {100 * limit['level']:g} %"
        parts.append(Table(title, columns, tuple(rows)).to_html())
    if limit.get("intervals"):
        cells = tuple(
            (f"{100 * i['level']:.4g} %, {i['method']}", number(i["lower"], 5),
             number(i["upper"], 5))
            for i in limit["intervals"]
        )  # fmt: skip
        parts.append(Table(f"intervals of {poi}", ("", "from", "to"), cells).to_html())
    figure = draw_limit(limit)
    if figure is not None:
        drawn = [key for key in ("asymptotic", "toys") if (limit.get(key) or {}).get("scan")]
        parts.append(
            draw(
                figure,
                f"CLs against {poi}, observed and expected",
                f"CLs ({' and '.join(drawn)}); {poi} is excluded where it is below "
                f"{1 - limit['level']:g}.",
            )
        )
    return parts


def scan_parts(scans: Sequence[ScanResult]) -> list[str]:
    """Return the profile scans."""
    parts = []
    for scan in scans:
        names = " and ".join(p.name for p in scan.parameters)
        intervals = "; ".join(
            f"{100 * i['level']:.3g} %: {number(i['low'], 5) or 'bound'} to "
            f"{number(i['high'], 5) or 'bound'}"
            for i in scan.intervals
        )
        lines = ", ".join(f"{100 * c['level']:.3g} %" for c in scan.contours)
        parts.append(
            draw(
                draw_scan(scan),
                f"Profile likelihood of {names}",
                f"Profile likelihood of {names}"
                + (f"; lines at {lines}, two degrees of freedom." if lines else f". {intervals}"),
            )
        )
        if scan.failures:
            parts.append(text(f"{len(scan.failures)} points without a certified fit are left out."))
    return [note("Profile likelihood"), *parts] if parts else []


def goodness_parts(goodness: Record | None) -> list[str]:
    """Return the deviance from the saturated model and its p-values."""
    if goodness is None:
        return []
    rows = [
        ("deviance from the saturated model", number(goodness["statistic"], 6)),
        ("degrees of freedom", number(goodness["degrees_of_freedom"], 6)),
        ("p-value, asymptotic", number(goodness["p_value"], 3)),
    ]
    if goodness.get("expected_statistic") is not None:
        rows.insert(2, ("expected deviance", number(goodness["expected_statistic"], 6)))
    toys = goodness.get("toys")
    if toys:
        rows.append((f"p-value, {toys['n']} toys", number(toys["p_value"], 3)))
    parts = [
        Table("goodness of fit", ("", "value"), tuple(rows)).to_html(),
        text(
            "2NLL of the fit minus 2NLL of a model that has every count right and every constraint "
            "at its best.",
            "" if goodness.get("asymptotic", True) else "Counts are low: the toys decide.",
        ),
    ]
    pulls = [
        (str(c["name"]), np.array(c["pulls"], dtype=float)) for c in goodness.get("channels") or ()
    ]
    if pulls:
        cells = tuple(
            (name, str(np.isfinite(x).sum()), f"{np.nanmean(x):.3f}", f"{np.nanstd(x):.3f}",
             f"{np.nanmin(x):.2f}", f"{np.nanmax(x):.2f}")
            for name, x in pulls
            if np.isfinite(x).any()
        )  # fmt: skip
        columns = ("channel", "bins", "mean", "width", "smallest", "largest")
        parts.append(Table("pulls per bin", columns, cells).to_html())
    return parts


def ranking_parts(r: Record | None) -> list[str]:
    """Return what moves the parameter of interest, and what its error is made of."""
    if r is None:
        return []
    poi = r["poi"]
    parts = [
        text(
            f"Shift of {poi['name']} = {poi['value']:.4g} {describe_error(poi['error'], 3)} when a "
            "parameter is held one standard deviation up or down and everything else is fitted "
            "again; pre-fit: by the width of its constraint."
        )
    ]
    if r["parameters"]:
        leading = r["parameters"][0]["name"]
        sides = [p.get(side) for p in r["parameters"] for side in ("postfit_up", "postfit_down")]
        holes = " ?: a refit failed, or no impact is defined." if None in sides else ""
        beside = ""
        if any(p.get("pull") is not None for p in r["parameters"][:SHOWN_IMPACTS]):
            beside = "; outlined: pre-fit. Left: pulls in units of the prior width"
        parts.append(
            draw(
                draw_ranking(r),
                f"Impacts of the leading parameters on {poi['name']}; {leading} is the largest",
                f"Filled: post-fit impact{beside}.{holes}",
            )
        )
    if r.get("groups"):
        rows = tuple(
            (
                str(g["name"]),
                *(number(g.get(k), 4) for k in ("impact", "frozen_error", "auxiliary")),
            )
            for g in r["groups"]
        )
        parts.append(
            Table(
                f"groups of parameters and the error of {poi['name']}",
                ("group", "impact", "error without", "by auxiliary data"),
                rows,
            ).to_html()
        )
    kinds = [key for key in ("frozen", "auxiliary") if r.get(key)]
    if kinds:
        titles = {"frozen": "by freezing parameters", "auxiliary": "by shifting auxiliary data"}
        rows_ = tuple(
            (part, *(number(r[key].get(part), 4) for key in kinds))
            for part in ("total", "statistical", "systematic")
        )
        table = Table(f"error of {poi['name']}", ("", *(titles[key] for key in kinds)), rows_)
        parts.append(table.to_html())
    for failure in r.get("failures", ()):
        parts.append(text(f"Failed refit: {failure['parameter']}: {failure['reason']}"))
    return parts
