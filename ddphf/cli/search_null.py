"""``ddphf search null``: the table of trial factors, without data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Unpack

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import print_summary, progress_line, runner_at
from ddphf.cli.figures import open_outputs, write_record
from ddphf.cli.search_common import (
    Asked,
    common_options,
    direction_option,
    precision_option,
    windows_option,
)
from ddphf.exceptions import UsageError

__all__ = ["command"]


def _shape(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    del context, option
    if not re.fullmatch(r" *\d{1,9} *(, *\d{1,9} *)*", text):
        raise UsageError(f"--shape {text}: expected bins along each axis, such as 28,28")
    return tuple(int(word) for word in text.split(","))


@click.command("null")
@click.option(
    "--shape", required=True, callback=_shape, metavar="N,N", help="Bins along each axis."
)
@windows_option
@click.option(
    "--z", "thresholds", type=float, multiple=True, required=True, metavar="Z",
    help="Local significance of the best window; may be given several times.",
)  # fmt: skip
@direction_option
@precision_option
@common_options("Draw the null of the maximum into this folder.")
def command(
    shape: tuple[int, ...], thresholds: tuple[float, ...], precision: float,
    **asked: Unpack[Asked],
) -> None:  # fmt: skip
    """Tell how often the best of all windows reaches Z where there is nothing.

    For a histogram with many events in every bin, by Gaussian fields.

    Example: ddphf search null --shape 28,28 --windows 6x6 --z 5 -o n.json
    """
    figures, outputs = open_outputs(asked, ("search_null",))
    with progress_line(compiles=False) as say, runner_at(asked["where"], say) as runner:
        from ddphf.search.run_null import search_null

        result = search_null(
            shape, thresholds, windows=asked["windows"], direction=asked["direction"],
            precision=precision, max_windows=asked["max_windows"], seed=asked["seed"],
            work=say.work("fields", runner),
        )  # fmt: skip
    record = result.to_dict()

    def draw() -> dict[str, Any]:
        from ddphf.figures.search import draw_maximum

        return {"search_null": draw_maximum(record)}

    write_record(outputs, asked["output"], record, figures, draw)
    print_summary(make_table(record))


def make_table(record: Mapping[str, Any]) -> Table:
    """Return the table that the terminal shows."""
    shape = " x ".join(str(n) for n in record["windows"]["shape"])
    title = f"{record['windows']['n']} windows ({record['windows']['rule']}) of {shape} bins"
    table = Table(title=Text(title), title_justify="left")
    for column in ("Z local", "p local", "p global", "error", "Z global", "fields"):
        table.add_column(column, justify="right")
    for row in record["table"]:
        local, overall = row["local"], row["global"]
        p, error, z = overall["p"], overall["error"], overall["z"]
        table.add_row(
            f"{local['z']:g}", f"{local['p']:.4g}", "-" if p is None else f"{p:.4g}",
            "-" if error is None else f"{error:.2g}", "-" if z is None else f"{z:.3f}",
            f"{overall['samples']} {overall['method'].rpartition(' ')[2]}",
        )  # fmt: skip
    quantiles = record["null"]["quantiles"]
    parts = ", ".join(f"{float(q):.0%} {v:.3f}" for q, v in quantiles.items())
    table.caption = f"largest Z without a signal: {parts}"
    table.caption_justify = "left"
    return table
