"""Tables: one record, written for the terminal, as CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable
from rich.text import Text

from ddphf.figures.style import axis_label
from ddphf.results.yields import ChannelYields, YieldsResult
from ddphf.text import clean_text

__all__ = ["Table", "bin_summary", "bin_table", "channel_table", "number", "with_error"]

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in a spreadsheet, full-width letters included."""


@dataclass(frozen=True)
class Table:
    r"""A table of text.

    Attributes:
        title: What it shows.
        columns: Headings; the first ``labels`` columns are names, the others numbers.
        rows: Cells, as many as columns.
        labels: Number of leading columns that hold names.

    Example:
        >>> table = Table("yields", ("sample", "events"), (("top_1", "3.1 +- 0.2"),))
        >>> print(table.to_csv(), end="")
        sample,events
        top_1,3.1 +- 0.2
        >>> print(table.to_latex())
        \begin{longtable}{lr}
        \caption{yields}\\
        \hline
        sample & events \\
        \hline
        \endhead
        top\_1 & $3.1 \pm 0.2$ \\
        \hline
        \end{longtable}
        >>> table.to_html()[:52]
        '<div class="scroll" tabindex="0"><table><caption>yie'
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1

    def to_rich(self) -> RichTable:
        """Return it for the terminal; names are no markup."""
        out = RichTable(title=Text(self.title), title_justify="left")
        for index, column in enumerate(self.columns):
            out.add_column(Text(column), justify="left" if index < self.labels else "right")
        for row in self.rows:
            out.add_row(*(Text(cell) for cell in row))
        return out

    def to_csv(self) -> str:
        """Return it as CSV with a header; names are no formulas of a spreadsheet."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(map(_no_formula, self.columns))
        for row in self.rows:
            writer.writerow([*map(_no_formula, row[: self.labels]), *row[self.labels :]])
        return out.getvalue()

    def to_latex(self) -> str:
        """Return a longtable, which breaks over pages; needs the package of that name."""
        kinds = "".join("l" if i < self.labels else "r" for i in range(len(self.columns)))
        lines = [
            f"\\begin{{longtable}}{{{kinds}}}",
            f"\\caption{{{_latex(self.title)}}}\\\\",
            "\\hline",
            " & ".join(_latex(column) for column in self.columns) + r" \\",
            "\\hline",
            "\\endhead",
        ]
        for row in self.rows:
            cells = [_latex(c) if i < self.labels else _latex_number(c) for i, c in enumerate(row)]
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, "\\hline", "\\end{longtable}"])

    def to_html(self) -> str:
        """Return it in a box that scrolls sideways where the screen is narrow."""
        kinds = [' class="name"'] * self.labels + [""] * (len(self.columns) - self.labels)
        head = "".join(
            f'<th scope="col"{kind}>{html.escape(column)}</th>'
            for column, kind in zip(self.columns, kinds, strict=True)
        )
        lines = []
        for row in self.rows:
            cells = "".join(
                f'<th scope="row">{html.escape(cell)}</th>'
                if index < self.labels
                else f"<td>{html.escape(cell).replace('+-', '&plusmn;')}</td>"
                for index, cell in enumerate(row)
            )
            lines.append(f"<tr>{cells}</tr>")
        return (
            f'<div class="scroll" tabindex="0"><table><caption>{html.escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(lines) + "</tbody></table></div>"
        )


def _no_formula(name: str) -> str:
    """Return a name that a spreadsheet shows and does not compute.

    Example:
        >>> _no_formula("=HYPERLINK(A1)"), _no_formula("CR_emu")
        ("'=HYPERLINK(A1)", 'CR_emu')
    """
    text = str(clean_text(name))
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in clean_text(text))


def _latex_number(text: str) -> str:
    shown = text.replace("+-", r"\pm")
    return f"${shown}$" if "+-" in text else _latex(text)


def number(value: float | None, digits: int = 6) -> str:
    """Return a number as text, empty where there is none."""
    return "" if value is None else f"{value:.{digits}g}"


def with_error(value: float, error: float) -> str:
    """Return value and error with two digits of the error.

    Example:
        >>> with_error(8680.0, 135.4), with_error(1.2345, 0.0287), with_error(3.0, 0.0)
        ('8680 +- 140', '1.234 +- 0.029', '3 +- 0')
    """
    if not error > 0:
        return f"{value:.6g} +- 0"
    text = f"{error:.1e}"
    decimals = max(0, 1 - int(text.split("e")[1]))
    return f"{value:.{decimals}f} +- {float(text):.{decimals}f}"


def _predictions(channel: ChannelYields) -> list[str]:
    return [name for name in ("prefit", "postfit", "null") if name in channel.predictions]


HEADINGS = {"prefit": "pre-fit", "postfit": "post-fit", "null": "mu = 0"}


def _title(what: str, yields: YieldsResult) -> str:
    """Return the caption; the columns keep their names, so it says the pre-fit strength."""
    before = "" if yields.prefit_strength is None else f"; {yields.title('prefit')}"
    return f"{what}, measurement {yields.measurement}{before}"


def channel_table(yields: YieldsResult) -> Table:
    """Return the events of each channel and sample, before and after the fit.

    Example:
        >>> from ddphf.results.yields import PredictionResult, YieldResult
        >>> model = YieldResult((9.0,), (1.0,), 9.0, 1.0)
        >>> found = {"prefit": PredictionResult({"top": model}, model)}
        >>> yields = YieldsResult("m", (ChannelYields("SR", (8.0,), found),))
        >>> channel_table(yields).rows[0]
        ('SR', 'top', '9.0 +- 1.0')
    """
    shown = _predictions(yields.channels[0])
    rows: list[tuple[str, ...]] = []
    for channel in yields.channels:
        found = [channel.predictions[name] for name in shown]
        for sample in found[0].samples:
            parts = [prediction.samples[sample] for prediction in found]
            rows.append((channel.name, sample, *(with_error(p.sum, p.sum_error) for p in parts)))
        totals = [prediction.total for prediction in found]
        rows.append((channel.name, "total", *(with_error(t.sum, t.sum_error) for t in totals)))
        rows.append((channel.name, "data", *([f"{sum(channel.observed):.10g}"] * len(shown))))
    columns = ("channel", "sample", *(HEADINGS[name] for name in shown))
    return Table(_title("events", yields), columns, tuple(rows), labels=2)


def bin_table(yields: YieldsResult) -> Table:
    """Return data and model bin by bin, with full digits: expected events and their errors."""
    size = 1
    for length in yields.shape:
        size *= length
    shown = _predictions(yields.channels[0])
    samples: list[str] = []
    for channel in yields.channels:
        for sample in channel.predictions[shown[0]].samples:
            if sample not in samples:
                samples.append(sample)
    edges = [f"{axis_label(axis)} {end}" for axis in yields.axes for end in ("low", "high")]
    columns = ["channel", "bin", *edges, "data"]
    for name in shown:
        for sample in (*samples, "total"):
            columns += [f"{sample} {HEADINGS[name]}", f"{sample} {HEADINGS[name]} error"]
    rows = []
    for channel in yields.channels:
        binned = bool(yields.axes) and len(channel.observed) == size
        for index, observed in enumerate(channel.observed):
            cells = [channel.name, str(index)]
            cells += _edges(yields, index) if binned else [""] * len(edges)
            cells.append(f"{observed:.10g}")
            for name in shown:
                prediction = channel.predictions[name]
                for found in (*map(prediction.samples.get, samples), prediction.total):
                    pair = (None, None) if found is None else (found.expected, found.error)
                    cells += ["" if v is None else number(v[index], 8) for v in pair]
            rows.append(tuple(cells))
    return Table(_title("events per bin", yields), tuple(columns), tuple(rows),
                 labels=2)  # fmt: skip


def bin_summary(yields: YieldsResult) -> Table:
    """Return data and the total expectation bin by bin, narrow enough for a page."""
    shown = _predictions(yields.channels[0])
    rows = []
    for channel in yields.channels:
        totals = [channel.predictions[name].total for name in shown]
        rows += [
            (channel.name, str(index), f"{observed:.10g}",
             *(with_error(t.expected[index], t.error[index]) for t in totals))
            for index, observed in enumerate(channel.observed)
        ]  # fmt: skip
    columns = ("channel", "bin", "data", *(HEADINGS[name] for name in shown))
    return Table(_title("events per bin", yields), columns, tuple(rows),
                 labels=2)  # fmt: skip


def _edges(yields: YieldsResult, index: int) -> Sequence[str]:
    """Return low and high edge of each axis; the last axis runs fastest."""
    out: list[str] = []
    for axis, length in zip(reversed(yields.axes), reversed(yields.shape), strict=True):
        index, place = divmod(index, length)
        out[:0] = [number(axis["edges"][place], 10), number(axis["edges"][place + 1], 10)]
    return out
