"""Chapter of the report on what was learned: p-values by redrawn labels, curve, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddphf.figures.learn import draw_learned_curve, draw_learned_null, draw_learned_power
from ddphf.report.page import draw, note, text
from ddphf.report.tables import Table, number, with_error
from ddphf.results.learn import describe_band, describe_p

__all__ = ["learn_parts"]

Record = Mapping[str, Any]

TITLES = {
    "test": "whether the samples differ",
    "curve": "where the samples differ",
    "power": "how large a difference would be seen",
    "study": "symmetrised NPLM done again",
}


def learn_parts(record: Record) -> list[str]:
    """Return tables and figures of a record.

    Args:
        record: JSON form of the record.
    """
    kind = record["kind"]
    names = ", ".join(v.get("label") or v["column"] for v in record.get("variables") or ())
    parts = [note(f"Learned: {TITLES[kind]}" + (f", in {names}" if names else ""))]
    labels = record.get("labels")
    if labels:
        parts.append(
            text(
                f"{labels['n_tested']} events of the tested sample and {labels['n_partner']} of "
                "its partner. Given the events each label is a coin, of probability "
                f"{labels['pi_min']:.3g} to {labels['pi_max']:.3g} by efficiencies and fakes; "
                "redrawing the labels gives the null of any statistic."
            )
        )
    if record.get("p") is not None:
        parts.append(text(f"{record['statistic']}: {describe_p(dict(record))}."))
    if record.get("members"):
        parts.append(_members(record).to_html())
    chi2 = record.get("chi2_12")
    if chi2 and record["statistic"] in ("network", "nplm"):
        parts.append(
            text(
                f"By chi2 with 12 degrees of freedom p would be {number(chi2['p'], 3)}; the "
                f"redraws follow it with a KS p-value of {number(chi2['null_ks_p'], 2)}."
            )
        )
    if band := describe_band(record):
        parts.append(text(f"{band}."))
    figures = (
        (draw_learned_null(record), "The statistic in redraws of the labels, and in the data"),
        (draw_learned_curve(record), "Learned log ratio with its bands without a difference"),
        (draw_learned_power(record), "Median Z and power against the injected events"),
    )
    parts += [draw(figure, alt, f"{alt}.") for figure, alt in figures if figure is not None]
    if record.get("power"):
        parts.append(_power(record["power"]).to_html())
    for row in (record.get("study") or {}).get("table") or ():
        paper = "" if row["paper"] is None else f"paper: {row['paper']}; "
        parts.append(text(f"{row['quantity']}: {paper}ours: {row['ours']}. {row['why']}."))
    return parts + [text(line) for line in record.get("left_out") or ()]


def _members(record: Record) -> Table:
    rows = tuple(
        (m["statistic"], number(m["t"], 4), number(m["p"], 3), number(m.get("p_law"), 3))
        for m in record["members"]
    )
    return Table("statistics", ("", "t", "p by redraws", "p by the closed law"), rows)


def _power(power: Record) -> Table:
    rows = tuple(
        (number(p["strength"], 4), with_error(p["median_z"], p["error"]),
         with_error(p["power"], p["power_error"]), number(p["ideal"]["z"], 3),
         number(p["q0_l1"]["z"], 3))
        for p in power["points"]
    )  # fmt: skip
    columns = ("events", "median Z", "power", "ideal Z, 12 degrees of freedom", "Z of known shape")
    return Table("sensitivity", columns, rows)
