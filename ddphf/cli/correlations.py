"""``ddphf correlations``: which correlation of the lepton-ID errors is conservative."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.build import metadata_path
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.cli.sidecar import digest_of, read_sidecar
from ddphf.exceptions import UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.results.correlations import CorrelationResult

__all__ = ["command"]

NAMES = {"mu": "mu", "ratio": "R"}


@click.command("correlations")
@click.argument("source", type=click.Path(dir_okay=False))
@common.output_option
@common.text_option(
    "--axis", "NAME",
    "Axis of the maps along which the correlation of a pair is varied.  [default: pt]",
)  # fmt: skip
@click.option(
    "--poi", type=click.Choice(["mu", "ratio"]),
    help="Whose pulls in a pair: the signal strength, or a common ratio of the channels, without a "
    "signal.  [default: mu]",
)  # fmt: skip
@click.option(
    "--uncorrelated", type=click.FloatRange(0.0, 0.2),
    help="Relative error per bin (a shapesys) added to a pair's tested background.  [default: 0]",
)  # fmt: skip
@common.number_option(
    "--at", "VALUE", "Value of the POI of a ratio workspace; its best fit by default."
)
@click.option(
    "--toys", default=1000, show_default=True, type=click.IntRange(0, 1_000_000),
    help="Per correlation of the data; 0 for the closed form alone.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the toys.")
@common.scheduler_option
@figure_options("Draw the heat map into this folder.")
@common.force_option
def command(
    source: str,
    output: str,
    axis: str | None,
    poi: str | None,
    uncorrelated: float | None,
    at: float | None,
    toys: int,
    seed: int,
    where: str | None,
    plots: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Compare correlation assumptions of the lepton-ID errors of SOURCE.

    SOURCE is the analysis file of a pair, or the workspace of a ratio (.json) with its sidecar.
    Rows: the correlation rho that the data have; columns: the one that the model assumes. A pull
    width above 1 says that the model's errors are too small.

    Example: ddphf correlations analysis.yml --toys 100 -o correlations.json
    """
    of_ratio = source.endswith(".json")
    of_pair = {"--axis": axis, "--poi": poi, "--uncorrelated": uncorrelated}
    for option, given in (of_pair if of_ratio else {"--at": at}).items():
        if given is not None:
            kind_of = "the analysis file of a pair" if of_ratio else "the workspace of a ratio"
            raise UsageError(f"{option}: is for {kind_of}; leave it out")
    figures = figure_paths(plots, kind, ("correlations",))
    common.require_work(where, toys, "--toys")
    inputs: list[str | Path | None] = [source, metadata_path(source) if of_ratio else None]
    outputs = Outputs([output, *figures.values()], inputs=inputs, force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("correlation study")
        work = say.work("fits of toys", runner)
        if of_ratio:
            spec = read_json(source)
            sidecar, said = read_sidecar(source, digest_of(spec), spec)
            from ddphf.studies.ratio_correlations import study_ratio

            result = study_ratio(spec, sidecar, at=at, n_toys=toys, seed=seed, work=work)
            if sidecar is None:
                said.append(
                    "no sidecar of this workspace lies beside it: template bins of equal "
                    "variations are taken for one calibration bin, and the correlation of the "
                    "workspace for the full one"
                )
            common.print_warnings(said)
        else:
            from ddphf.config.analysis import read_analysis
            from ddphf.studies.lepton_id import study_analysis

            config = read_analysis(source)
            outputs.protect(config.files)
            result = study_analysis(
                config,
                axis="pt" if axis is None else axis,
                poi="ratio" if poi == "ratio" else "mu",
                uncorrelated=uncorrelated or 0.0,
                n_toys=toys,
                seed=seed,
                work=work,
            )
    write_record(
        outputs, output, result.to_dict(), figures, lambda: {"correlations": _draw(result)}
    )
    common.print_summary(make_table(result))
    if result.n_failed:
        common.print_summary(f"{result.n_failed} fits of toys without a certificate are left out")
    common.print_summary(result.advice)


def _draw(result: CorrelationResult) -> Figure:
    from ddphf.figures.correlation_study import draw_widths

    tables = {"closed form": result.closed}
    if result.toys is not None:
        tables[f"{result.n_toys} toys per row"] = result.toys
    return draw_widths(result.rho, tables, f"pull width of {NAMES.get(result.poi, result.poi)}")


def make_table(result: CorrelationResult) -> Table:
    """Return the table that the terminal shows: the closed form, and toys below it."""
    below = "" if result.toys is None else f"; below it {result.n_toys} toys"
    table = Table(
        title=Text(f"pull width of {NAMES.get(result.poi, result.poi)}, closed form{below}"),
        title_justify="left",
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
