"""What the subcommands of ``ddphf learn`` share: options, and how their record is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddphf.cli.common import print_warnings
from ddphf.cli.figures import write_record
from ddphf.cli.search_common import file_digest, relative_to
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.results.learn import LearnResult

__all__ = ["learn_options", "nuisances_option", "redraws_option", "write_learned"]

F = TypeVar("F", bound=Callable[..., Any])

STATISTICS = ("default", "kernel", "scan", "energy", "network", "nplm", "classifier")

redraws_option = click.option(
    "--redraws", type=click.IntRange(min=1), metavar="N",
    help="Redraws of the labels; those of the analysis, or 999, by default.",
)  # fmt: skip
nuisances_option = click.option(
    "--nuisances", type=click.Choice(["analysis", "none"]), default="analysis", show_default=True,
    help="none takes efficiencies and fakes as known exactly.",
)  # fmt: skip


def learn_options(command: F) -> F:
    """Add ``--statistic``, ``--redraws`` and ``--nuisances``."""
    statistic = click.option(
        "--statistic", type=click.Choice(STATISTICS),
        help="Smallest p of kernel and scan (default), or one statistic; else the analysis's.",
    )  # fmt: skip
    return statistic(redraws_option(nuisances_option(command)))


def write_learned(
    result: LearnResult,
    analysis: str,
    output: str,
    outputs: Outputs,
    figures: Mapping[str, Path],
) -> dict[str, Any]:
    """Write a record with its figures, and say what it warns of.

    Args:
        result: What was found.
        analysis: File that was tested; ``-`` is standard input.
        output: File of the record; ``-`` is standard output.
        outputs: What the command writes.
        figures: File of each figure; none where no figures are asked for.

    Returns:
        The record as written.
    """
    stated = {"file": relative_to(analysis, output), "digest": file_digest(analysis)}
    record = replace(result, analysis=stated).to_dict()
    print_warnings(result.warnings)

    def draw() -> dict[str, Any]:
        from ddphf.figures.learn import draw_learned

        return {name: figure for name, figure in draw_learned(record).items() if name in figures}

    missing = write_record(outputs, output, record, figures, draw)
    print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    return record
