"""What the subcommands of ``ddphf search`` share: options, and how significances are printed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import choice_option, count_option, print_summary, print_warnings
from ddphf.cli.figures import Drawn, drawn_options, write_record
from ddphf.outputs import Outputs
from ddphf.results.learn import LearnResult
from ddphf.results.provenance import describe_global

if TYPE_CHECKING:
    from ddphf.config.analysis import Analysis
    from ddphf.figures.style import Figure
    from ddphf.results.search import SearchResult

__all__ = [
    "Asked",
    "common_options",
    "describe_best",
    "describe_nuisances",
    "direction_option",
    "file_digest",
    "nuisances_option",
    "precision_option",
    "read_unsigned",
    "relative_to",
    "statistic_option",
    "top_option",
    "window_table",
    "windows_option",
    "write_found",
]

F = TypeVar("F", bound=Callable[..., Any])

DIRECTIONS = ("excess", "deficit", "both")

windows_option = click.option(
    "--windows", default="all", show_default=True, metavar="RULE",
    help="all, ladder, squares, sizes such as 6x6, or several of these with commas.",
)  # fmt: skip
direction_option = choice_option(
    "--direction", DIRECTIONS, "Of the tested sample over what its partner tells.", "excess"
)
precision_option = click.option(
    "--precision", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05,
    show_default=True, metavar="PART", help="Relative error of the global p-value.",
)  # fmt: skip
max_windows_option = count_option(
    "--max-windows", "Refuse more windows than this.", least=1, default=20_000_000
)


class Asked(Drawn):
    """What every search is asked: :data:`windows_option` and what follows, and common options."""

    windows: str
    direction: str
    max_windows: int


def common_options(plots: str) -> Callable[[F], F]:
    """Add the options after those of one search: how many windows, figures, seed, files.

    Args:
        plots: Help of ``--plots``.
    """
    return lambda function: max_windows_option(drawn_options(plots)(function))


def nuisances_option(known: str) -> Callable[[F], F]:
    """Return ``--nuisances``, with what ``none`` takes as known."""
    text = f"none takes {known} as known exactly."
    return choice_option("--nuisances", ["analysis", "none"], text, default="analysis")


def statistic_option(text: str) -> Callable[[F], F]:
    """Return ``--statistic``, of the best window or of whole histograms, with its help."""
    return choice_option(
        "--statistic", ["n_sigma", "t", "ks", "chi2", "g"], text, default="n_sigma"
    )


def top_option(default: int, text: str) -> Callable[[F], F]:
    """Return ``--top``, with how many are listed by default and of what."""
    return count_option("--top", text, least=1, default=default)


def read_unsigned(analysis: str, outputs: Outputs) -> Analysis:
    """Read an analysis file that needs no signal; its files are not to be replaced."""
    from ddphf.config.analysis import read_analysis

    config = read_analysis(analysis, needs_signal=False)
    outputs.protect(list(config.files))
    return config


def relative_to(path: str, output: str) -> str | None:
    """Return a path as seen from the folder of an output; None for standard input.

    Example:
        >>> relative_to("data/a.yml", "out/s.json").replace(os.sep, "/")
        '../data/a.yml'
    """
    if path == "-":
        return None
    folder = Path() if output == "-" else Path(output).parent
    return Path(os.path.relpath(path, folder)).as_posix()


def file_digest(path: str | Path) -> str | None:
    """Return the SHA-256 of a file, None for standard input."""
    if str(path) == "-":
        return None
    return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"


def write_found(
    result: SearchResult | LearnResult,
    analysis: str,
    output: str,
    outputs: Outputs,
    figures: Mapping[str, Path],
) -> dict[str, Any]:
    """Write a record that names its analysis, with its figures, and say what it warns of.

    Args:
        result: What was found.
        analysis: File that was looked at; ``-`` is standard input.
        output: File of the record; ``-`` is standard output.
        outputs: What the command writes.
        figures: File of each figure; none where no figures are asked for.

    Returns:
        The record as written.
    """
    stated = {"file": relative_to(analysis, output), "digest": file_digest(analysis)}
    record = replace(result, analysis=stated).to_dict()
    print_warnings(result.warnings)
    if record["schema"] == LearnResult.SCHEMA:
        for line in record["left_out"]:
            print_summary(line)

    def wanted() -> dict[str, Figure | None]:
        if record["schema"] == LearnResult.SCHEMA:
            from ddphf.figures.learn import draw_learned as draw
        else:
            from ddphf.figures.search import draw_search as draw
        return {name: figure for name, figure in draw(record).items() if name in figures}

    missing = write_record(outputs, output, record, figures, wanted)
    print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    return record


def describe_nuisances(record: Mapping[str, Any], done: str) -> str:
    """Return the line that says what was done with the nuisances."""
    count = len(record["nuisances"])
    if not count:
        return "nuisances: none; efficiency ratio and fakes are taken as known exactly"
    return f"nuisances: {count} {done}, listed in the record"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def window_table(record: Mapping[str, Any]) -> Table:
    """Return the windows of a record, local and global side by side."""
    units = [f" {axis['unit']}" if axis["unit"] else "" for axis in record["axes"]]
    names = [axis["label"] for axis in record["axes"]]
    n = record["windows"]["n"]
    looked = "1 window" if n == 1 else f"{n} windows"
    table = Table(
        title=Text(f"{record['direction']} in {record['pairing']['tested']}, {looked}"),
        title_justify="left",
    )
    shown = ("tested", "expected", "Z local", "p local", "p global", "Z global")
    for column in ("", *names, *shown):
        left = column in ("", *names)
        table.add_column(Text(column), justify="left" if left else "right")
    for window in record["best"]:
        local, overall = window["local"], window["global"]
        error = f" +- {overall['error']:.1g}" if overall["error"] else ""
        ends = [
            Text(f"{low:g} to {high:g}{unit}")
            for (low, high), unit in zip(window["edges"], units, strict=True)
        ]
        table.add_row(
            str(window.get("rank", "")), *ends, f"{window['tested']:.6g}",
            _number(window.get("expected"), ".6g"), _number(local["z"], ".3f"),
            _number(local["p"], ".3g"), f"{_number(overall['p'], '.4g')}{error}",
            _number(overall["z"], ".2f"),
        )  # fmt: skip
    return table


def describe_best(record: Mapping[str, Any]) -> str:
    """Return the line that states the best window, local and global."""
    best = record["best"][0]
    z = _number(best["local"]["z"], ".3f")
    return (
        f"best window: local Z = {z} (one of {record['windows']['n']} windows that were looked "
        f"at); global {describe_global(best['global'])}"
    )
