"""``ddphf correlations``: which correlation of the lepton-ID errors is conservative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from ddphf.cli.common import (
    force_option,
    output_option,
    print_summary,
    progress_line,
    require_work,
    runner_at,
    scheduler_option,
)
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.results.correlations import CorrelationResult

__all__ = ["command"]

NAMES = {"mu": "mu", "ratio": "R"}


@click.command("correlations")
@click.argument("analysis", type=click.Path(dir_okay=False))
@output_option
@click.option(
    "--axis", default="pt", show_default=True, metavar="NAME",
    help="Axis of the maps along which the correlation is varied.",
)  # fmt: skip
@click.option(
    "--poi", default="mu", show_default=True, type=click.Choice(["mu", "ratio"]),
    help="Whose pulls: the signal strength, or a common ratio of the channels, without a signal.",
)  # fmt: skip
@click.option(
    "--uncorrelated", default=0.0, show_default=True, type=click.FloatRange(0.0, 0.2),
    help="Relative error per bin (a shapesys) added to the tested channel's background.",
)  # fmt: skip
@click.option(
    "--toys", default=1000, show_default=True, type=click.IntRange(0, 1_000_000),
    help="Per correlation of the data; 0 for the closed form alone.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the toys.")
@scheduler_option
@figure_options("Draw the heat map into this folder.")
@force_option
def command(
    analysis: str,
    output: str,
    axis: str,
    poi: str,
    uncorrelated: float,
    toys: int,
    seed: int,
    where: str | None,
    plots: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Compare correlation assumptions of the lepton-ID errors of ANALYSIS.

    Rows: the correlation rho that the data have; columns: the one that the model assumes. A pull
    width above 1 says that the model's errors are too small.

    Example: ddphf correlations analysis.yml --toys 100 -o correlations.json
    """
    figures = figure_paths(plots, kind, ("correlations",))
    require_work(where, toys, "--toys")
    outputs = Outputs([output, *figures.values()], inputs=[analysis], force=force)
    with progress_line() as say, runner_at(where, say) as runner:
        say("correlation study")
        from ddphf.config.analysis import read_analysis
        from ddphf.studies.lepton_id import study_analysis

        config = read_analysis(analysis)
        outputs.protect(config.files)
        result = study_analysis(
            config,
            axis=axis,
            poi="ratio" if poi == "ratio" else "mu",
            uncorrelated=uncorrelated,
            n_toys=toys,
            seed=seed,
            progress=say.bar("fits of toys"),
            runner=runner,
        )
    write_record(
        outputs, output, result.to_dict(), figures, lambda: {"correlations": _draw(result)}
    )
    print_summary(make_table(result))
    if result.n_failed:
        print_summary(f"{result.n_failed} fits of toys without a certificate are left out")
    print_summary(result.advice)


def _draw(result: CorrelationResult) -> Figure:
    from ddphf.figures.correlation_study import draw_widths

    tables = {"closed form": result.closed}
    if result.toys is not None:
        tables[f"{result.n_toys} toys per row"] = result.toys
    return draw_widths(result.rho, tables, f"pull width of {NAMES[result.poi]}")


def make_table(result: CorrelationResult) -> Table:
    """Return the table that the terminal shows: the closed form, and toys below it."""
    below = "" if result.toys is None else f"; below it {result.n_toys} toys"
    table = Table(
        title=f"pull width of {NAMES[result.poi]}, closed form{below}", title_justify="left"
    )
    table.add_column("data \\ model")
    for rho in result.rho:
        table.add_column(f"rho {rho:g}", justify="right")
    for index, rho in enumerate(result.rho):
        cells = [f"{width:.4f}" for width in result.closed[index]]
        if result.toys is not None and result.toy_errors is not None:
            cells = [
                f"{cell}\n{toy:.3f} +- {error:.3f}"
                for cell, toy, error in zip(
                    cells, result.toys[index], result.toy_errors[index], strict=True
                )
            ]
        table.add_row(f"rho {rho:g}", *cells)
    return table
