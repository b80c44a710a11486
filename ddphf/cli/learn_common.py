"""What the subcommands of ``ddphf learn`` share: options, and how their record is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddphf.cli.common import print_summary
from ddphf.cli.search_common import write_found
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
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
    """Write the record of what was learned with its figures, as that of a search is written."""

    def draw(record: Mapping[str, Any]) -> Mapping[str, Figure | None]:
        from ddphf.figures.learn import draw_learned

        return draw_learned(record)

    record = write_found(result, analysis, output, outputs, figures, draw)
    for line in record["left_out"]:
        print_summary(line)
    return record
