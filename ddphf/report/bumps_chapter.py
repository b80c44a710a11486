"""Chapter of the report on bumps: the first spectra, and the best of them drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddphf.figures.bumps import draw_bump
from ddphf.report.page import draw, note, text
from ddphf.report.tables import Table, number
from ddphf.results.bumps import describe_p

__all__ = ["bumps_parts"]

Record = Mapping[str, Any]

MOST_ROWS, DRAWN = 20, 3
"""Spectra of the table, and of those the first that are drawn."""


def bumps_parts(record: Record) -> list[str]:
    """Return tables and figures of a scan.

    Args:
        record: JSON form of the record.
    """
    spectra = record["spectra"]
    parts = [note(f"Bumps in {len(spectra)} mass spectra")]
    overall = record["global"]
    if overall is not None:
        p, interval = overall["p"], overall.get("p_interval")
        stated = f"p = {p:.3g}" if p is not None else f"p < {interval[1]:.3g}" if interval else "p"
        parts.append(
            text(
                f"The best of {overall['spectra']} spectra: global {stated}. A local Z is that of "
                "one bin as if no other had been looked at."
            )
        )
    parts.append(_table(spectra).to_html())
    for spectrum in spectra[:DRAWN]:
        figure = draw_bump(spectrum)
        if figure is not None:
            caption = (
                "Counts with the fitted background and the best bump; below, local Z per bin, grey "
                "where none is stated."
            )
            parts.append(draw(figure, f"Spectrum {spectrum['name']} with its best bump", caption))
    parts += [text(f"{s['name']}: {s['why']}.") for s in spectra[:MOST_ROWS] if s.get("why")]
    parts += [
        text(f"{s['name']}: {line}.")
        for s in spectra[:MOST_ROWS]
        for line in s.get("warnings") or ()
    ]
    parts += [text(f"{line}.") for line in record.get("left_out") or ()]
    return parts


def _table(spectra: Sequence[Record]) -> Table:
    rows = []
    for spectrum in spectra[:MOST_ROWS]:
        best = spectrum["best"] or {}
        rows.append(
            (spectrum["name"], spectrum["status"], number(best.get("mass"), 5),
             number(best.get("events"), 4), number(best.get("z"), 3),
             describe_p(best) if best else "")
        )  # fmt: skip
    columns = ("spectrum", "status", "mass", "events", "Z local", "global")
    return Table(f"spectra, {len(spectra)} in all", columns, tuple(rows), labels=2)
