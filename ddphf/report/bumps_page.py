"""The ranking of any number of spectra as one HTML page: sortable, with a thumbnail of each.

Nothing is loaded and every text is escaped. The script sorts rows that are there and makes no
markup; without it the page is the ranking by global p-value.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ddphf.results.bumps import describe_p
from ddphf.text import clean_text, cut_middle

__all__ = ["bumps_page", "thumbnail"]

Record = Mapping[str, Any]

WIDE, HIGH = 150, 44
"""Points of a thumbnail."""

MOST_WARNINGS = 50
"""Above the table, which is what the page is for."""

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #595959; --line: #c9c9c9; }
body { margin: 0 auto; max-width: 86rem; padding: 1rem 1.25rem 3rem; color: var(--ink);
  background: #fff; font: 15px/1.45 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0 .2rem; }
p { max-width: 50rem; margin: .4rem 0; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #e4e4e4; text-align: right;
  white-space: nowrap; vertical-align: middle; }
td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
th { border-bottom: 1px solid #777; position: sticky; top: 0; background: #fff; }
th.name { text-align: left; }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0;
  cursor: pointer; color: inherit; }
th button:focus-visible { outline: 2px solid #00538a; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
svg { display: block; }
@media print { th { position: static; } }
"""

SCRIPT = """
(function () {
  var table = document.getElementById('ranking');
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  heads.forEach(function (head, column) {
    var button = head.querySelector('button');
    if (!button) { return; }
    button.addEventListener('click', function () {
      var down = head.getAttribute('aria-sort') === 'ascending';
      var rows = Array.prototype.slice.call(table.tBodies[0].rows);
      var text = head.hasAttribute('data-text');
      function key(row) {
        var value = row.cells[column].getAttribute('data-key');
        return text ? value : (value === '' ? null : parseFloat(value));
      }
      rows.sort(function (a, b) {
        var x = key(a), y = key(b);
        if (x === null || y === null) { return (x === null) - (y === null); }
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
      rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
      heads.forEach(function (other) { other.removeAttribute('aria-sort'); });
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    });
  });
}());
"""


def bumps_page(record: Record) -> str:
    """Return the page of a record.

    Args:
        record: JSON form of the record.

    Example:
        >>> page = bumps_page({"spectra": [], "global": None, "left_out": ["<none>"], "width": {}})
        >>> "&lt;none&gt;" in page, "<none>" in page
        (True, False)
    """
    record = clean_text(dict(record))
    spectra = record["spectra"]
    columns: tuple[tuple[str, str], ...] = (
        ("rank", ""), ("spectrum", "text"), ("status", "text"), ("mass", ""), ("events", ""),
        ("Z local", ""), ("Z known", ""), ("rho", ""), ("p local", ""), ("p global", ""),
    )  # fmt: skip
    asked = any(spectrum.get("network") for spectrum in spectra)
    if asked:
        columns = (*columns, ("Z network", ""))
    head = "".join(
        f'<th scope="col"{" data-text class=name" if kind else ""}'
        f"{' aria-sort=ascending' if name == 'rank' else ''}>"
        f'<button type="button">{html.escape(name)}</button></th>'
        for name, kind in columns
    )
    body = "\n".join(
        _row(spectrum, place, asked) for place, spectrum in enumerate(spectra, start=1)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Bumps in {len(spectra)} spectra</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Bumps in {len(spectra)} spectra</h1>\n{_lead(record)}\n"
        f'<div class="scroll" tabindex="0"><table id="ranking"><thead><tr>{head}'
        f'<th scope="col">spectrum and Z</th></tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
        f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _lead(record: Record) -> str:
    lines = []
    overall = record["global"]
    if overall is not None:
        interval = overall.get("p_interval")
        p = overall["p"]
        said = f"p = {p:.3g}" if p is not None else f"p < {interval[1]:.3g}" if interval else ""
        lines.append(f"The best of {overall['spectra']} spectra: global {said}.")
    lines.append(
        "Sorted by global p, then by local Z; a click on a heading sorts by it. A local Z is that "
        "of one bin as if no other had been looked at; p global counts all bins of its spectrum. Z "
        "is grey in the thumbnails where none is stated."
    )
    if any(spectrum.get("network") for spectrum in record["spectra"]):
        lines.append(
            "Z network is an estimate that ranks, and has no p-value; where it and splines are "
            "more than 2 apart it is marked with !."
        )
    lines += [f"{line}." for line in record.get("left_out") or ()]
    lines += [f"Warning: {line}." for line in _warnings(record)]
    return "\n".join(f'<p class="soft">{html.escape(line)}</p>' for line in lines)


def _warnings(record: Record) -> list[str]:
    """Return what the terminal warns of, for the first of very many."""
    found = list(record.get("warnings") or ())
    more = len(found) - MOST_WARNINGS
    return found[:MOST_WARNINGS] + ([f"{more} more are in the record"] if more > 0 else [])


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return '<td data-key="">-</td>'
    return f'<td data-key="{value:.9g}">{value:{form}}</td>'


def _text(value: str, *more: str) -> str:
    why = "".join(f'<br><span class="soft">{html.escape(line)}</span>' for line in more if line)
    whole, shown = html.escape(value), html.escape(cut_middle(value))
    return f'<td class="name" data-key="{whole}" title="{whole}">{shown}{why}</td>'


def _network(spectrum: Record) -> str:
    """Return the cell of the network's largest z, marked where splines say something else."""
    found = spectrum.get("network")
    if not found:
        return _cell(None, "")
    flag = ' <strong title="differs from splines by more than 2">!</strong>'
    z = found["best"]["z"]
    return f'<td data-key="{z:.9g}">{z:.2f}{flag if found["differs"] else ""}</td>'


def _row(spectrum: Record, place: int, asked: bool) -> str:
    best = spectrum["best"] or {}
    p = best.get("p_global")
    interval = best.get("p_global_interval")
    key = p if p is not None else interval[0] if interval else None
    stated = describe_p(best) if best else "-"
    said = (spectrum.get("why", ""), *(spectrum.get("warnings") or ()))
    return (
        f'<tr><td data-key="{place}">{spectrum.get("rank", "-")}</td>'
        f"{_text(spectrum['name'])}{_text(spectrum['status'], *said)}"
        f"{_cell(best.get('mass'), '.5g')}{_cell(best.get('events'), '.4g')}"
        f"{_cell(best.get('z'), '.2f')}{_cell(best.get('z_known'), '.2f')}"
        f"{_cell(best.get('rho'), '.2f')}{_cell(best.get('p_local'), '.2g')}"
        f'<td data-key="{"" if key is None else f"{key:.9g}"}">{html.escape(stated)}</td>'
        f"{_network(spectrum) if asked else ''}"
        f"<td>{thumbnail(spectrum)}</td></tr>"
    )


def _points(
    values: Sequence[float | None], low: float, high: float, top: float, tall: float
) -> str:
    """Return points of a line in the thumbnail; holes are left out."""
    step = WIDE / max(len(values) - 1, 1)
    reach = high - low or 1.0
    found = (
        f"{i * step:.1f},{top + tall * (1 - (v - low) / reach):.1f}"
        for i, v in enumerate(values)
        if v is not None
    )
    return " ".join(found)


def thumbnail(spectrum: Record) -> str:
    """Return counts (as roots), background, and Z of a spectrum as a small SVG; empty without.

    Z is grey where it is not stated.
    """
    background = spectrum["background"]
    if background is None or not background.get("expected") or not spectrum.get("observed"):
        return ""
    roots = [None if n is None else n**0.5 for n in spectrum["observed"]]
    model = [None if b is None else max(b, 0.0) ** 0.5 for b in background["expected"]]
    known = [v for v in (*roots, *model) if v is not None]
    z = spectrum["z_profiled"]
    why = [*spectrum["excluded"], *[None] * len(z)]
    stated = [None if why[i] else v for i, v in enumerate(z)]
    top = max([3.0, *(abs(v) for v in z if v is not None)])
    upper, lower = 0.6 * HIGH, 0.36 * HIGH
    marks = _points(roots, min(known), max(known), 1.0, upper)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r=".9"/>'
        for x, y in (point.split(",") for point in marks.split())
    )
    return (
        f'<svg width="{WIDE}" height="{HIGH}" viewBox="-1 0 {WIDE + 2} {HIGH}" role="img" '
        f'aria-label="counts, background and Z">'
        f'<polyline fill="none" stroke="#0072B2" points="'
        f'{_points(model, min(known), max(known), 1.0, upper)}"/>{dots}'
        f'<polyline fill="none" stroke="#999" points="'
        f'{_points(z, -top, top, HIGH - lower, lower - 1)}"/>'
        f'<polyline fill="none" stroke="#D55E00" points="'
        f'{_points(stated, -top, top, HIGH - lower, lower - 1)}"/></svg>'
    )
