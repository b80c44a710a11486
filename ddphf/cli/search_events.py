"""``ddphf search events``: many selections and observables of one event table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import count_option, print_summary, progress_line, runner_at
from ddphf.cli.figures import open_outputs
from ddphf.cli.search_common import (
    Asked,
    common_options,
    describe_nuisances,
    direction_option,
    nuisances_option,
    read_unsigned,
    statistic_option,
    top_option,
    windows_option,
    write_found,
)
from ddphf.results.provenance import describe_global

__all__ = ["FIGURES", "command", "selection_table"]

FIGURES = ("search_selections", "search_maximum")

SHOWN = 15
"""Rows of the table on the terminal; the record has all."""


@click.command("events")
@click.argument("analysis", type=click.Path(dir_okay=False))
@windows_option
@direction_option
@statistic_option("n_sigma: the best window; the others are of whole histograms.")
@count_option("--flips", "Label flips of the null.", least=1, default=1000)
@nuisances_option("efficiencies and fakes")
@top_option(10, "Histograms whose best windows are listed.")
@common_options("Draw the ranked selections and the null into this folder.")
def command(
    analysis: str, statistic: str, flips: int, nuisances: str, top: int, **asked: Unpack[Asked]
) -> None:
    """Search every selection and observable of the events of ANALYSIS.

    ANALYSIS is an analysis file with a section events; its section search names
    selections and observables. The null redraws the label of every event and fills
    every histogram again, so that all overlaps are kept.

    Example: ddphf search events analysis.yml --flips 1000 --seed 1 -o search.json
    """
    figures, outputs = open_outputs(asked, FIGURES, [analysis])
    with progress_line(compiles=False) as say, runner_at(asked["where"], say) as runner:
        say("reading")
        from ddphf.search.run_events import search_events

        config = read_unsigned(analysis, outputs)
        result = search_events(
            config, windows=asked["windows"], direction=asked["direction"], statistic=statistic,
            flips=flips, nuisances=nuisances == "analysis", top=top,
            max_windows=asked["max_windows"], seed=asked["seed"],
            work=say.work("histograms", runner),
        )  # fmt: skip
    record = write_found(result, analysis, asked["output"], outputs, figures)
    print_summary(selection_table(record))
    left = len(record["left_out"])
    print_summary(
        f"best of all: local {_local(record['selections'][0]['local'])}, one of "
        f"{record['windows']['histograms']} histograms{_and_windows(record)}; "
        f"global {describe_global(record['global'])}"
    )
    if left:
        print_summary(f"{left} left out, listed in the record; first: {record['left_out'][0]}")
    print_summary(describe_nuisances(record, "profiled and drawn"))


def _local(local: Mapping[str, Any]) -> str:
    z = "-" if local["z"] is None else f"{local['z']:.3f}"
    return f"Z = {z}"


def _and_windows(record: Mapping[str, Any]) -> str:
    n = record["windows"]["n"]
    return f" and {n} windows" if n else ", each as a whole"


def selection_table(record: Mapping[str, Any]) -> Table:
    """Return the ranked histograms of a record, local and adjusted side by side."""
    found = record["selections"]
    table = Table(
        title=Text(
            f"{record['direction']} in {record['pairing']['tested']}, "
            f"{min(len(found), SHOWN)} of {len(found)} histograms"
        ),
        title_justify="left",
    )
    for column in ("", "selection", "observable", "window", "tested", "partner", "Z local",
                   "p local", "p adjusted"):  # fmt: skip
        left = column in ("", "selection", "observable", "window")
        table.add_column(Text(column), justify="left" if left else "right")
    windows = record["windows"]["n"] > 0
    for rank, entry in enumerate(found[:SHOWN], start=1):
        local = entry["local"]
        ends = zip(entry["edges"], entry["units"], strict=True)
        text = "; ".join(f"{low:g} to {high:g} {unit}".strip() for (low, high), unit in ends)
        table.add_row(
            str(rank), Text(entry["name"]), Text(entry["observable"]),
            Text(text if windows else "whole"),
            f"{entry['tested']:g}" if windows else "", f"{entry['partner']:g}" if windows else "",
            "-" if local["z"] is None else f"{local['z']:.3f}",
            "-" if local["p"] is None else f"{local['p']:.3g}", f"{entry['p_adjusted']:.4g}",
        )  # fmt: skip
    return table
