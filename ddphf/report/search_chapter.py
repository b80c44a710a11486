"""Chapter of the report on searches: what was found, local and global side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddphf.figures.search import draw_map, draw_maximum, draw_sizes
from ddphf.figures.selections import draw_selections
from ddphf.report.page import draw, note, text
from ddphf.report.tables import Table, number, with_error
from ddphf.results.provenance import describe_global
from ddphf.results.search import describe_compared

__all__ = ["search_parts"]

Record = Mapping[str, Any]

MOST_ROWS = 20
"""Selections of the table."""


def search_parts(searches: Sequence[Record]) -> list[str]:
    """Return tables and figures of each search.

    Args:
        searches: JSON forms of records.
    """
    return [part for record in searches for part in _parts(record)]


def _parts(record: Record) -> list[str]:
    n, kind = record["windows"]["n"], record["kind"]
    what = {
        "null": f"the largest of {n} windows without a signal",
        "pair": f"{n} windows of one pair of histograms",
        "events": f"{n} windows of many selections" if n else record["windows"]["rule"][6:],
        "test": "one window, chosen on other data",
    }[kind]
    parts = [note(f"Search: {what}")]
    if record["global"] is not None and kind != "null":
        parts.append(
            text(
                f"Global {describe_global(record['global'])} ({record['global']['method']}). A "
                "local Z is that of one window as if no other had been looked at."
            )
        )
    if record["best"] and not record.get("selections"):  # whose table has their windows
        parts.append(_windows(record).to_html())
    parts += [text(f"{describe_compared(one)}.") for one in record.get("comparison") or ()]
    if record.get("table"):
        parts.append(_thresholds(record).to_html())
    if record.get("selections"):
        parts.append(_selections(record).to_html())
    most = "Largest Z of all windows without a signal, and the observed one"
    if not n:
        most = "-p of the best histogram without a signal, and the observed one"
    figures = (
        (draw_map(record, "z"), "Z of each bin with the best windows", "Z of each bin."),
        (draw_map(record, "profiled"), "Z of each bin with the nuisances profiled",
         "The same with the nuisances profiled: what they explain is gone."),
        (draw_sizes(record), "Largest local Z of the windows of each size",
         "Largest local Z of the windows of each size."),
        (draw_maximum(record), most, f"{most}."),
        (draw_selections(record), "Local Z of the best selections beside their adjusted p",
         "The best selections: local Z of the best window, p adjusted for looking at all."),
    )  # fmt: skip
    profiled = bool(record.get("nuisances"))
    for place, (figure, alt, caption) in enumerate(figures):
        if figure is not None and (place != 1 or profiled):
            parts.append(draw(figure, alt, caption))
    parts += [text(line) for line in record.get("left_out") or ()]
    return parts


def _windows(record: Record) -> Table:
    axes = record.get("axes") or []
    rows = []
    for place, window in enumerate(record["best"], start=1):
        ends = tuple(f"{low:g} to {high:g}" for low, high in window["edges"])
        local, overall = window["local"], window["global"]
        rows.append(
            (str(window.get("rank", place)), *ends, number(window["tested"], 6),
             number(window.get("expected"), 6), number(local["z"], 4), number(local.get("p"), 3),
             _p(overall), number(overall["z"], 3))
        )  # fmt: skip
    names = [f"{a['label']} [{a['unit']}]" if a["unit"] else a["label"] for a in axes]
    if not names and rows:
        names = [f"axis {i}" for i in range(len(record["best"][0]["edges"]))]
    columns = ("", *names, "tested", "expected", "Z local", "p local", "p global", "Z global")
    return Table(f"{record['direction']}: the best windows", columns, tuple(rows))


def _p(overall: Record) -> str:
    if overall["p"] is None or not overall["error"]:
        return number(overall["p"], 3)
    return with_error(overall["p"], overall["error"])


def _thresholds(record: Record) -> Table:
    rows = tuple(
        (number(row["local"]["z"], 4), number(row["local"].get("p"), 3), _p(row["global"]),
         number(row["global"]["z"], 3))
        for row in record["table"]
    )  # fmt: skip
    return Table("what looking everywhere costs", ("Z local", "p local", "p global", "Z global"),
                 rows)  # fmt: skip


def _edges(edges: Sequence[Sequence[float]]) -> str:
    return "; ".join(f"{low:g} to {high:g}" for low, high in edges)


def _selections(record: Record) -> Table:
    rows = tuple(
        (s["name"], s["observable"], _edges(s.get("edges") or ()),
         number((s["local"] or {}).get("z"), 4), number((s["local"] or {}).get("p"), 3),
         number(s["p_adjusted"], 3))
        for s in record["selections"][:MOST_ROWS]
    )  # fmt: skip
    columns = (
        "selection", "observable", "best window", "Z local", "p local", "p, adjusted for all"
    )  # fmt: skip
    return Table(f"selections, {len(record['selections'])} in all", columns, rows)
