"""Chapter of the report on a mass scan: limits and p-values of all hypotheses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddphf.figures.masses import draw_masses
from ddphf.report.page import draw, text
from ddphf.report.tables import Table, number

__all__ = ["masses_parts"]

Record = Mapping[str, Any]

MOST_ROWS = 10
"""Hypotheses of the table: those with the largest z."""

CAPTIONS = {
    "masses_limits": (
        "Upper limits against the scanned parameter with their expected bands",
        "Upper limits with the bands expected without a signal.",
    ),
    "masses_p0": (
        "Local p0 against the scanned parameter",
        "Local p0: each hypothesis as if no other had been looked at.",
    ),
    "masses_mu": ("Fitted signal strength with its error", "Fitted signal strength."),
    "masses_toys": (
        "Asymptotic limits divided by those of toys",
        "Asymptotic limits over those of toys: below 1 the formulas exclude too much.",
    ),
}


def masses_parts(record: Record | None) -> list[str]:
    """Return the sentences, the table and the figures of a mass scan.

    Args:
        record: JSON form of a record, or None.
    """
    if record is None:
        return []
    n, name = len(record["values"]), record["parameter"]["name"]
    unit = record["parameter"]["unit"]
    parts = [text(f"{n} hypotheses of {name}, {record['values'][0]:.5g} to "
                  f"{record['values'][-1]:.5g} {unit}.".replace(" .", "."))]  # fmt: skip
    overall = record["global"]
    if overall is not None:
        p, (low, high) = overall["p"], overall["p_interval"]
        said = f"< {high:.2g}" if p is None else f"= {p:.3g} [{low:.3g}, {high:.3g}]"
        parts.append(
            text(
                f"The largest local Z is {number(overall['z0'], 4)} at {overall['value']:.5g} "
                f"{unit}; without a signal some hypothesis reaches it with a global p {said}, from "
                f"{overall['toys']} toys of all hypotheses."
            )
        )
    else:
        parts.append(
            text("What looking at all of them costs was not asked for: every p0 here is local.")
        )
    empty = record.get("empty_bins")
    if empty:
        parts.append(
            text(
                f"{empty['n']} bins of {empty['hypotheses']} hypotheses have no simulated "
                f"background: policy {empty['policy']}; {empty.get('with_events', 0)} hypotheses "
                "have events where nothing but the signal is expected, and no q0."
            )
        )
    parts.append(_table(record).to_html())
    figures = draw_masses(record)
    for key, caption in CAPTIONS.items():
        figure = figures[key]
        if figure is not None:
            parts.append(draw(figure, *caption))
    return parts


def _table(record: Record) -> Table:
    levels = record["levels"]
    level = f"{100 * levels[0]:g} % limit" if levels else "limit"
    columns = (record["parameter"]["name"], record["poi"]["name"], "Z local", "p0 local", level,
               "expected")  # fmt: skip
    pairs = zip(record["values"], record["hypotheses"], strict=True)
    ranked = sorted(
        (pair for pair in pairs if pair[1]["z0"] is not None), key=lambda pair: -pair[1]["z0"]
    )
    rows = []
    for value, found in ranked[:MOST_ROWS]:
        limit = found["limit"].get("toys") or found["limit"].get("asymptotic") or {}
        expected = limit.get("expected") or [None] * 5
        rows.append(
            (f"{value:.5g}", number(found["mu_hat"], 4), number(found["z0"], 4),
             number(found["p0"], 3), number(limit.get("observed"), 4), number(expected[2], 4))
        )  # fmt: skip
    return Table("hypotheses with the largest local Z", columns, tuple(rows), labels=1)
